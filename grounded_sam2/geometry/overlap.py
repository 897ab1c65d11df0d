"""Overlap of masks with masks: IoU, containment, intersection, union; and IoU without masks.

The IoU of boxes alone is in `grounded_sam2.geometry.boxes`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pycocotools import mask as coco_mask

from grounded_sam2.geometry.boxes import box_iou
from grounded_sam2.geometry.rle import Rle, common_size

__all__ = ["mask_containment", "mask_intersection", "mask_iou", "mask_union", "mixed_iou"]


def mask_iou(a: Sequence[Rle], b: Sequence[Rle]) -> NDArray[np.float64]:
    """Intersection over union of every mask of `a` with every mask of `b`.

    Returns:
        ``(len(a), len(b))`` ``float64``; an empty mask has IoU 0 with every mask, itself included.

    Raises:
        GeometryError: the masks are not all of one size.
    """
    return _overlap(a, b, relative_to_first=False)


def mask_containment(a: Sequence[Rle], b: Sequence[Rle]) -> NDArray[np.float64]:
    """Share of the area of every mask of `a` that lies inside each mask of `b`.

    Returns:
        ``(len(a), len(b))`` ``float64`` in [0, 1]; 0 for an empty mask.

    Raises:
        GeometryError: the masks are not all of one size.
    """
    return _overlap(a, b, relative_to_first=True)


def mask_intersection(a: Rle, b: Rle) -> Rle:
    """The mask of the pixels set in both masks.

    Raises:
        GeometryError: the masks are not of one size.
    """
    return _combined([a, b], intersect=True)


def mask_union(masks: Sequence[Rle]) -> Rle:
    """The mask of the pixels set in any of at least one mask.

    Raises:
        GeometryError: the masks are not all of one size.
    """
    return _combined(masks, intersect=False)


def mixed_iou(boxes_xyxy: ArrayLike, masks: Sequence[Rle | None]) -> NDArray[np.float64]:
    """Intersection over union of every object with every other, by mask where both have one.

    Args:
        boxes_xyxy: ``(n, 4)``, pixels.
        masks: one per box, all of one size; ``None`` for an object without a mask.

    Returns:
        ``(n, n)`` ``float64``: mask IoU, or box IoU where one of the two objects has no mask;
        ``(0, 0)`` for no objects.

    Raises:
        GeometryError: the masks are not all of one size.
    """
    overlap = box_iou(boxes_xyxy, boxes_xyxy)
    indices = [index for index, mask in enumerate(masks) if mask is not None]
    present = [mask for mask in masks if mask is not None]
    overlap[np.ix_(indices, indices)] = mask_iou(present, present)
    return overlap


def _combined(masks: Sequence[Rle], *, intersect: bool) -> Rle:
    size_hw = common_size(masks)
    both = [{"size": mask.size_hw, "counts": mask.counts} for mask in masks]
    return Rle(size_hw, coco_mask.merge(both, intersect=intersect)["counts"])


def _overlap(a: Sequence[Rle], b: Sequence[Rle], *, relative_to_first: bool) -> NDArray[np.float64]:
    """Area of the intersection of every pair, divided by that of the union or of the first mask."""
    common_size([*a, *b])
    if not a or not b:
        return np.zeros((len(a), len(b)))
    first, second = ([{"size": m.size_hw, "counts": m.counts} for m in masks] for masks in (a, b))
    # pycocotools divides by the area of the first mask where the second is marked as a crowd.
    crowds = [int(relative_to_first)] * len(b)
    return np.asarray(coco_mask.iou(first, second, crowds), np.float64)
