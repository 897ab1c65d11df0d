"""Agreement of tracked masks with the ground truth: J and F as in DAVIS.

J (region similarity) is the IoU of two masks, F (contour accuracy) the agreement of their
boundaries. An object that is absent from both scores 1 in both.

Sources: https://arxiv.org/abs/1704.00675 (DAVIS 2017), https://arxiv.org/abs/1905.00737 (DAVIS
without prompts).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

__all__ = [
    "DavisScores",
    "FrameMasks",
    "MeanDavisScores",
    "boundary_f_score",
    "davis_scores",
    "dense_iou",
    "mask_boundary",
    "visible_ids",
]

BOUNDARY_TOLERANCE = 0.008
"""Greatest distance of matching boundaries as a share of the image's diagonal, as in DAVIS."""

FrameMasks: TypeAlias = Mapping[int, NDArray[np.bool_]]
"""Masks ``(h, w)`` of one frame by the object's id; a missing id is an empty mask."""


@dataclass(frozen=True, slots=True)
class MeanDavisScores:
    """J and F, means over objects, in [0, 1]."""

    region: float
    boundary: float

    @property
    def j_and_f(self) -> float:
        """Mean of J and F."""
        return (self.region + self.boundary) / 2


@dataclass(frozen=True, slots=True, eq=False)
class DavisScores:
    """J and F of ``n`` objects, each the mean over the frames that count for it."""

    region: NDArray[np.float64]
    """``(n,)``: J."""
    boundary: NDArray[np.float64]
    """``(n,)``: F."""

    def __len__(self) -> int:
        return len(self.region)

    def mean(self) -> MeanDavisScores:
        """Means over the objects."""
        return MeanDavisScores(float(self.region.mean()), float(self.boundary.mean()))

    @classmethod
    def concatenate(cls, clips: Sequence[DavisScores]) -> DavisScores:
        """The objects of several clips, one after the other."""
        return cls(
            np.concatenate([clip.region for clip in clips]),
            np.concatenate([clip.boundary for clip in clips]),
        )


def davis_scores(
    truth: Sequence[FrameMasks],
    predicted: Sequence[FrameMasks],
    *,
    since: Mapping[int, int] | None = None,
    match: bool = False,
) -> DavisScores:
    """J and F of each object of a clip.

    Args:
        truth: true masks of every frame.
        predicted: predicted masks of every frame.
        since: index of the first frame that counts for an object, by its true id: the frame after
            its prompt. The first frame of the clip if missing.
        match: the ids in ``predicted`` are the tracker's own: each object is then assigned the
            track that maximizes the sum of all J; one without a track scores as never found.
            Otherwise the ids are those of the truth.

    Returns:
        Scores of the objects that are visible in any frame, in the order of their ids.
    """
    ids = visible_ids(truth)
    tracks = visible_ids(predicted)
    if match:
        table = np.array(
            [[_mean_iou(truth, predicted, a, b) for b in tracks] for a in ids]
        ).reshape(len(ids), len(tracks))
        rows, columns = linear_sum_assignment(-table)
        track_of = {ids[row]: tracks[column] for row, column in zip(rows, columns, strict=True)}
    else:
        track_of = {number: number for number in ids}
    region, boundary = [], []
    for number in ids:
        first = (since or {}).get(number, 0)
        pairs = [
            _pair(true.get(number), found.get(track_of.get(number, -1)))
            for true, found in zip(truth[first:], predicted[first:], strict=True)
        ]
        kept = [pair for pair in pairs if pair is not None]
        both_empty = len(pairs) - len(kept)
        count = max(len(pairs), 1)
        region.append((sum(dense_iou(*pair) for pair in kept) + both_empty) / count)
        boundary.append((sum(boundary_f_score(*pair) for pair in kept) + both_empty) / count)
    return DavisScores(np.array(region), np.array(boundary))


def boundary_f_score(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    """F of two masks ``(h, w)``: harmonic mean of the shares of each boundary near the other.

    1 if neither mask has a boundary, 0 if only one has.
    """
    reach = int(np.ceil(BOUNDARY_TOLERANCE * np.hypot(*truth.shape)))
    steps = np.arange(-reach, reach + 1)
    disk = (steps[:, None] ** 2 + steps**2 <= reach**2).astype(np.uint8)
    true_boundary, found_boundary = (mask_boundary(mask).view(np.uint8) for mask in (truth, found))
    if not true_boundary.any() or not found_boundary.any():
        return float(not true_boundary.any() and not found_boundary.any())
    precision = cv2.dilate(true_boundary, disk)[found_boundary > 0].mean()
    recall = cv2.dilate(found_boundary, disk)[true_boundary > 0].mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def mask_boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels ``(h, w)`` that differ from the one to the right, below, or both, as in DAVIS."""
    more = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    return (mask != more[:-1, 1:]) | (mask != more[1:, :-1]) | (mask != more[1:, 1:])


def dense_iou(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    """IoU of two masks ``(h, w)``, of which at least one is not empty."""
    return float((truth & found).sum() / (truth | found).sum())


def visible_ids(frames: Sequence[FrameMasks]) -> list[int]:
    """Ids of the objects that are visible in any frame, ascending."""
    return sorted({number for frame in frames for number, mask in frame.items() if mask.any()})


def _pair(
    truth: NDArray[np.bool_] | None, found: NDArray[np.bool_] | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Both masks, or ``None`` if both are empty."""
    visible = [mask for mask in (truth, found) if mask is not None and mask.any()]
    if not visible:
        return None
    empty = np.zeros_like(visible[0])
    return (empty if truth is None else truth, empty if found is None else found)


def _mean_iou(
    truth: Sequence[FrameMasks], predicted: Sequence[FrameMasks], number: int, track: int
) -> float:
    pairs = (
        _pair(true.get(number), found.get(track))
        for true, found in zip(truth, predicted, strict=True)
    )
    return float(np.mean([1.0 if pair is None else dense_iou(*pair) for pair in pairs]))
