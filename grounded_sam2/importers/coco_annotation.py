"""Parser of one object annotation with the fields of COCO, which Hugging Face datasets use too.

``bbox`` is xywh in pixels. ``segmentation`` is a list of polygons that are joined, or run lengths
in column-major order (a list, or compressed as text or bytes), or absent. The additional fields of
our own exports, ``caption``, ``score`` or ``confidence``, ``mask_quality`` and ``track_id``, are
read too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from grounded_sam2.errors import GeometryError, printable
from grounded_sam2.geometry.polygons import Ring
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.importers.dataset import Box, DatasetProblem, ObjectAnnotation, Outline

__all__ = ["CROWD_LEFT_OUT", "parse_annotation"]

CROWD_LEFT_OUT = "marks a crowd; left out (crowds=True, --crowds imports it as an object)"
"""Reason of the `DatasetProblem` of a crowd region."""

_MIN_POINTS = 3


def parse_annotation(
    annotation: Mapping[str, Any], class_name: str, where: str
) -> tuple[ObjectAnnotation | None, list[DatasetProblem]]:
    """Parse one object annotation.

    Args:
        annotation: its fields; unknown fields are ignored.
        class_name: its class.
        where: its identification, for messages.

    Returns:
        The object, ``None`` if neither its box nor its outline can be read; and the problems.
    """
    errors = []
    box: Box | None = None
    outline: Outline | None = None
    try:
        outline = _parse_outline(annotation.get("segmentation"))
    except (GeometryError, OverflowError, TypeError, ValueError) as error:
        errors.append(("segmentation", str(error)))
    try:
        box = _parse_box(annotation.get("bbox"))
    except (OverflowError, TypeError, ValueError) as error:
        if outline is None:
            errors.append(("bbox", str(error)))
    if box is None and outline is None:
        detail = "; ".join(f"{name}: {why}" for name, why in errors)
        reason = "without a readable bbox or segmentation; left out"
        return None, [DatasetProblem(reason, where, detail)]
    parsed = ObjectAnnotation(
        where=where,
        class_name=class_name,
        box_xyxy=box,
        outline=outline,
        caption=_text_or_none(annotation.get("caption")),
        confidence=_score_or_none(_first_present(annotation, "score", "confidence")),
        mask_quality=_score_or_none(annotation.get("mask_quality")),
        track_id=_integer_or_none(annotation.get("track_id")),
    )
    reason = "segmentation cannot be read; kept as a box"
    return parsed, [DatasetProblem(reason, where, why) for _, why in errors]


def _parse_outline(value: Any) -> Outline | None:
    if isinstance(value, Mapping):
        if all(part is None for part in value.values()):  # null, as Parquet stores a struct
            return None
        return Rle.from_coco(value)
    if value is None or len(value) == 0:
        return None
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise ValueError(f"{str(value)[:40]!r} is neither polygons nor run lengths")
    polygons = value if isinstance(value[0], Sequence) else [value]
    rings = tuple(ring for polygon in polygons if len(ring := _parse_ring(polygon)) >= _MIN_POINTS)
    if not rings:
        raise ValueError(f"no polygon has {_MIN_POINTS} points")
    return rings


def _parse_ring(polygon: Any) -> Ring:
    """Points of a polygon given as alternating x and y, or as pairs."""
    numbers = np.asarray(polygon, np.float64)
    if numbers.size % 2 or not np.isfinite(numbers).all():
        raise ValueError("a polygon is not pairs of finite numbers")
    return numbers.reshape(-1, 2)


def _parse_box(value: Any) -> Box | None:
    if value is None or len(value) == 0:
        return None
    numbers = np.asarray(value, np.float64)
    if numbers.shape != (4,) or not np.isfinite(numbers).all():
        raise ValueError(f"{str(value)[:80]} is not x, y, width and height")
    left, top, width, height = numbers.tolist()
    if width <= 0 or height <= 0:
        raise ValueError(f"{str(value)[:80]} has no extent")
    return left, top, left + width, top + height


def _first_present(annotation: Mapping[str, Any], *names: str) -> Any:
    return next((annotation[name] for name in names if annotation.get(name) is not None), None)


def _text_or_none(value: Any) -> str | None:
    return printable(value) if isinstance(value, str) and value else None


def _score_or_none(value: Any) -> float | None:
    """A score from 0 to 1; ``None`` for any other value, whose meaning is unknown."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return None
    return float(value)


def _integer_or_none(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
