"""How well tracks are: J and F as in DAVIS, HOTA and identity switches by TrackEval.

J is the IoU of two masks, F how well their borders agree. An object that is rightly not found
scores 1 in both. HOTA also counts what was found that is not there, and asks that one thing keeps
one number through the whole clip; a mask that is found is one with enough IoU, at 19 thresholds.

Sources: https://arxiv.org/abs/1704.00675 (DAVIS 2017), https://arxiv.org/abs/1905.00737 (DAVIS
without prompts), https://arxiv.org/abs/2009.07736 (HOTA).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from trackeval.metrics import CLEAR, HOTA

__all__ = ["ClipScore", "Masks", "TrackScores", "border_agreement", "score_clip", "summarise"]

BORDER_TOLERANCE = 0.008
"""Share of the picture's diagonal by which borders may miss each other, as in DAVIS."""

Masks: TypeAlias = Mapping[int, NDArray[np.bool_]]
"""Masks ``(h, w)`` of one frame by number of the object; one that is missing is empty."""


@dataclass(frozen=True, slots=True, eq=False)
class ClipScore:
    """Scores of the ``n`` objects of one clip."""

    region: NDArray[np.float64]
    """``(n,)``: J, mean over the frames that count for an object."""
    border: NDArray[np.float64]
    """``(n,)``: F."""
    hota: Mapping[str, Any]
    """What TrackEval says of this clip."""
    clear: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TrackScores:
    """Scores of some clips together."""

    objects: int
    region: float
    """J, mean over objects."""
    border: float
    """F."""
    hota: float
    detection: float
    """DetA, the part of HOTA that asks whether things were found."""
    association: float
    """AssA, the part that asks whether they kept their numbers."""
    switches: int
    """Times that a thing was found under another number than before, at IoU 0.5."""

    @property
    def region_and_border(self) -> float:
        """J&F."""
        return (self.region + self.border) / 2

    @property
    def switch_share(self) -> float:
        """Identity switches per object."""
        return self.switches / max(self.objects, 1)


def score_clip(
    truth: Sequence[Masks],
    predicted: Sequence[Masks],
    *,
    since: Mapping[int, int] | None = None,
    match: bool = False,
) -> ClipScore:
    """Score the tracks of one clip.

    Args:
        truth: true masks of every frame.
        predicted: masks that were found in every frame.
        since: for J and F, first frame that counts for an object, by its true number: the one
            after its prompt. The first frame of the clip if missing.
        match: the numbers in ``predicted`` are the tracker's own. For J and F, each object is then
            given the track that makes the sum of all J greatest; one without a track scores as
            never found. Otherwise the numbers are those of the truth.

    Returns:
        Scores of the objects that are ever seen, in the order of their numbers.
    """
    seen = _numbers(truth)
    tracks = _numbers(predicted)
    if match:
        table = np.array(
            [[_mean_iou(truth, predicted, a, b) for b in tracks] for a in seen]
        ).reshape(len(seen), len(tracks))
        rows, columns = linear_sum_assignment(-table)
        partner = {seen[row]: tracks[column] for row, column in zip(rows, columns, strict=True)}
    else:
        partner = {number: number for number in seen}
    region, border = [], []
    for number in seen:
        first = (since or {}).get(number, 0)
        pairs = [
            _pair(true.get(number), found.get(partner.get(number, -1)))
            for true, found in zip(truth[first:], predicted[first:], strict=True)
        ]
        kept = [pair for pair in pairs if pair is not None]
        both_empty = len(pairs) - len(kept)
        count = max(len(pairs), 1)
        region.append((sum(_iou(*pair) for pair in kept) + both_empty) / count)
        border.append((sum(border_agreement(*pair) for pair in kept) + both_empty) / count)
    data = _for_trackeval(truth, predicted, seen, tracks)
    return ClipScore(
        np.array(region),
        np.array(border),
        HOTA().eval_sequence(data),
        CLEAR({"PRINT_CONFIG": False}).eval_sequence(data),
    )


