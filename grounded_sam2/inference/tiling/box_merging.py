"""One box for one thing, of what several windows of an image show.

Neighboring windows show the same strip twice, and larger ones show again what smaller ones do. A
box that does not reach the edge of its window is a *whole*, one that does is a *part*:

1. Wholes of different windows that overlap by half are one thing. The box is that of the most
   confident. Within a window all boxes are different things: so the detector said.
2. A part belongs to the whole of which it is what its window can show, or in which it lies.
3. Of what is left, parts that agree where both their windows look, or of which one lies in the
   other, are one thing, and its box goes around them.
4. A part that is still alone, and that another window shows whole and large enough, is nothing:
   the detector has seen it there with more around it, and did not take it for what it seemed to
   be. The corner of a roof makes a good triangle as long as the roof is not seen.

The confidence of a thing is the highest that the detector gave to one of its boxes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from grounded_sam2.geometry.boxes import box_containment, box_iou
from grounded_sam2.geometry.matching import match_greedy
from grounded_sam2.inference.tiling.tiles import STEP, cut_by_views, shows

__all__ = ["Sightings", "merge"]

_SAME_IOU = 0.5
"""Boxes that overlap more are one thing. Wide: the windows show it at different scales."""
_PART_INSIDE = 0.8
"""A part lies in another box with this share. Not all: the box of a part is often too long."""

Boxes = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Sightings:
    """Boxes found in windows of an image."""

    boxes_xyxy: Boxes
    """``(n, 4)``, in the image."""
    confidence: NDArray[np.float32]
    """``(n,)``; all alike where the detector gives none."""
    views: NDArray[np.intp]
    """``(n,)``: the window of each, as its index in `windows_xyxy`."""
    windows_xyxy: Boxes
    """``(v, 4)``: all windows that were looked through."""

    def __len__(self) -> int:
        return len(self.boxes_xyxy)

    @property
    def own_windows_xyxy(self) -> Boxes:
        """The window of each box: ``(n, 4)``."""
        return self.windows_xyxy[self.views]

    def take(self, index: NDArray[np.bool_] | NDArray[np.intp]) -> Sightings:
        """Some of them."""
        return replace(
            self,
            boxes_xyxy=self.boxes_xyxy[index],
            confidence=self.confidence[index],
            views=self.views[index],
        )

    def by_view(self) -> Iterator[NDArray[np.intp]]:
        """Indices of the boxes of each window that has any, window by window."""
        order = np.argsort(self.views, kind="stable")
        if len(order):
            yield from np.split(order, np.flatnonzero(np.diff(self.views[order])) + 1)


def merge(seen: Sightings, size_hw: tuple[int, int]) -> tuple[Boxes, NDArray[np.float32]]:
    """Boxes of one caption, each thing once.

    Args:
        seen: what all windows show; may be nothing.
        size_hw: height and width of the image.

    Returns:
        ``(m, 4)`` boxes and ``(m,)`` confidence: first the wholes, then what has only parts, each
        in the order of the windows.
    """
    is_part = cut_by_views(seen.boxes_xyxy, seen.own_windows_xyxy, size_hw)
    wholes, confidence = _distinct(seen.take(~is_part))
    parts = seen.take(is_part)
    owner = _owners(parts, wholes)
    np.maximum.at(confidence, owner[owner >= 0], parts.confidence[owner >= 0])
    joined, joined_confidence = _joined(parts.take(owner < 0), size_hw)
    return np.concatenate((wholes, joined)), np.concatenate((confidence, joined_confidence))


def _distinct(wholes: Sightings) -> tuple[Boxes, NDArray[np.float32]]:
    """Whole things, each once: ``(m, 4)`` and ``(m,)``."""
    boxes, confidence = np.zeros((0, 4)), np.zeros(0, np.float32)
    for index in wholes.by_view():
        here, sure = wholes.boxes_xyxy[index], wholes.confidence[index]
        pairs = match_greedy(box_iou(here, boxes), _SAME_IOU)
        again, known = pairs[:, 0], pairs[:, 1]
        better = sure[again] > confidence[known]
        boxes[known[better]] = here[again[better]]
        confidence[known[better]] = sure[again[better]]
        new = np.setdiff1d(np.arange(len(index)), again)
        boxes = np.concatenate((boxes, here[new]))
        confidence = np.concatenate((confidence, sure[new]))
    return boxes, confidence


def _owners(parts: Sightings, wholes: Boxes) -> NDArray[np.intp]:
    """The whole that each part belongs to, -1 where there is none: ``(n,)``."""
    owners = np.full(len(parts), -1, np.intp)
    if not len(wholes):
        return owners
    for index in parts.by_view():
        here = parts.boxes_xyxy[index]
        agreement = box_iou(here, _clipped(wholes, parts.own_windows_xyxy[index[0]]))
        inside = box_containment(here, wholes)
        belongs = (agreement >= _SAME_IOU) | (inside >= _PART_INSIDE)
        # Of several, the one whose visible piece is most like it.
        best = np.where(belongs, agreement, -1).argmax(axis=1)
        owners[index] = np.where(belongs.any(axis=1), best, -1)
    return owners


def _joined(parts: Sightings, size_hw: tuple[int, int]) -> tuple[Boxes, NDArray[np.float32]]:
    """Things of which only parts were seen: ``(m, 4)`` and ``(m,)``."""
    pairs = [
        (first, second)
        for first in range(len(parts))
        for second in np.flatnonzero(_continued(parts, first)).tolist()
    ]
    first, second = np.array(pairs, np.intp).reshape(-1, 2).T
    links = coo_array((np.ones(len(pairs)), (first, second)), shape=(len(parts), len(parts)))
    count, thing = connected_components(links, directed=False)
    low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
    confidence = np.zeros(count, np.float32)
    np.minimum.at(low, thing, parts.boxes_xyxy[:, :2])
    np.maximum.at(high, thing, parts.boxes_xyxy[:, 2:])
    np.maximum.at(confidence, thing, parts.confidence)
    alone = np.bincount(thing, minlength=count)[thing] == 1
    refuted = [
        index for index in np.flatnonzero(alone).tolist() if _shown_whole(parts, index, size_hw)
    ]
    kept = np.setdiff1d(np.arange(count), thing[refuted])
    return np.concatenate((low, high), axis=1)[kept], confidence[kept]


def _continued(parts: Sightings, index: int) -> NDArray[np.bool_]:
    """Which other windows' parts are of the same thing as one part: ``(n,)``."""
    box, window = parts.boxes_xyxy[index], parts.own_windows_xyxy[index]
    theirs = _clipped(parts.boxes_xyxy, window)
    ours = _clipped(box[None], parts.own_windows_xyxy)
    agreement = _iou_of_pairs(theirs, ours)
    inside = box_containment(parts.boxes_xyxy, box[None])[:, 0]
    same = (agreement >= _SAME_IOU) | (inside >= _PART_INSIDE)
    return same & (parts.views != parts.views[index])


def _shown_whole(parts: Sightings, index: int, size_hw: tuple[int, int]) -> bool:
    """Whether another window shows a part whole, and not much smaller."""
    box, every = parts.boxes_xyxy[index], parts.windows_xyxy
    sides = (every[:, 2:] - every[:, :2]).max(axis=1)
    answers = (sides <= STEP * sides[parts.views[index]]) & shows(every, box)
    return bool((answers & ~cut_by_views(box[None], every, size_hw)).any())


def _clipped(boxes_xyxy: Boxes, windows_xyxy: Boxes) -> Boxes:
    """What can be seen of boxes through a window, or each through its own."""
    low, high = windows_xyxy[..., [0, 1, 0, 1]], windows_xyxy[..., [2, 3, 2, 3]]
    clipped: Boxes = np.clip(boxes_xyxy, low, high)
    return clipped


def _iou_of_pairs(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """IoU of each box with the one beside it: ``(n,)``."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    union = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1) - shared
    ratio: NDArray[np.float64] = shared / np.where(union > 0, union, 1)
    return ratio
