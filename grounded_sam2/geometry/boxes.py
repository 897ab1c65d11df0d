"""Boxes as arrays: ``xyxy`` in pixels, half-open, so that a whole image is ``(0, 0, w, h)``.

All functions take ``(n, 4)`` of any number type and answer in ``float64``; no boxes are
``(0, 4)`` and give an empty answer.
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
"""A hundredth of a pixel: below what any model resolves, above where platforms differ."""


def to_xywh(boxes_xyxy: ArrayLike) -> NDArray[np.float64]:
    """Left, top, width and height, as COCO writes boxes: ``(n, 4)``."""
    boxes = _as_boxes(boxes_xyxy)
    return np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1)


def from_xywh(boxes_xywh: ArrayLike) -> NDArray[np.float64]:
    """The inverse of `to_xywh`: ``(n, 4)`` xyxy."""
    boxes = _as_boxes(boxes_xywh)
    return np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1)


def areas(boxes_xyxy: ArrayLike) -> NDArray[np.float64]:
    """Areas in square pixels: ``(n,)``; 0 for boxes that are turned inside out."""
    boxes = _as_boxes(boxes_xyxy)
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return sides[:, 0] * sides[:, 1]


def box_iou(a_xyxy: ArrayLike, b_xyxy: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of every box of `a` with every one of `b`: ``(len(a), len(b))``.

    A box without area has IoU 0 with everything, also itself.
    """
    a, b = _as_boxes(a_xyxy), _as_boxes(b_xyxy)
    intersection = _intersections(a, b)
    union = areas(a)[:, None] + areas(b)[None] - intersection
    ratio: NDArray[np.float64] = intersection / np.where(union > 0, union, 1)
    return ratio


def box_containment(a_xyxy: ArrayLike, b_xyxy: ArrayLike) -> NDArray[np.float64]:
    """Share of every box of `a` that lies in each one of `b`: ``(len(a), len(b))``.

    A box without area lies in nothing.
    """
    a, b = _as_boxes(a_xyxy), _as_boxes(b_xyxy)
    own = areas(a)[:, None]
    share: NDArray[np.float64] = _intersections(a, b) / np.where(own > 0, own, 1)
    return share


def clip(boxes_xyxy: ArrayLike, size_hw: tuple[int, int]) -> NDArray[np.float64]:
    """The parts of boxes inside an image: ``(n, 4)``; without area where a box lies outside."""
    height, width = size_hw
    return np.clip(_as_boxes(boxes_xyxy), 0, (width, height, width, height))


def scale(boxes_xyxy: ArrayLike, factor_xy: tuple[float, float]) -> NDArray[np.float64]:
    """Boxes in an image whose width and height are multiplied by `factor_xy`: ``(n, 4)``."""
    return _as_boxes(boxes_xyxy) * (*factor_xy, *factor_xy)


def rounded(boxes_xyxy: ArrayLike) -> NDArray[np.float64]:
    """Boxes as they are stored, to a hundredth of a pixel: ``(n, 4)``, never a negative zero."""
    return np.round(_as_boxes(boxes_xyxy), _STORED_DECIMALS) + 0.0


def valid(boxes_xyxy: ArrayLike, min_side: float = 0) -> NDArray[np.bool_]:
    """Which boxes are finite, have area, and both sides of at least `min_side` pixels: ``(n,)``."""
    boxes = _as_boxes(boxes_xyxy)
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        sides = boxes[:, 2:] - boxes[:, :2]
    good = np.isfinite(sides) & (sides > 0) & (sides >= min_side)
    return good[:, 0] & good[:, 1]


def _intersections(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Areas that boxes share: ``(len(a), len(b))``."""
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