def summarise(clips: Sequence[ClipScore]) -> TrackScores:
    """Put the scores of clips together: J and F by object, HOTA as TrackEval does."""
    by_name = {str(index): clip.hota for index, clip in enumerate(clips)}
    hota = HOTA().combine_sequences(by_name)
    return TrackScores(
        objects=sum(len(clip.region) for clip in clips),
        region=float(np.concatenate([clip.region for clip in clips]).mean()),
        border=float(np.concatenate([clip.border for clip in clips]).mean()),
        hota=float(np.mean(hota["HOTA"])),
        detection=float(np.mean(hota["DetA"])),
        association=float(np.mean(hota["AssA"])),
        switches=int(sum(clip.clear["IDSW"] for clip in clips)),
    )


def border_agreement(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    """F of two masks ``(h, w)``: harmonic mean of the shares of each border near the other.

    1 if both are empty, 0 if one of them is.
    """
    reach = int(np.ceil(BORDER_TOLERANCE * np.hypot(*truth.shape)))
    steps = np.arange(-reach, reach + 1)
    disk = (steps[:, None] ** 2 + steps**2 <= reach**2).astype(np.uint8)
    true_border, found_border = _border(truth), _border(found)
    if not true_border.any() or not found_border.any():
        return float(not true_border.any() and not found_border.any())
    precision = cv2.dilate(true_border, disk)[found_border > 0].mean()
    recall = cv2.dilate(found_border, disk)[true_border > 0].mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def _border(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Pixels that differ from the one to the right, below, or both, as in DAVIS."""
    more = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    differs = (mask != more[:-1, 1:]) | (mask != more[1:, :-1]) | (mask != more[1:, 1:])
    return differs.astype(np.uint8)


def _numbers(frames: Sequence[Masks]) -> list[int]:
    return sorted({number for frame in frames for number, mask in frame.items() if mask.any()})


def _pair(
    truth: NDArray[np.bool_] | None, found: NDArray[np.bool_] | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Both masks, or ``None`` if both are empty."""
    shown = [mask for mask in (truth, found) if mask is not None and mask.any()]
    if not shown:
        return None
    nothing = np.zeros_like(shown[0])
    return (nothing if truth is None else truth, nothing if found is None else found)


def _iou(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    return float((truth & found).sum() / (truth | found).sum())


def _mean_iou(truth: Sequence[Masks], predicted: Sequence[Masks], number: int, track: int) -> float:
    pairs = (
        _pair(true.get(number), found.get(track))
        for true, found in zip(truth, predicted, strict=True)
    )
    return float(np.mean([1.0 if pair is None else _iou(*pair) for pair in pairs]))


def _for_trackeval(
    truth: Sequence[Masks], predicted: Sequence[Masks], seen: list[int], tracks: list[int]
) -> dict[str, Any]:
    """A clip as TrackEval's metrics take it: numbers from 0, and IoU of everything that is seen."""
    true_ids, found_ids, overlaps = [], [], []
    for true, found in zip(truth, predicted, strict=True):
        here = [number for number in seen if number in true and true[number].any()]
        there = [number for number in tracks if number in found and found[number].any()]
        true_ids.append(np.array([seen.index(number) for number in here], int))
        found_ids.append(np.array([tracks.index(number) for number in there], int))
        table = [[_iou(true[a], found[b]) for b in there] for a in here]
        overlaps.append(np.array(table, float).reshape(len(here), len(there)))
    return {
        "num_timesteps": len(truth),
        "num_gt_ids": len(seen),
        "num_tracker_ids": len(tracks),
        "num_gt_dets": sum(map(len, true_ids)),
        "num_tracker_dets": sum(map(len, found_ids)),
        "gt_ids": true_ids,
        "tracker_ids": found_ids,
        "similarity_scores": overlaps,
    }
