"""Pictures and objects as flat records, for formats that scripts read.

A record holds what the store says, in the words of the store. ``image`` is the path below the
dataset's folder. Boxes are xyxy in pixels, half-open, around the mask where there is one; ``area``
counts the mask's pixels. Masks are COCO's compressed RLE. What is not known is ``None``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from grounded_sam2.exporters.dataset import NewDataset
from grounded_sam2.exporters.files import PlacedPicture
from grounded_sam2.exporters.names import NameRules
from grounded_sam2.results import Label

__all__ = ["object_record", "picture_records"]


def picture_records(data: NewDataset) -> Iterator[tuple[PlacedPicture, dict[str, Any]]]:
    """The pictures of a dataset, put into ``images/``, their objects counted, and their records."""
    for picture in data.pictures(rules=NameRules()):
        height, width = picture.labels.size_hw
        for label in picture.labels.objects:
            data.tally.add(label)
        record = {
            "image": f"images/{picture.split}/{picture.name}",
            "split": picture.split,
            "width": width,
            "height": height,
        }
        yield picture, record


def object_record(label: Label) -> dict[str, Any]:
    """The record of an object, without its picture."""
    return {
        "class": label.class_name,
        "caption": label.caption,
        "box": list(label.box_xyxy if label.mask is None else label.mask.bbox_xyxy),
        "area": None if label.mask is None else label.mask.area,
        "confidence": label.confidence,
        "mask_quality": label.mask_quality,
        "track_id": label.track_id,
        "origin": label.origin,
        "segmentation": None if label.mask is None else label.mask.to_coco(),
    }
