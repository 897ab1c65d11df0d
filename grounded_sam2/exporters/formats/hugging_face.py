"""A Hugging Face dataset: Parquet shards that hold the images, and a dataset card.

    README.md                                  the card; maps shards to splits
    data/<split>-00000-of-00002.parquet

``datasets.load_dataset(folder)`` loads it without a script, because the schema of each shard holds
the features. A row is an image: ``image`` (the bytes of its file), ``image_id``, ``file_name``,
``width``, ``height`` and ``objects``, a list per field: ``id``, ``category`` (a class label),
``bbox`` (xywh), ``area``, ``segmentation`` (COCO's compressed RLE, null without a mask),
``confidence``, ``mask_quality``, ``caption`` and ``uid``; where people have reviewed any object,
also ``origin`` and ``review``. A run with videos also has ``video``, ``frame``
and ``time`` (seconds), and ``track_id`` and ``track_origin`` of objects. Ids begin at 1 and count
through all splits. The split ``val`` is called ``validation``, as usual there; empty splits are
left out.

Rows are written in groups of a few megabytes, so that memory stays constant.

Format: https://huggingface.co/docs/datasets/repository_structure
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters.dataset_builder import build_dataset
from grounded_sam2.exporters.file_names import ImageFileRules
from grounded_sam2.exporters.images import DatasetImage
from grounded_sam2.exporters.mask_conversion import Box, MaskStats, map_masks, mask_stats
from grounded_sam2.exporters.objects import clipped_box
from grounded_sam2.exporters.options import ExportOptions, ExportSummary
from grounded_sam2.exporters.parquet_shards import ParquetShardWriter
from grounded_sam2.exporters.records import frame_fields
from grounded_sam2.results import Label
from grounded_sam2.store import LabelStore

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["export_hugging_face"]

_FIELDS = (
    *("id", "category", "bbox", "area", "segmentation"),
    *("confidence", "mask_quality", "caption", "uid"),
)
_REVIEW_FIELDS = ("origin", "review")
_TRACK_FIELDS = ("track_id", "track_origin")


def export_hugging_face(
    store: LabelStore, folder: str | Path, *, options: ExportOptions
) -> ExportSummary:
    """Write a Hugging Face dataset. See `grounded_sam2.exporters.Exporter`.

    Raises:
        ExportError: also if two splits get the same name.
    """
    split_names = _split_names(options.split)
    with build_dataset("hf", store, folder, options, entries=("data", "README.md")) as data:
        schema = _schema(data.classes, with_frames=data.has_frames, with_reviews=data.has_reviews)
        fields = (
            *_FIELDS,
            *(_REVIEW_FIELDS if data.has_reviews else ()),
            *(_TRACK_FIELDS if data.has_frames else ()),
        )
        shard_folder = data.staging / "data"
        shard_folder.mkdir()
        category = {name: i for i, name in enumerate(data.classes)}
        object_id = 0
        with ExitStack() as stack:
            shards = {
                split: stack.enter_context(ParquetShardWriter(shard_folder, name, schema))
                for split, name in split_names.items()
            }
            images = data.read_images(rules=ImageFileRules())
            for image_id, (image, content) in enumerate(images, start=1):
                objects = []
                labels = image.labels.objects
                for label, stats in zip(labels, map_masks(labels, mask_stats), strict=True):
                    box = clipped_box(label, image.labels.size_hw, stats)
                    if box is None:
                        data.counter.note("objects without extent, left out")
                        continue
                    object_id += 1
                    objects.append(
                        _object_fields(label, box, stats, object_id, category[label.class_name])
                    )
                    data.counter.add(label)
                row = _row(image, content, image_id, objects, fields, with_frames=data.has_frames)
                shards[image.split].write(row, size=len(content))
        summary = data.summary()
        (data.staging / "README.md").write_text(
            _dataset_card(
                summary,
                split_names,
                with_frames=data.has_frames,
                with_reviews=data.has_reviews,
            ),
            encoding="utf-8",
            newline="\n",
        )
        return summary


def _split_names(splits: Mapping[str, float]) -> dict[str, str]:
    """Return the name of each split in the dataset: letters, digits and underscores only."""
    names = {split: re.sub(r"\W", "_", split) for split in splits}
    if "val" in names and "validation" not in names:
        names["val"] = "validation"
    for split, name in names.items():
        first = next(other for other, same in names.items() if same == name)
        if first != split:
            raise ExportError(
                f"splits '{first}' and '{split}': both would be called '{name}' in a Hugging Face "
                "dataset; rename one"
            )
    return names


def _schema(classes: Sequence[str], *, with_frames: bool, with_reviews: bool) -> pa.Schema:
    """Return the Arrow schema of a shard, with the features that ``datasets`` reads from it.

    Args:
        classes: names in order.
        with_frames: with columns for video frames and their tracks.
        with_reviews: with columns for what people decided.
    """
    import pyarrow as pa  # slow to load, and other formats do not need it

    box = pa.list_(pa.float64(), 4)
    # Not of fixed length: before version 26, pyarrow cannot read such a list below a null.
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
        "uid": (pa.string(), _value("string")),
    }
    if with_reviews:
        fields |= {name: (pa.string(), _value("string")) for name in _REVIEW_FIELDS}
    frame = {}
    if with_frames:
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
        **{name: _value(dtype) for name, dtype in frame.items()},
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
            **{name: getattr(pa, dtype)() for name, dtype in frame.items()},
            "objects": pa.struct({name: pa.list_(dtype) for name, (dtype, _) in fields.items()}),
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
    fields: Sequence[str],
    *,
    with_frames: bool,
) -> dict[str, Any]:
    height, width = image.labels.size_hw
    return {
        "image": {"bytes": content, "path": image.name.name},
        "image_id": image_id,
        "file_name": str(image.name),
        "width": width,
        "height": height,
        **(frame_fields(image) if with_frames else {}),
        "objects": {name: [each[name] for each in objects] for name in fields},
    }


def _object_fields(
    label: Label, box: Box, stats: MaskStats | None, object_id: int, category: int
) -> dict[str, Any]:
    x_min, y_min, x_max, y_max = box
    width, height = round(x_max - x_min, 2), round(y_max - y_min, 2)
    return {
        "id": object_id,
        "category": category,
        "bbox": [x_min, y_min, width, height],
        "area": round(width * height, 2) if stats is None else float(stats.area),
        "segmentation": None if label.mask is None else label.mask.to_coco(),
        "confidence": label.confidence,
        "mask_quality": label.mask_quality,
        "caption": label.caption,
        "uid": label.uid,
        "origin": label.origin,
        "review": label.review,
        "track_id": label.track_id,
        "track_origin": label.track_origin,
    }


# The dataset card. Its text is part of the exported bytes.

_FIELD_TABLE = """\
| field | what it is |
|---|---|
| `image` | the picture |
| `image_id`, `file_name`, `width`, `height` | its number, name and size in pixels |
| `objects.category` | class |
| `objects.bbox` | left, top, width and height in pixels |
| `objects.area` | pixels of the mask; of the box where there is no mask |
| `objects.segmentation` | mask as COCO's compressed RLE, null where there is none |
| `objects.confidence` | the detector's, null where there is none |
| `objects.mask_quality` | IoU that the segmenter predicts for its mask |
| `objects.caption` | the words that found the object |
| `objects.uid` | identity of the object; in a video that of its track |
"""
_REVIEW_FIELD_TABLE = """\
| `objects.origin` | `human` if a person accepted, corrected or made it, else `model` |
| `objects.review` | `accepted` or `unreviewed` |
"""
_FRAME_FIELD_TABLE = """\
| `video`, `frame`, `time` | which frame of which video, and its seconds from the first |
| `objects.track_id` | the same for one thing in all frames of its video |
| `objects.track_origin` | `detected` in this frame, or carried to it `forwards` or `backwards` |
"""


def _dataset_card(
    summary: ExportSummary,
    split_names: Mapping[str, str],
    *,
    with_frames: bool,
    with_reviews: bool,
) -> str:
    """Return ``README.md`` with its YAML front matter.

    Args:
        summary: counts of the export.
        split_names: name of each split in the dataset.
        with_frames: whether there are columns for video frames.
        with_reviews: whether there are columns for what people decided.
    """
    present = {split_names[split]: count for split, count in summary.images.items() if count}
    front_matter = {
        "task_categories": ["object-detection", "image-segmentation"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": name, "path": f"data/{name}-*.parquet"} for name in present
                ],
            }
        ],
    }
    return "".join(
        [
            "---\n",
            yaml.safe_dump(front_matter, sort_keys=False),
            "---\n\n# Objects with boxes and masks\n\n",
            "Labeled with grounded-sam2: captions find objects, SAM 2 outlines them.\n\n",
            *_count_table("split", "pictures", present),
            *_count_table("class", "objects", summary.objects),
            _FIELD_TABLE,
            _REVIEW_FIELD_TABLE if with_reviews else "",
            _FRAME_FIELD_TABLE if with_frames else "",
        ]
    )


def _count_table(left: str, right: str, rows: Mapping[str, int]) -> Iterator[str]:
    yield f"| {left} | {right} |\n|---|---|\n"
    for name, count in rows.items():
        escaped = " ".join(name.replace("|", "\\|").split())
        yield f"| {escaped} | {count} |\n"
    yield "\n"
