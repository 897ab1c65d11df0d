"""Pictures and objects as flat records, for formats that scripts read.

A record holds what the store says, in the words of the store. ``image`` is the path below the
dataset's folder. Boxes are xyxy in pixels, half-open, around the mask where there is one; ``area``
counts the mask's pixels. Masks are COCO's compressed RLE. What is not known is ``None``. Records of
a run of videos also say which frame of which video an image is (``video``, ``frame``, ``time`` in
seconds), and how a label came to its frame (``track_origin``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from grounded_sam2.exporters.dataset_builder import DatasetBuilder
from grounded_sam2.exporters.file_names import ImageFileRules
from grounded_sam2.exporters.images import DatasetImage
from grounded_sam2.exporters.mask_conversion import MaskStats, convert_masks, mask_stats
from grounded_sam2.results import Label

__all__ = ["frame_fields", "image_records"]


def frame_fields(image: DatasetImage) -> dict[str, Any]:
    """Which frame of which video an image is; all ``None`` for an image of its own."""
    return {"video": image.video, "frame": image.frame_index, "time": image.time}


def image_records(
    data: DatasetBuilder,
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The images of a dataset are put into ``images/``, and their objects counted.

    Yields:
        The record of each image, and those of its objects.
    """
    for image, shapes in convert_masks(data.images(rules=ImageFileRules()), mask_stats):
        height, width = image.labels.size_hw
        record = {
            "image": f"images/{image.split}/{image.name}",
            "split": image.split,
            "width": width,
            "height": height,
        }
        if data.has_frames:
            record |= frame_fields(image)
        objects = []
        for label, measure in zip(image.labels.objects, shapes, strict=True):
            data.counter.add(label)
            of_object = _object_record(label, measure)
            if data.has_frames:
                of_object["track_origin"] = label.track_origin
            objects.append(of_object)
        yield record, objects


def _object_record(label: Label, measure: MaskStats | None) -> dict[str, Any]:
    """The record of an object, without its image."""
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
