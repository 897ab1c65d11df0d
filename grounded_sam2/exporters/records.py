"""Pictures and objects as flat records, for formats that scripts read.

A record holds what the store says, in the words of the store. ``image`` is the path below the
dataset's folder. Boxes are xyxy in pixels, half-open, around the mask where there is one; ``area``
counts the mask's pixels. Masks are COCO's compressed RLE. What is not known is ``None``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from grounded_sam2.exporters.dataset import NewDataset
from grounded_sam2.exporters.names import NameRules
from grounded_sam2.exporters.shapes import Measure, measures, with_shapes
from grounded_sam2.results import Label

__all__ = ["picture_records"]


def picture_records(
    data: NewDataset,
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The pictures of a dataset are put into ``images/``, and their objects counted.

    Yields:
        The record of each picture, and those of its objects.
    """
    for picture, shapes in with_shapes(data.pictures(rules=NameRules()), measures):
        height, width = picture.labels.size_hw
        record = {
            "image": f"images/{picture.split}/{picture.name}",
            "split": picture.split,
            "width": width,
            "height": height,
        }
        objects = []
        for label, measure in zip(picture.labels.objects, shapes, strict=True):
            data.tally.add(label)
            objects.append(_object_record(label, measure))
        yield record, objects


def _object_record(label: Label, measure: Measure | None) -> dict[str, Any]:
    """The record of an object, without its picture."""
    return {
        "class": label.class_name,
        "caption": label.caption,
        "box": list(label.box_xyxy if measure is None else measure.box_xyxy),
        "area": None if measure is None else measure.area,
        "confidence": label.confidence,
        "mask_quality": label.mask_quality,
        "track_id": label.track_id,
        "origin": label.origin,
        "segmentation": None if label.mask is None else label.mask.to_coco(),
    }
