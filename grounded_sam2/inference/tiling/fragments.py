"""Fragments: objects that are a cut-off part of another one, recognized by their masks.

Where a tile cuts an object, the detector may return a box around the visible part. Fragments that
the boxes do not reveal (see `box_merging`), the masks may: the mask of a fragment lies inside that
of the whole object. That alone is not enough, as one mask around a heap of apples contains the mask
of each. But a fragment ends where a tile ends.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.config import TilingConfig
from grounded_sam2.geometry import rle
from grounded_sam2.geometry.overlap import mask_containment
from grounded_sam2.inference.tiling.tiles import (
    are_cut,
    are_inside,
    is_large,
    make_tiles,
    tile_boxes,
)
from grounded_sam2.results import Label

__all__ = ["are_fragments"]

_MIN_CONTAINMENT = 0.9
"""Share of a fragment's mask inside that of the whole. Not all: masks of one object differ along
their border."""
_MAX_AREA_RATIO = 0.7
"""Largest ratio of a fragment's area to that of the whole. Above it the two are one object found
twice, of which clean-up keeps the more confident."""


def are_fragments(
    objects: Sequence[Label], size_hw: tuple[int, int], options: TilingConfig
) -> NDArray[np.bool_]:
    """Whether each object of an image is a fragment of another one, cut off by a tile.

    A fragment has the caption of the whole, a clearly smaller mask that lies nearly all inside, and
    a box that ends at the edge of a tile.

    Args:
        objects: with the boxes of the detector; those without a mask are no fragments.
        size_hw: height and width of the image.
        options: how it was tiled; in an image that is not large, there are no fragments.

    Returns:
        ``(n,)`` ``bool``; ``(0,)`` for no objects.
    """
    fragments = np.zeros(len(objects), np.bool_)
    if not is_large(size_hw, options):
        return fragments
    by_caption: dict[str, list[int]] = {}
    for index, label in enumerate(objects):
        if label.mask is not None:
            by_caption.setdefault(label.caption, []).append(index)
    for indices in by_caption.values():
        if len(indices) > 1:
            some = [objects[index] for index in indices]
            fragments[indices] = _end_at_tiles(some, size_hw, options) & _lie_inside_others(some)
    return fragments


def _lie_inside_others(objects: Sequence[Label]) -> NDArray[np.bool_]:
    """Whether each mask lies inside a clearly larger one: ``(n,)``."""
    masks = [label.mask for label in objects if label.mask is not None]
    areas = rle.areas(masks)
    larger = areas[:, None] <= _MAX_AREA_RATIO * areas[None]
    inside = mask_containment(masks, masks) >= _MIN_CONTAINMENT
    result: NDArray[np.bool_] = np.any(larger & inside, axis=1)
    return result


def _end_at_tiles(
    objects: Sequence[Label], size_hw: tuple[int, int], options: TilingConfig
) -> NDArray[np.bool_]:
    """Whether each box was cut by a tile that it lies in: ``(n,)``."""
    tiles = tile_boxes(make_tiles(size_hw, options))
    result = np.zeros(len(objects), np.bool_)
    for index, label in enumerate(objects):
        box = np.array(label.box_xyxy)
        result[index] = (are_inside(tiles, box) & are_cut(box[None], tiles, size_hw)).any()
    return result
