"""How well masks follow things: J and F as in DAVIS.

J is the IoU of two masks, F how well their borders agree. An object that is rightly not found
scores 1 in both.

Sources: https://arxiv.org/abs/1704.00675 (DAVIS 2017), https://arxiv.org/abs/1905.00737 (DAVIS
without prompts).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

__all__ = ["Masks", "border_agreement", "iou", "numbers", "region_and_border"]

BORDER_TOLERANCE = 0.008
"""Share of the image's diagonal by which borders may miss each other, as in DAVIS."""

Masks: TypeAlias = Mapping[int, NDArray[np.bool_]]
"""Masks ``(h, w)`` of one frame by number of the object; one that is missing is empty."""


def region_and_border(
    truth: Sequence[Masks],
    predicted: Sequence[Masks],
    *,
    since: Mapping[int, int] | None = None,
    match: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """J and F of each object of a clip, means over the frames that count.

    Args:
        truth: true masks of every frame.
        predicted: masks that were found in every frame.
        since: first frame that counts for an object, by its true number: the one after its prompt.
            The first frame of the clip if missing.
        match: the numbers in ``predicted`` are the tracker's own: each object is then given the
            track that makes the sum of all J greatest; one without a track scores as never found.
            Otherwise the numbers are those of the truth.

    Returns:
        Two of ``(n,)``: of the objects that are ever seen, in the order of their numbers.
    """
    seen = numbers(truth)
    tracks = numbers(predicted)
    if match:
        table = np.array([[_mean(truth, predicted, a, b) for b in tracks] for a in seen]).reshape(
            len(seen), len(tracks)
        )
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
        region.append((sum(iou(*pair) for pair in kept) + both_empty) / count)
        border.append((sum(border_agreement(*pair) for pair in kept) + both_empty) / count)
    return np.array(region), np.array(border)


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


def numbers(frames: Sequence[Masks]) -> list[int]:
    """Of the objects that are ever seen, rising."""
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


def iou(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    """Of two masks ``(h, w)``, not both of them empty."""
    return float((truth & found).sum() / (truth | found).sum())


def _mean(truth: Sequence[Masks], predicted: Sequence[Masks], number: int, track: int) -> float:
    pairs = (
        _pair(true.get(number), found.get(track))
        for true, found in zip(truth, predicted, strict=True)
    )
    return float(np.mean([1.0 if pair is None else iou(*pair) for pair in pairs]))
