"""CSV, for scripts and spreadsheets: a table of images and a table of objects.

    images/<split>/sub/a.jpg
    images.csv                     one row per image, background included
    objects.csv                    one row per object; ``image`` is its image

The columns are the keys of `grounded_sam2.exporters.records`, with the box in four columns.
pycocotools decodes a mask from ``rle``, ``height`` and ``width``. UTF-8; an unknown value is an
empty cell.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grounded_sam2.exporters.dataset_builder import build_dataset
from grounded_sam2.exporters.options import ExportOptions, ExportSummary
from grounded_sam2.exporters.records import image_records
from grounded_sam2.store import LabelStore

__all__ = ["export_csv"]

_BOX = ("x_min", "y_min", "x_max", "y_max")
_IMAGE = ("image", "split", "width", "height")
_FRAME = ("video", "frame", "time")
_OBJECT = (
    *("class", "caption", *_BOX, "area", "confidence", "mask_quality", "track_id", "origin"),
    *("uid", "rle"),
)
_REVIEW = ("review",)
_TRACK = ("track_origin",)


def export_csv(store: LabelStore, folder: str | Path, *, options: ExportOptions) -> ExportSummary:
    """Write CSV tables. See `grounded_sam2.exporters.Exporter`."""
    entries = ("images", "images.csv", "objects.csv")
    with build_dataset("csv", store, folder, options, entries=entries) as data:
        with (
            (data.staging / "images.csv").open("w", encoding="utf-8", newline="") as images_file,
            (data.staging / "objects.csv").open("w", encoding="utf-8", newline="") as objects_file,
        ):
            image_columns = (*_IMAGE, *(_FRAME if data.has_frames else ()))
            object_columns = (
                *_OBJECT,
                *(_REVIEW if data.has_reviews else ()),
                *(_TRACK if data.has_frames else ()),
            )
            images = csv.DictWriter(images_file, (*image_columns, "objects"), lineterminator="\n")
            objects = csv.DictWriter(
                objects_file, (*image_columns, *object_columns), lineterminator="\n"
            )
            images.writeheader()
            objects.writeheader()
            for image, records in image_records(data):
                images.writerow({**image, "objects": len(records)})
                objects.writerows({**image, **_object_row(record)} for record in records)
        return data.summary()


def _object_row(record: Mapping[str, Any]) -> dict[str, Any]:
    row = dict(record)
    segmentation = row.pop("segmentation")
    box = dict(zip(_BOX, row.pop("box"), strict=True))
    return {**row, **box, "rle": segmentation and segmentation["counts"]}
