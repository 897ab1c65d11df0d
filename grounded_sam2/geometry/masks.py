"""Repairs of masks: specks, pin-holes, parts, overlaps.

Pixels of a part touch at a side or at a corner, so that a thin diagonal line is one part. Pixels
of a hole touch at a side, as they must where parts may touch at a corner; background that reaches
the border of the array is no hole, because nobody knows how it goes on there. For both reasons a
mask and its crop to its bounding box (`Rle.decode_crop`) have the same parts and holes, and the
functions on arrays are meant to be given the crop.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry.rle import Rle, encode_crop

__all__ = ["fill_holes", "largest_component", "remove_overlaps", "remove_small_components"]

Mask = NDArray[np.bool_]


def remove_small_components(mask: Mask, min_area: int) -> Mask:
    """Clear the parts of fewer than `min_area` pixels.

    Args:
        mask: ``(h, w)`` ``bool``; may be empty.
        min_area: pixels; 1 or less keeps all.

    Returns:
        ``(h, w)`` ``bool``, without a set pixel if all parts are specks.
    """
    if min_area <= 1 or not mask.any():
        return mask
    part_of_pixel, stats = _components(mask, connectivity=8)
    kept = stats[:, cv2.CC_STAT_AREA] >= min_area
    kept[0] = False
    large: Mask = kept[part_of_pixel]
    return large


def fill_holes(mask: Mask, max_area: int) -> Mask:
    """Set the pixels of holes of at most `max_area` pixels.

    Args:
        mask: ``(h, w)`` ``bool``; may be empty.
        max_area: pixels; 0 fills none.

    Returns:
        ``(h, w)`` ``bool``.
    """
    if max_area <= 0 or not mask.any() or mask.all():
        return mask
    region_of_pixel, stats = _components(~mask, connectivity=4)
    left, top, width, height, area = stats.T
    enclosed = (left > 0) & (top > 0)
    enclosed &= (left + width < mask.shape[1]) & (top + height < mask.shape[0])
    filled = enclosed & (area <= max_area)
    filled[0] = True  # the mask itself
    whole: Mask = filled[region_of_pixel]
    return whole


def largest_component(mask: Mask) -> Mask:
    """Keep the part of most pixels; of equally large ones the topmost, then the leftmost.

    Args:
        mask: ``(h, w)`` ``bool``; may be empty.

    Returns:
        ``(h, w)`` ``bool``.
    """
    if not mask.any():
        return mask
    part_of_pixel, stats = _components(mask, connectivity=8)
    left, top, _, _, area = stats[1:].T
    largest = 1 + np.lexsort((left, top, -area))[0]
    chosen: Mask = part_of_pixel == largest
    return chosen


def remove_overlaps(masks: Sequence[Rle]) -> list[Rle]:
    """Give each pixel to one mask: the first in order is on top, whole; others lose to it.

    Args:
        masks: of one image, most important first.

    Returns:
        As many masks in the same order, some perhaps empty; ``[]`` for none.

    Raises:
        GeometryError: the masks are not all of one size.
    """
    if not masks:
        return []
    size_hw = masks[0].size_hw
    taken = np.zeros(size_hw, np.bool_)
    result: list[Rle] = []
    for mask in masks:
        if mask.size_hw != size_hw:
            raise GeometryError(
                f"masks of {size_hw[0]}×{size_hw[1]} and {mask.size_hw[0]}×{mask.size_hw[1]} "
                "pixels together: give masks of one image"
            )
        crop, (left, top) = mask.decode_crop()
        window = taken[top : top + crop.shape[0], left : left + crop.shape[1]]
        result.append(encode_crop(crop & ~window, (left, top), size_hw))
        window |= crop
    return result


def _components(mask: Mask, connectivity: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Component of each pixel, 0 where clear, and left, top, width, height, area of each."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.view(np.uint8), connectivity=connectivity
    )
    return labels, stats
