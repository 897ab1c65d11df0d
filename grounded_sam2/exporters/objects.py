"""What formats need to know of an object, beyond what its label says: extent, outline, order.

Where a format has one value per pixel, the object of higher confidence is on top. One without a
confidence, such as what a person has drawn, is on top of all that have one; of equals, the one
that the store names first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.geometry.rle import Rle, encode_crop
from grounded_sam2.results import Label

__all__ = ["extent", "paint", "row_major_runs", "top_first", "whole_pixels"]


def extent(label: Label, size_hw: tuple[int, int]) -> tuple[float, float, float, float] | None:
    """The box of an object: around its mask, or as detected if it has none.

    Returns:
        xyxy in pixels, within the picture; ``None`` if nothing of it lies there.
    """
    height, width = size_hw
    box = label.box_xyxy if label.mask is None else label.mask.bbox_xyxy
    x_min, x_max = (min(max(x, 0.0), float(width)) for x in (box[0], box[2]))
    y_min, y_max = (min(max(y, 0.0), float(height)) for y in (box[1], box[3]))
    return (x_min, y_min, x_max, y_max) if x_max > x_min and y_max > y_min else None


def whole_pixels(box_xyxy: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
    """The pixels that a box touches: xyxy, half-open."""
    x_min, y_min, x_max, y_max = box_xyxy
    return int(x_min), int(y_min), int(np.ceil(x_max)), int(np.ceil(y_max))


def top_first(objects: Sequence[Label]) -> list[int]:
    """Indices of objects in the order in which they lie upon each other, the topmost first."""

    def height(index: int) -> float:
        confidence = objects[index].confidence
        return np.inf if confidence is None else confidence

    return sorted(range(len(objects)), key=height, reverse=True)


def paint(
    objects: Sequence[Label],
    values: Sequence[int],
    size_hw: tuple[int, int],
    *,
    void: int,
) -> NDArray[np.uint16]:
    """One value per pixel.

    Args:
        objects: of one picture.
        values: what to paint each with.
        size_hw: height and width of the picture.
        void: value of the box of an object without a mask, where no mask is: of these pixels
            nobody knows what they are.

    Returns:
        ``(h, w)`` ``uint16``, 0 where nothing is.
    """
    canvas = np.zeros(size_hw, np.uint16)
    for label in objects:
        box = extent(label, size_hw) if label.mask is None else None
        if box is not None:
            left, top, right, bottom = whole_pixels(box)
            canvas[top:bottom, left:right] = void
    for index in reversed(top_first(objects)):
        mask = objects[index].mask
        if mask is not None:
            crop, (left, top) = mask.decode_crop()
            canvas[top : top + crop.shape[0], left : left + crop.shape[1]][crop] = values[index]
    return canvas


def row_major_runs(mask: Rle, *, within_box: bool = False) -> NDArray[np.int64]:
    """Lengths of the runs of a mask, row by row, background first.

    Args:
        mask: may be empty.
        within_box: count within the bounding box of the mask only.

    Returns:
        ``(n,)`` ``int64``; ``(0,)`` for what lies within the box of an empty mask.
    """
    crop, (left, top) = mask.decode_crop()
    if within_box and not crop.size:
        return np.zeros(0, np.int64)
    # The rows of a mask are the columns of its mirror image.
    height, width = crop.shape if within_box else mask.size_hw
    origin = (0, 0) if within_box else (top, left)
    return encode_crop(crop.T, origin, (width, height)).runs()
