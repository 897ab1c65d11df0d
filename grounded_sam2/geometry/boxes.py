"""Boxes as arrays: ``xyxy`` in pixels, half-open, so that a whole image is ``(0, 0, w, h)``.

All functions take ``(n, 4)`` of any number type and return ``float64``. No boxes are ``(0, 4)`` and
give an empty result; another shape raises `GeometryError`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from grounded_sam2.errors import GeometryError

__all__ = [
    "areas",
    "box_containment",
    "box_iou",
    "clip",
    "from_xywh",
    "rounded",
    "scale",
    "to_xywh",
    "valid",
]

_STORED_DECIMALS = 2
"""A hundredth of a pixel: finer than the precision of any model, coarser than the differences
between platforms."""


def to_xywh(boxes_xyxy: ArrayLike) -> NDArray[np.float64]:
    """Left, top, width and height, as COCO writes boxes: ``(n, 4)``."""
    boxes = _as_boxes(boxes_xyxy)
    return np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1)


def from_xywh(boxes_xywh: ArrayLike) -> NDArray[np.float64]:
    """The inverse of `to_xywh`: ``(n, 4)`` xyxy."""
    boxes = _as_boxes(boxes_xywh)
    return np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1)


def areas(boxes_xyxy: ArrayLike) -> NDArray[np.float64]:
    """Areas in square pixels: ``(n,)``; 0 for boxes with swapped corners."""
    boxes = _as_boxes(boxes_xyxy)
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return sides[:, 0] * sides[:, 1]


def box_iou(a_xyxy: ArrayLike, b_xyxy: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of every box of `a` with every box of `b`: ``(len(a), len(b))``.

    A box without area has IoU 0 with every box, itself included.
    """
    a, b = _as_boxes(a_xyxy), _as_boxes(b_xyxy)
    intersection = _intersections(a, b)
    union = areas(a)[:, None] + areas(b)[None] - intersection
    ratio: NDArray[np.float64] = intersection / np.where(union > 0, union, 1)
    return ratio


def box_containment(a_xyxy: ArrayLike, b_xyxy: ArrayLike) -> NDArray[np.float64]:
    """Share of the area of every box of `a` inside each box of `b`: ``(len(a), len(b))``.

    0 for a box without area.
    """
    a, b = _as_boxes(a_xyxy), _as_boxes(b_xyxy)
    area = areas(a)[:, None]
    share: NDArray[np.float64] = _intersections(a, b) / np.where(area > 0, area, 1)
    return share


def clip(boxes_xyxy: ArrayLike, size_hw: tuple[int, int]) -> NDArray[np.float64]:
    """Clip boxes to an image: ``(n, 4)``; a box outside the image has no area afterwards."""
    height, width = size_hw
    return np.clip(_as_boxes(boxes_xyxy), 0, (width, height, width, height))


def scale(boxes_xyxy: ArrayLike, factor_xy: tuple[float, float]) -> NDArray[np.float64]:
    """Scale boxes by factors of width and height: ``(n, 4)``."""
    return _as_boxes(boxes_xyxy) * (*factor_xy, *factor_xy)


def rounded(boxes_xyxy: ArrayLike) -> NDArray[np.float64]:
    """Round boxes to a hundredth of a pixel, as stored: ``(n, 4)``, without negative zeros."""
    return np.round(_as_boxes(boxes_xyxy), _STORED_DECIMALS) + 0.0


def valid(boxes_xyxy: ArrayLike, min_side: float = 0) -> NDArray[np.bool_]:
    """Whether boxes are finite and have area and sides of at least `min_side` pixels: ``(n,)``."""
    boxes = _as_boxes(boxes_xyxy)
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        sides = boxes[:, 2:] - boxes[:, :2]
    is_valid = np.isfinite(sides) & (sides > 0) & (sides >= min_side)
    return is_valid[:, 0] & is_valid[:, 1]


def _intersections(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Areas of intersection of every pair of boxes: ``(len(a), len(b))``."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.maximum(high - low, 0)
    return sides[..., 0] * sides[..., 1]


def _as_boxes(boxes: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(boxes, np.float64)
    if array.size == 0:
        return array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise GeometryError(f"boxes of shape {array.shape}: expected (n, 4)")
    return array
