"""Boxes, drawing order and rasterization of the objects of an image.

Where a format has one value per pixel, the object with the higher confidence is on top. An object
without a confidence, such as one drawn by a person, is above all that have one, and so is one that
a person accepted; among equals, the first in the store is on top.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.exporters.mask_conversion import Box, MaskStats
from grounded_sam2.geometry.crops import run_lengths_from_crops
from grounded_sam2.geometry.rle import Rle, bounding_boxes, decode_crops_in_batches, encode_crops
from grounded_sam2.results import Label

__all__ = [
    "clipped_box",
    "covered_pixels",
    "front_to_back",
    "rasterize_objects",
    "row_major_counts",
    "visible_masks",
]


def clipped_box(label: Label, size_hw: tuple[int, int], stats: MaskStats | None) -> Box | None:
    """Return the box of an object, clipped to its image: of the mask, else as detected.

    Args:
        label: the object.
        size_hw: height and width of its image.
        stats: of its mask; ``None`` if it has none.

    Returns:
        xyxy in pixels; ``None`` if no part of it is inside the image.
    """
    height, width = size_hw
    box = label.box_xyxy if stats is None else stats.box_xyxy
    x_min, y_min = max(box[0], 0.0), max(box[1], 0.0)
    x_max, y_max = min(box[2], float(width)), min(box[3], float(height))
    return (x_min, y_min, x_max, y_max) if x_max > x_min and y_max > y_min else None


def covered_pixels(box_xyxy: Box) -> tuple[int, int, int, int]:
    """Return the pixels that a box covers at least in part: integer xyxy, half-open."""
    x_min, y_min, x_max, y_max = box_xyxy
    return int(x_min), int(y_min), int(np.ceil(x_max)), int(np.ceil(y_max))


def front_to_back(objects: Sequence[Label]) -> list[int]:
    """Return the indices of objects in drawing order, the topmost first."""

    def height(index: int) -> float:
        confidence = objects[index].confidence
        if confidence is None or objects[index].review == "accepted":
            return np.inf
        return confidence

    return sorted(range(len(objects)), key=height, reverse=True)


def rasterize_objects(
    objects: Sequence[Label],
    values: Sequence[int],
    size_hw: tuple[int, int],
    *,
    void: int,
) -> NDArray[np.uint16]:
    """Rasterize the objects of an image, the topmost above the others.

    Args:
        objects: of one image.
        values: pixel value of each object.
        size_hw: height and width of the image.
        void: value for the box of an object without a mask, below all masks: which of its pixels
            are the object is unknown.

    Returns:
        ``(h, w)`` ``uint16``, 0 for the background.
    """
    canvas = np.zeros(size_hw, np.uint16)
    for label in objects:
        box = clipped_box(label, size_hw, None) if label.mask is None else None
        if box is not None:
            left, top, right, bottom = covered_pixels(box)
            canvas[top:bottom, left:right] = void
    masks, mask_values = [], []
    for index in reversed(front_to_back(objects)):
        mask = objects[index].mask
        if mask is not None:
            masks.append(mask)
            mask_values.append(values[index])
    next_value = iter(mask_values)
    for _, crops in decode_crops_in_batches(masks):
        for pixels, (left, top) in zip(crops.pixels, crops.origins_xy.tolist(), strict=True):
            window = canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]]
            window[pixels] = next(next_value)
    return canvas


def visible_masks(
    pixels: NDArray[np.uint16], objects: Sequence[Label], values: Sequence[int]
) -> list[Rle | None]:
    """Return the visible part of each mask, without the pixels that other objects cover.

    Args:
        pixels: result of `rasterize_objects` for these objects and values.
        objects: of one image.
        values: pixel value of each object, all different.

    Returns:
        Disjoint masks, some of them possibly empty; ``None`` for an object without a mask.
    """
    masks = [label.mask for label in objects if label.mask is not None]
    boxes = bounding_boxes(masks).astype(int).tolist()
    masked = (value for each, value in zip(objects, values, strict=True) if each.mask is not None)
    windows = [
        pixels[top:bottom, left:right] == value
        for value, (left, top, right, bottom) in zip(masked, boxes, strict=True)
    ]
    size_hw = pixels.shape[0], pixels.shape[1]
    origins = [(left, top) for left, top, _, _ in boxes]
    visible = iter(encode_crops(windows, origins, [size_hw] * len(windows)))
    return [None if label.mask is None else next(visible) for label in objects]


def row_major_counts(masks: Sequence[Rle], *, within_box: bool = False) -> list[NDArray[np.int64]]:
    """Return row-major run lengths of masks, background first.

    Args:
        masks: of any images; may be empty.
        within_box: encode the bounding box of each mask instead of the whole image.

    Returns:
        ``(n,)`` ``int64`` per mask; ``(0,)`` for the bounding box of an empty mask.
    """
    counts: list[NDArray[np.int64]] = []
    for _, crops in decode_crops_in_batches(masks):
        # The rows of a mask are the columns of its transpose.
        transposed = [pixels.T for pixels in crops.pixels]
        sizes = (crops.sizes_hw if within_box else crops.images_hw)[:, ::-1]
        origins = np.zeros_like(sizes) if within_box else crops.origins_xy[:, ::-1]
        run_lengths, offsets = run_lengths_from_crops(transposed, origins, sizes)
        empty = within_box & (crops.areas == 0)
        counts += [
            each[:0] if is_empty else each
            for each, is_empty in zip(offsets.split(run_lengths), empty.tolist(), strict=True)
        ]
    return counts
