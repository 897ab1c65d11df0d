"""A Hugging Face dataset: Parquet shards that hold the images, and a dataset card.

    README.md                                  the card; says which shards are which split
    data/<split>-00000-of-00002.parquet

``datasets.load_dataset(folder)`` reads it without a script, since the features stand in the schema
of each shard. A row is an image: ``image`` (its file's bytes), ``image_id``, ``file_name``,
``width``, ``height`` and ``objects``, a list per field: ``id``, ``category`` (a class label),
``bbox`` (xywh), ``area``, ``segmentation`` (COCO's compressed RLE, null without a mask),
``confidence``, ``mask_quality`` and ``caption``. A run of videos has also ``video``, ``frame`` and
``time`` (seconds), and ``track_id`` and ``track_origin`` of objects. Ids begin at 1 and run through
all splits. The split ``val`` is called ``validation``, as usual there; one that came out empty is
not there.

Rows go to disk in groups of a few megabytes, so that memory stays flat.

Format: https://huggingface.co/docs/datasets/repository_structure
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters.dataset_builder import build_dataset
from grounded_sam2.exporters.file_names import ImageFileRules
from grounded_sam2.exporters.formats.dataset_card import dataset_card
from grounded_sam2.exporters.formats.parquet import ShardWriter, pyarrow
from grounded_sam2.exporters.images import DatasetImage
from grounded_sam2.exporters.mask_conversion import Box, MaskStats, map_masks, mask_stats
from grounded_sam2.exporters.objects import clipped_box
from grounded_sam2.exporters.options import ExportOptions, ExportSummary
from grounded_sam2.exporters.records import frame_fields
from grounded_sam2.results import Label
from grounded_sam2.store import LabelStore

__all__ = ["export_hugging_face"]

_FIELDS = (
    *("id", "category", "bbox", "area", "segmentation"),
    *("confidence", "mask_quality", "caption"),
)
_TRACK_FIELDS = ("track_id", "track_origin")


def export_hugging_face(
    store: LabelStore, folder: str | Path, *, options: ExportOptions
) -> ExportSummary:
    """Write a Hugging Face dataset. See `grounded_sam2.exporters.Exporter`.

    Raises:
        ExportError: also if two splits would be called the same.
    """
    split_names = _split_names(options.split)
    with build_dataset("hf", store, folder, options, entries=("data", "README.md")) as data:
        schema = _schema(data.classes, of_frames=data.has_frames)
        (data.new / "data").mkdir()
        category = {name: i for i, name in enumerate(data.classes)}
        object_id = 0
        with ExitStack() as stack:
            shards = {
                split: stack.enter_context(ShardWriter(data.new / "data", name, schema))
                for split, name in split_names.items()
            }
            for image_id, (image, content) in enumerate(
                data.image_bytes(rules=ImageFileRules()), start=1
            ):
                objects = []
                labels = image.labels.objects
                for label, measure in zip(labels, map_masks(labels, mask_stats), strict=True):
                    box = clipped_box(label, image.labels.size_hw, measure)
                    if box is None:
                        data.counter.note("objects without extent, left out")
                        continue
                    object_id += 1
                    objects.append(
                        _object(label, box, measure, object_id, category[label.class_name])
                    )
                    data.counter.add(label)
                row = _row(image, content, image_id, objects, of_frames=data.has_frames)
                shards[image.split].write(row, size=len(content))
        summary = data.summary()
        (data.new / "README.md").write_text(
            dataset_card(summary, split_names, of_frames=data.has_frames),
            encoding="utf-8",
            newline="\n",
        )
        return summary


def _split_names(splits: Mapping[str, float]) -> dict[str, str]:
    """What each split is called in the dataset: letters, digits and underscores only."""
    names = {split: re.sub(r"\W", "_", split) for split in splits}
    if "val" in names and "validation" not in names:
        names["val"] = "validation"
    for split, name in names.items():
        clash = next(other for other, same in names.items() if same == name)
        if clash != split:
            raise ExportError(
                f"splits '{clash}' and '{split}': both would be called '{name}' in a Hugging Face "
                "dataset; rename one"
            )
    return names


def _schema(classes: Sequence[str], *, of_frames: bool) -> Any:
    """The Arrow schema of a shard, with the features that ``datasets`` reads from it.

    Args:
        classes: names in order.
        of_frames: with columns for frames of videos and their tracks.
    """
    pa = pyarrow()
    box = pa.list_(pa.float64(), 4)
    # Of no fixed length: before version 26, pyarrow cannot read such a list below a null.
    segmentation = pa.struct({"size": pa.list_(pa.int32()), "counts": pa.string()})
    fields = {
        "id": (pa.int64(), _value("int64")),
        "category": (pa.int64(), {"names": list(classes), "_type": "ClassLabel"}),
        "bbox": (box, _list(_value("float64"), 4)),
        "area": (pa.float64(), _value("float64")),
        "segmentation": (
            segmentation,
            {"size": _list(_value("int32")), "counts": _value("string")},
        ),
        "confidence": (pa.float64(), _value("float64")),
        "mask_quality": (pa.float64(), _value("float64")),
        "caption": (pa.string(), _value("string")),
    }
    frame = {}
    if of_frames:
        fields |= {
            "track_id": (pa.int64(), _value("int64")),
            "track_origin": (pa.string(), _value("string")),
        }
        frame = {"video": "string", "frame": "int64", "time": "float64"}
    features = {
        "image": {"_type": "Image"},
        "image_id": _value("int64"),
        "file_name": _value("string"),
        "width": _value("int32"),
        "height": _value("int32"),
        **{name: _value(kind) for name, kind in frame.items()},
        # A list of one feature is how every version of datasets writes a list of structs.
        "objects": {
            name: _list(feature) if "_type" in feature else [feature]
            for name, (_, feature) in fields.items()
        },
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema(
        {
            "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
            "image_id": pa.int64(),
            "file_name": pa.string(),
            "width": pa.int32(),
            "height": pa.int32(),
            **{name: getattr(pa, kind)() for name, kind in frame.items()},
            "objects": pa.struct({name: pa.list_(kind) for name, (kind, _) in fields.items()}),
        },
        metadata=metadata,
    )


def _value(dtype: str) -> dict[str, Any]:
    return {"dtype": dtype, "_type": "Value"}


def _list(feature: Mapping[str, Any], length: int = -1) -> dict[str, Any]:
    return {"feature": feature, "length": length, "_type": "Sequence"}


def _row(
    image: DatasetImage,
    content: bytes,
    image_id: int,
    objects: Sequence[Mapping[str, Any]],
    *,
    of_frames: bool,
) -> dict[str, Any]:
    height, width = image.labels.size_hw
    fields = (*_FIELDS, *(_TRACK_FIELDS if of_frames else ()))
    return {
        "image": {"bytes": content, "path": image.name.name},
        "image_id": image_id,
        "file_name": str(image.name),
        "width": width,
        "height": height,
        **(frame_fields(image) if of_frames else {}),
        "objects": {name: [each[name] for each in objects] for name in fields},
    }


def _object(
    label: Label, box: Box, measure: MaskStats | None, object_id: int, category: int
) -> dict[str, Any]:
    x_min, y_min, x_max, y_max = box
    width, height = round(x_max - x_min, 2), round(y_max - y_min, 2)
    return {
        "id": object_id,
        "category": category,
        "bbox": [x_min, y_min, width, height],
        "area": round(width * height, 2) if measure is None else float(measure.area),
        "segmentation": None if label.mask is None else label.mask.to_coco(),
        "confidence": label.confidence,
        "mask_quality": label.mask_quality,
        "caption": label.caption,
        "track_id": label.track_id,
        "track_origin": label.track_origin,
    }
