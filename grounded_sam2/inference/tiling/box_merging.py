"""Merging of the boxes found in overlapping tiles: one box per object.

Neighboring tiles show the same strip twice, and larger tiles show again what smaller ones do. A box
that reaches an inner edge of its tile is *cut*, any other is *whole*:

1. Whole boxes of different tiles that overlap by half are one object. Its box is that of the most
   confident. Within a tile all boxes are different objects, as the detector returned them.
2. A cut box belongs to the whole box whose visible part in its tile it is, or in which it lies.
3. Of the remaining cut boxes, those that agree in the overlap of their tiles, or of which one lies
   inside the other, are one object, and its box encloses them.
4. A cut box that is still alone, and that lies whole and large enough in another tile, is dropped:
   with more context, the detector did not find it. The corner of a roof makes a good triangle as
   long as the roof is not visible.

The confidence of an object is the highest of its boxes.
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
from grounded_sam2.inference.tiling.tiles import LEVEL_RATIO, are_cut, are_inside

__all__ = ["TileBoxes", "merge_boxes"]

_SAME_IOU = 0.5
"""IoU from which on boxes are one object. Low, because tiles show it at different scales."""
_MIN_CONTAINMENT = 0.8
"""Share of a cut box inside another box, from which on it belongs to that. Not all: a cut box is
often too long."""

Boxes = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class TileBoxes:
    """Boxes of one caption found in the tiles of an image."""

    boxes_xyxy: Boxes
    """``(n, 4)``, in the image."""
    confidence: NDArray[np.float32]
    """``(n,)``; 0 where the detector gives none."""
    tile_index: NDArray[np.intp]
    """``(n,)``: index of each box's tile in `tiles_xyxy`."""
    tiles_xyxy: Boxes
    """``(t, 4)``: all tiles, including those without a box."""

    def __len__(self) -> int:
        return len(self.boxes_xyxy)

    @property
    def own_tiles_xyxy(self) -> Boxes:
        """The tile of each box: ``(n, 4)``."""
        return self.tiles_xyxy[self.tile_index]

    def select(self, index: NDArray[np.bool_] | NDArray[np.intp]) -> TileBoxes:
        """Return the boxes of a mask or of indices."""
        return replace(
            self,
            boxes_xyxy=self.boxes_xyxy[index],
            confidence=self.confidence[index],
            tile_index=self.tile_index[index],
        )

    def by_tile(self) -> Iterator[NDArray[np.intp]]:
        """Yield the indices of the boxes of each tile that has any, tile by tile."""
        order = np.argsort(self.tile_index, kind="stable")
        if len(order):
            yield from np.split(order, np.flatnonzero(np.diff(self.tile_index[order])) + 1)


def merge_boxes(found: TileBoxes, size_hw: tuple[int, int]) -> tuple[Boxes, NDArray[np.float32]]:
    """Merge the boxes of one caption, one box per object.

    Args:
        found: boxes of all tiles; may be none.
        size_hw: height and width of the image.

    Returns:
        ``(m, 4)`` boxes and ``(m,)`` confidence: first the whole boxes, then the merged cut ones,
        each in the order of the tiles.
    """
    is_cut = are_cut(found.boxes_xyxy, found.own_tiles_xyxy, size_hw)
    whole, confidence = _merge_whole(found.select(~is_cut))
    cut = found.select(is_cut)
    owner = _owners(cut, whole)
    np.maximum.at(confidence, owner[owner >= 0], cut.confidence[owner >= 0])
    joined, joined_confidence = _join_cut(cut.select(owner < 0), size_hw)
    return np.concatenate((whole, joined)), np.concatenate((confidence, joined_confidence))


def _merge_whole(found: TileBoxes) -> tuple[Boxes, NDArray[np.float32]]:
    """Whole boxes, one per object: ``(m, 4)`` and ``(m,)``."""
    boxes, confidence = np.zeros((0, 4)), np.zeros(0, np.float32)
    for index in found.by_tile():
        tile_boxes, tile_confidence = found.boxes_xyxy[index], found.confidence[index]
        pairs = match_greedy(box_iou(tile_boxes, boxes), _SAME_IOU)
        again, known = pairs[:, 0], pairs[:, 1]
        better = tile_confidence[again] > confidence[known]
        boxes[known[better]] = tile_boxes[again[better]]
        confidence[known[better]] = tile_confidence[again[better]]
        new = np.setdiff1d(np.arange(len(index)), again)
        boxes = np.concatenate((boxes, tile_boxes[new]))
        confidence = np.concatenate((confidence, tile_confidence[new]))
    return boxes, confidence


