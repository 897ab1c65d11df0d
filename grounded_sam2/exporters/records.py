"""Images and objects as flat records, for formats that scripts read.

A record holds the values of the store under the names of the store. ``image`` is the path relative
to the dataset's folder. Boxes are xyxy in pixels, half-open, of the mask where there is one;
``area`` is the number of the mask's pixels. Masks are COCO's compressed RLE. Unknown values are
``None``. Records of a run with videos also hold the frame (``video``, ``frame``, ``time`` in
seconds), and how a label came to its frame (``track_origin``). ``uid`` is the identity of an
object, in all frames of a video that of its track. Where people have reviewed any object of a run,
``review`` is ``accepted`` for those that they accepted, corrected or made, and ``unreviewed`` for
the others.
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
    """Return video, frame index and time of an image; all ``None`` for a still image."""
    return {"video": image.video, "frame": image.frame_index, "time": image.time}


def image_records(
    data: DatasetBuilder,
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Write the images of a dataset to ``images/``, and count their objects.

    Yields:
        The record of each image, and the records of its objects.
    """
    images = data.write_images(rules=ImageFileRules())
    for image, stats_of_masks in convert_masks(images, mask_stats):
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
        for label, stats in zip(image.labels.objects, stats_of_masks, strict=True):
            data.counter.add(label)
            fields = _object_record(label, stats)
            if data.has_reviews:
                fields["review"] = label.review
            if data.has_frames:
                fields["track_origin"] = label.track_origin
            objects.append(fields)
        yield record, objects


def _object_record(label: Label, stats: MaskStats | None) -> dict[str, Any]:
    """Return the record of an object, without the fields of its image."""
    return {
        "class": label.class_name,
        "caption": label.caption,
        "box": list(label.box_xyxy if stats is None else stats.box_xyxy),
        "area": None if stats is None else stats.area,
        "confidence": label.confidence,
        "mask_quality": label.mask_quality,
        "track_id": label.track_id,
        "origin": label.origin,
        "uid": label.uid,
        "segmentation": None if label.mask is None else label.mask.to_coco(),
    }
