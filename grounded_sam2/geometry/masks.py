"""Repairs of masks: small components, holes, the largest component, overlaps.

Components are 8-connected, so that a thin diagonal line is one component. Holes are 4-connected
components of the background, which 8-connected foreground requires; background that touches the
border of the array is no hole, because its extent beyond the array is unknown. A mask and its crop
to its bounding box (`Rle.decode_crop`) therefore have the same components and holes: pass the crop
to the functions on arrays.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from grounded_sam2.geometry.crops import Mask
from grounded_sam2.geometry.rle import Rle, common_size, encode_crop

__all__ = ["fill_holes", "largest_component", "remove_overlaps", "remove_small_components"]


def remove_small_components(mask: Mask, min_area: int) -> Mask:
    """Clear the components of fewer than `min_area` pixels.

    Args:
        mask: ``(h, w)`` ``bool``; may be empty.
        min_area: pixels; 1 or less keeps all components.

    Returns:
        ``(h, w)`` ``bool``; no pixel is set if all components are smaller.
    """
    if min_area <= 1 or not mask.any():
        return mask
    labels, stats = _components(mask, connectivity=8)
    is_kept = stats[:, cv2.CC_STAT_AREA] >= min_area
    is_kept[0] = False
    kept: Mask = is_kept[labels]
    return kept


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
    labels, stats = _components(~mask, connectivity=4)
    left, top, width, height, area = stats.T
    enclosed = (left > 0) & (top > 0)
    enclosed &= (left + width < mask.shape[1]) & (top + height < mask.shape[0])
    is_set = enclosed & (area <= max_area)
    is_set[0] = True  # the mask itself
    filled: Mask = is_set[labels]
    return filled


def largest_component(mask: Mask) -> Mask:
    """Keep the component of most pixels; of equally large ones the topmost, then the leftmost.

    Args:
        mask: ``(h, w)`` ``bool``; may be empty.

    Returns:
        ``(h, w)`` ``bool``.
    """
    if not mask.any():
        return mask
    labels, stats = _components(mask, connectivity=8)
    left, top, _, _, area = stats[1:].T
    largest = 1 + np.lexsort((left, top, -area))[0]
    kept: Mask = labels == largest
    return kept


def remove_overlaps(masks: Sequence[Rle]) -> list[Rle]:
    """Assign each pixel to the first mask that has it, so that no two masks overlap.

    Args:
        masks: of one image, in descending priority.

    Returns:
        One mask per input mask, in the same order, possibly empty; ``[]`` for no masks.

    Raises:
        GeometryError: the masks are not all of one size.
    """
    size_hw = common_size(masks)
    occupied = np.zeros(size_hw, np.bool_)
    result: list[Rle] = []
    for mask in masks:
        crop, (left, top) = mask.decode_crop()
        window = occupied[top : top + crop.shape[0], left : left + crop.shape[1]]
        result.append(encode_crop(crop & ~window, (left, top), size_hw))
        window |= crop
    return result


def _components(mask: Mask, connectivity: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Connected components, OpenCV's labels and statistics.

    Returns:
        ``(h, w)`` component of each pixel, 0 where the mask is clear; and ``(n, 5)`` left, top,
        width, height and area of each component.
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.view(np.uint8), connectivity=connectivity
    )
    return labels, stats