def _owners(cut: TileBoxes, whole: Boxes) -> NDArray[np.intp]:
    """Index of the whole box that each cut box belongs to, -1 for none: ``(n,)``."""
    owners = np.full(len(cut), -1, np.intp)
    if not len(whole):
        return owners
    for index in cut.by_tile():
        tile_boxes = cut.boxes_xyxy[index]
        iou = box_iou(tile_boxes, _clipped(whole, cut.own_tiles_xyxy[index[0]]))
        containment = box_containment(tile_boxes, whole)
        belongs = (iou >= _SAME_IOU) | (containment >= _MIN_CONTAINMENT)
        # Of several, the one whose visible part is most like it.
        best = np.where(belongs, iou, -1).argmax(axis=1)
        owners[index] = np.where(belongs.any(axis=1), best, -1)
    return owners


def _join_cut(cut: TileBoxes, size_hw: tuple[int, int]) -> tuple[Boxes, NDArray[np.float32]]:
    """Boxes of the objects that are whole in no tile: ``(m, 4)`` and ``(m,)``."""
    pairs = [
        (first, second)
        for first in range(len(cut))
        for second in np.flatnonzero(_continues(cut, first)).tolist()
    ]
    first, second = np.array(pairs, np.intp).reshape(-1, 2).T
    links = coo_array((np.ones(len(pairs)), (first, second)), shape=(len(cut), len(cut)))
    count, component = connected_components(links, directed=False)
    low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
    confidence = np.zeros(count, np.float32)
    np.minimum.at(low, component, cut.boxes_xyxy[:, :2])
    np.maximum.at(high, component, cut.boxes_xyxy[:, 2:])
    np.maximum.at(confidence, component, cut.confidence)
    alone = np.bincount(component, minlength=count)[component] == 1
    refuted = [
        index
        for index in np.flatnonzero(alone).tolist()
        if _is_whole_elsewhere(cut, index, size_hw)
    ]
    kept = np.setdiff1d(np.arange(count), component[refuted])
    return np.concatenate((low, high), axis=1)[kept], confidence[kept]


def _continues(cut: TileBoxes, index: int) -> NDArray[np.bool_]:
    """Which cut boxes of other tiles are of the same object as one of them: ``(n,)``."""
    box, tile = cut.boxes_xyxy[index], cut.own_tiles_xyxy[index]
    iou = _paired_iou(_clipped(cut.boxes_xyxy, tile), _clipped(box[None], cut.own_tiles_xyxy))
    containment = box_containment(cut.boxes_xyxy, box[None])[:, 0]
    same = (iou >= _SAME_IOU) | (containment >= _MIN_CONTAINMENT)
    return same & (cut.tile_index != cut.tile_index[index])


def _is_whole_elsewhere(cut: TileBoxes, index: int, size_hw: tuple[int, int]) -> bool:
    """Whether a cut box lies whole in another tile that does not show it much smaller."""
    box, tiles = cut.boxes_xyxy[index], cut.tiles_xyxy
    sides = (tiles[:, 2:] - tiles[:, :2]).max(axis=1)
    visible = (sides <= LEVEL_RATIO * sides[cut.tile_index[index]]) & are_inside(tiles, box)
    return bool((visible & ~are_cut(box[None], tiles, size_hw)).any())


def _clipped(boxes_xyxy: Boxes, tiles_xyxy: Boxes) -> Boxes:
    """Boxes clipped to a tile, or each to its own."""
    low, high = tiles_xyxy[..., [0, 1, 0, 1]], tiles_xyxy[..., [2, 3, 2, 3]]
    clipped: Boxes = np.clip(boxes_xyxy, low, high)
    return clipped


def _paired_iou(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """IoU of each box with the one in the same row: ``(n,)``."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    union = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1) - shared
    ratio: NDArray[np.float64] = shared / np.where(union > 0, union, 1)
    return ratio
