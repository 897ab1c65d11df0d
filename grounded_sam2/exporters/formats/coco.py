"""COCO instance segmentation.

    annotations/instances_<split>.json
    images/<split>/sub/a.jpg           file_name is the path relative to the folder of the split

Ids begin at 1, because the evaluator takes annotation 0 for no match; ``iscrowd`` is always 0,
because evaluation ignores crowds. ``bbox`` and ``area`` are those of the mask. Masks are compressed
RLE, which represents holes and parts exactly, or polygons for readers that support nothing else. An
object without a mask is the four corners of its box. An object without extent is left out, because
readers take a box of no width for damage. Each annotation also has the ``caption`` that detected it
and its ``uid``, where known ``score`` (the detector's confidence) and ``mask_quality``, and where a
person decided about it ``origin`` and ``review``.

Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from grounded_sam2.exporters.coco_json import CocoJsonWriter, to_json
from grounded_sam2.exporters.dataset_builder import build_dataset
from grounded_sam2.exporters.file_names import ImageFileRules
from grounded_sam2.exporters.mask_conversion import MaskStats, convert_masks, mask_stats
from grounded_sam2.exporters.objects import clipped_box
from grounded_sam2.exporters.options import ExportOptions, ExportSummary
from grounded_sam2.geometry.polygons import masks_to_polygons, polygons_to_coco
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.results import Label
from grounded_sam2.store import LabelStore

__all__ = ["export_coco"]

_RULES = ImageFileRules(unique_stems=True)  # Datumaro, and so CVAT, identifies images by stem


def export_coco(store: LabelStore, folder: str | Path, *, options: ExportOptions) -> ExportSummary:
    """Write a COCO dataset. See `grounded_sam2.exporters.Exporter`.

    Each split has a file of annotations, even an empty one.
    """
    with build_dataset(
        "coco",
        store,
        folder,
        options,
        entries=("images", "annotations"),
        depends_on=("segmentation", "min_polygon_iou"),
    ) as data:
        annotations = data.staging / "annotations"
        annotations.mkdir()
        ids = {name: i for i, name in enumerate(data.classes, start=1)}
        with ExitStack() as stack:
            files = {
                split: stack.enter_context(
                    CocoJsonWriter(annotations / f"instances_{split}.json", "images", ids)
                )
                for split in options.split
            }
            convert = partial(
                _coco_masks, segmentation=options.segmentation, min_iou=options.min_polygon_iou
            )
            images = data.write_images(rules=_RULES)
            workers = options.workers if options.segmentation == "polygons" else 1
            for image, masks in convert_masks(images, convert, workers=workers):
                file = files[image.split]
                height, width = image.labels.size_hw
                entry = {
                    "id": file.begin_entry(),
                    "file_name": str(image.name),
                    "height": height,
                    "width": width,
                }
                file.write_entry(to_json(entry))
                for label, mask in zip(image.labels.objects, masks, strict=True):
                    annotation = _coco_annotation(label, image.labels.size_hw, mask)
                    if annotation is None:
                        data.counter.note("objects without extent, left out")
                        continue
                    file.write_annotation(
                        to_json({**file.begin_annotation(label.class_name), **annotation})
                    )
                    data.counter.add(label)
        return data.summary()


class _CocoMask(NamedTuple):
    """A mask as an annotation holds it."""

    stats: MaskStats
    segmentation: Any
    """Compressed RLE, or a list of polygons."""


def _coco_annotation(
    label: Label, size_hw: tuple[int, int], mask: _CocoMask | None
) -> dict[str, Any] | None:
    """Return a COCO annotation of one object, without ids; ``None`` if it has no extent.

    Args:
        label: the object.
        size_hw: height and width of its image.
        mask: its mask; ``None`` if it has none.
    """
    box = clipped_box(label, size_hw, None if mask is None else mask.stats)
    if box is None:
        return None
    x_min, y_min, x_max, y_max = box
    width, height = round(x_max - x_min, 2), round(y_max - y_min, 2)
    if mask is None:
        area: float = round(width * height, 2)
        segmentation: Any = [[x_min, y_min, x_max, y_min, x_max, y_max, x_min, y_max]]
    else:
        area, segmentation = mask.stats.area, mask.segmentation
    annotation = {
        "bbox": [x_min, y_min, width, height],
        "area": area,
        "segmentation": segmentation,
        "iscrowd": 0,
        "caption": label.caption,
    }
    scores = {"score": label.confidence, "mask_quality": label.mask_quality}
    # Unknown scores are absent: Datumaro refuses a score that is null.
    annotation |= {name: value for name, value in scores.items() if value is not None}
    annotation["uid"] = label.uid
    if label.review != "unreviewed":
        annotation |= {"origin": label.origin, "review": label.review}
    return annotation


def _coco_masks(masks: Sequence[Rle], *, segmentation: str, min_iou: float) -> list[_CocoMask]:
    """Convert masks to ``rle`` or ``polygons``."""
    if segmentation == "rle":
        converted: list[Any] = [mask.to_coco() for mask in masks]
    else:
        converted = [polygons_to_coco(parts) for parts in masks_to_polygons(masks, min_iou=min_iou)]
    return [_CocoMask(*each) for each in zip(mask_stats(masks), converted, strict=True)]
