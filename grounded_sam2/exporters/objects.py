"""What formats need of an object, beyond what its label says: extent, order, runs, pixels.

Where a format has one value per pixel, the object of higher confidence is on top. One without a
confidence, such as what a person has drawn, is on top of all that have one; of equals, the one
that the store names first.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from grounded_sam2.exporters.mask_conversion import Box, MaskStats
from grounded_sam2.geometry.crops import run_lengths_from_crops
from grounded_sam2.geometry.rle import Rle, bounding_boxes, decode_crops_in_batches, encode_crops
from grounded_sam2.results import Label

__all__ = [
    "clipped_box",
    "covered_pixels",
    "front_to_back",
    "paint",
    "row_major_counts",
    "visible",
    "write_values",
]


def clipped_box(label: Label, size_hw: tuple[int, int], measure: MaskStats | None) -> Box | None:
    """The box of an object: around its mask, or as detected if it has none.

    Args:
        label: the object.
        size_hw: height and width of its image.
        measure: of its mask; ``None`` if it has none.

    Returns:
        xyxy in pixels, within the image; ``None`` if nothing of it lies there.
    """
    height, width = size_hw
    box = label.box_xyxy if measure is None else measure.box_xyxy
    x_min, y_min = max(box[0], 0.0), max(box[1], 0.0)
    x_max, y_max = min(box[2], float(width)), min(box[3], float(height))
    return (x_min, y_min, x_max, y_max) if x_max > x_min and y_max > y_min else None


def covered_pixels(box_xyxy: Box) -> tuple[int, int, int, int]:
    """The pixels that a box touches: xyxy, half-open."""
    x_min, y_min, x_max, y_max = box_xyxy
    return int(x_min), int(y_min), int(np.ceil(x_max)), int(np.ceil(y_max))


def front_to_back(objects: Sequence[Label]) -> list[int]:
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
        objects: of one image.
        values: what to paint each with.
        size_hw: height and width of the image.
        void: value of the box of an object without a mask, where no mask is: of these pixels
            nobody knows what they are.

    Returns:
        ``(h, w)`` ``uint16``, 0 where nothing is.
    """
    canvas = np.zeros(size_hw, np.uint16)
    for label in objects:
        box = clipped_box(label, size_hw, None) if label.mask is None else None
        if box is not None:
            left, top, right, bottom = covered_pixels(box)
            canvas[top:bottom, left:right] = void
    masks, painted = [], []
    for index in reversed(front_to_back(objects)):
        mask = objects[index].mask
        if mask is not None:
            masks.append(mask)
            painted.append(values[index])
    next_value = iter(painted)
    for _, crops in decode_crops_in_batches(masks):
        for pixels, (left, top) in zip(crops.pixels, crops.origins_xy.tolist(), strict=True):
            window = canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]]
            window[pixels] = next(next_value)
    return canvas


def visible(
    pixels: NDArray[np.uint16], objects: Sequence[Label], values: Sequence[int]
) -> list[Rle | None]:
    """What is left of each mask where others lie upon it.

    Args:
        pixels: what `paint` made of the objects and values.
        objects: of one image.
        values: of each, all different.

    Returns:
        Masks that do not overlap, some perhaps empty; ``None`` without a mask.
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
    left_over = iter(encode_crops(windows, origins, [size_hw] * len(windows)))
    return [None if label.mask is None else next(left_over) for label in objects]


def write_values(values: PIL.Image.Image, file: Path) -> None:
    """Write an image of few values as PNG, into a folder that is made as needed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # Equal neighbors are all there is to compress: smaller files in two thirds of the time.
    values.save(file, format="PNG", compress_type=zlib.Z_RLE)


def row_major_counts(masks: Sequence[Rle], *, within_box: bool = False) -> list[NDArray[np.int64]]:
    """Lengths of the runs of masks, row by row, background first.

    Args:
        masks: of any images; may be empty.
        within_box: count within the bounding box of each mask only.

    Returns:
        ``(n,)`` ``int64`` each; ``(0,)`` for what lies within the box of an empty mask.
    """
    found: list[NDArray[np.int64]] = []
    for _, crops in decode_crops_in_batches(masks):
        # The rows of a mask are the columns of its mirror image.
        mirrored = [pixels.T for pixels in crops.pixels]
        sizes = (crops.sizes_hw if within_box else crops.images_hw)[:, ::-1]
        origins = np.zeros_like(sizes) if within_box else crops.origins_xy[:, ::-1]
        runs, spans = run_lengths_from_crops(mirrored, origins, sizes)
        nothing = within_box & (crops.areas == 0)
        found += [
            each[:0] if empty else each
            for each, empty in zip(spans.split(runs), nothing.tolist(), strict=True)
        ]
    return found
