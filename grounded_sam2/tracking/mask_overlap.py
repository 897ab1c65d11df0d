"""Whether two masks say the same of a thing, or one is but a piece of the other."""

from __future__ import annotations

from collections.abc import Sequence

from grounded_sam2.config import TrackingConfig
from grounded_sam2.geometry.overlap import mask_containment, mask_iou
from grounded_sam2.geometry.rle import Rle

__all__ = ["agree", "are_pieces", "iou", "lies_among"]

_PIECE = 0.7
"""Share of a mask in another one, of which it is a piece then."""


def iou(a: Rle, b: Rle) -> float:
    """Intersection over union of two masks."""
    return float(mask_iou([a], [b])[0, 0])


def agree(a: Rle, b: Rle, options: TrackingConfig) -> bool:
    """Whether there is nothing to correct between two masks of one thing."""
    return iou(a, b) >= max(options.correct_iou, options.match_iou)


def lies_among(mask: Rle, others: Sequence[Rle]) -> bool:
    """Whether most of a mask lies in some others, which share no pixel."""
    return float(mask_containment([mask], others).sum()) >= _PIECE


def are_pieces(masks: Sequence[Rle], wholes: Sequence[Rle]) -> list[bool]:
    """Of each mask, whether most of it lies in one of the others."""
    inside = mask_containment(masks, wholes)
    return [bool((row >= _PIECE).any()) for row in inside]
