"""Masks of the objects visible on one frame, and comparisons between masks of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grounded_sam2.config import TrackingConfig
from grounded_sam2.geometry import rle
from grounded_sam2.geometry.overlap import mask_containment, mask_iou
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.models.protocols import FrameMasks

__all__ = [
    "ObjectMask",
    "are_contained",
    "is_contained",
    "masks_agree",
    "pair_iou",
    "visible_objects",
]

_MIN_CONTAINMENT = 0.7
"""Share of a mask's area inside another mask from which on the first is contained in the second."""


@dataclass(frozen=True, slots=True)
class ObjectMask:
    """Mask of one object that is visible on a frame."""

    mask: Rle
    box_xyxy: tuple[float, float, float, float]
    """Tight around the mask."""
    quality: float
    """Predicted IoU, rounded to four decimals."""


def visible_objects(masks: FrameMasks, rles: Sequence[Rle] | None = None) -> dict[int, ObjectMask]:
    """Return the objects that are visible on a frame, by object id.

    An object with a score of 0 or less, or without a single pixel, is absent.

    Args:
        masks: the tracker's masks of the frame.
        rles: ``masks.to_rles()``, where the caller has them already.
    """
    rles = masks.to_rles() if rles is None else rles
    boxes = rle.bounding_boxes(rles).tolist()
    return {
        object_id: ObjectMask(mask, (left, top, right, bottom), round(float(quality), 4))
        for object_id, mask, (left, top, right, bottom), quality, score in zip(
            masks.ids, rles, boxes, masks.quality, masks.score, strict=True
        )
        if score > 0 and right > left
    }


def pair_iou(a: Rle, b: Rle) -> float:
    """Intersection over union of two masks."""
    return float(mask_iou([a], [b])[0, 0])


def masks_agree(a: Rle, b: Rle, options: TrackingConfig) -> bool:
    """Whether two masks of one object agree so far that neither needs a correction."""
    return pair_iou(a, b) >= max(options.correct_iou, options.match_iou)


def is_contained(mask: Rle, disjoint_masks: Sequence[Rle]) -> bool:
    """Whether most of a mask lies inside the union of masks that share no pixel."""
    return float(mask_containment([mask], disjoint_masks).sum()) >= _MIN_CONTAINMENT


def are_contained(masks: Sequence[Rle], containers: Sequence[Rle]) -> list[bool]:
    """For each mask, whether most of it lies inside a single one of the containers."""
    containment = mask_containment(masks, containers)
    return [bool((row >= _MIN_CONTAINMENT).any()) for row in containment]
