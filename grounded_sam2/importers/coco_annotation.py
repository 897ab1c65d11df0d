"""One object as COCO writes it, and as Hugging Face datasets do after it.

``bbox`` is xywh in pixels. ``segmentation`` is a list of polygons, whose union is meant; run
lengths in column-major order, as a list or compressed, as text or bytes; or absent. What is there
beside them in our own exports, ``caption``, ``score`` or ``confidence``, ``mask_quality`` and
``track_id``, is taken too.
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

CROWD_LEFT_OUT = "marks a crowd; left out (crowds=True, --crowds takes it for an object)"

_FEWEST_POINTS = 3


def parse_annotation(
    annotation: Mapping[str, Any], class_name: str, where: str
) -> tuple[ObjectAnnotation | None, list[DatasetProblem]]:
    """Read one object.

    Args:
        annotation: its fields; other fields are passed over.
        class_name: its class.
        where: which one it is, for messages.

    Returns:
        The object, or ``None`` if it has neither a readable box nor a readable outline; and what
        could not be read.
    """
    problems = []
    box: Box | None = None
    outline: Outline | None = None
    try:
        outline = _outline(annotation.get("segmentation"))
    except (GeometryError, OverflowError, TypeError, ValueError) as error:
        problems.append(("segmentation", str(error)))
    try:
        box = _box(annotation.get("bbox"))
    except (OverflowError, TypeError, ValueError) as error:
        if outline is None:
            problems.append(("bbox", str(error)))
    if box is None and outline is None:
        detail = "; ".join(f"{name}: {why}" for name, why in problems)
        return None, [
            DatasetProblem("without a readable bbox or segmentation; left out", where, detail)
        ]
    given = ObjectAnnotation(
        where=where,
        class_name=class_name,
        box_xyxy=box,
        outline=outline,
        caption=_text(annotation.get("caption")),
        confidence=_share(_first(annotation, "score", "confidence")),
        mask_quality=_share(annotation.get("mask_quality")),
        track_id=_whole(annotation.get("track_id")),
    )
    reason = "segmentation cannot be read; kept as a box"
    return given, [DatasetProblem(reason, where, why) for _, why in problems]


def _outline(value: Any) -> Outline | None:
    if isinstance(value, Mapping):
        if all(part is None for part in value.values()):  # how Parquet writes none
            return None
        return Rle.from_coco(value)
    if value is None or len(value) == 0:
        return None
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise ValueError(f"{str(value)[:40]!r} is neither polygons nor run lengths")
    polygons = value if isinstance(value[0], Sequence) else [value]
    rings = tuple(ring for polygon in polygons if len(ring := _ring(polygon)) >= _FEWEST_POINTS)
    if not rings:
        raise ValueError(f"no polygon has {_FEWEST_POINTS} points")
    return rings


def _ring(polygon: Any) -> Ring:
    """x and y by turns, or pairs of them."""
    numbers = np.asarray(polygon, np.float64)
    if numbers.size % 2 or not np.isfinite(numbers).all():
        raise ValueError("a polygon is not pairs of finite numbers")
    return numbers.reshape(-1, 2)


def _box(value: Any) -> Box | None:
    if value is None or len(value) == 0:
        return None
    numbers = np.asarray(value, np.float64)
    if numbers.shape != (4,) or not np.isfinite(numbers).all():
        raise ValueError(f"{str(value)[:80]} is not x, y, width and height")
    left, top, width, height = numbers.tolist()
    if width <= 0 or height <= 0:
        raise ValueError(f"{str(value)[:80]} has no extent")
    return left, top, left + width, top + height


def _first(annotation: Mapping[str, Any], *names: str) -> Any:
    return next((annotation[name] for name in names if annotation.get(name) is not None), None)


def _text(value: Any) -> str | None:
    return printable(value) if isinstance(value, str) and value else None


def _share(value: Any) -> float | None:
    """A score as this package understands it; anything else is something else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return None
    return float(value)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
