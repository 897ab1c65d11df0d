"""COCO instance segmentation.

    annotations/instances_<split>.json
    images/<split>/sub/a.jpg           file_name is the path below the folder of the split

Ids begin at 1, since the evaluator takes annotation 0 for no match; ``iscrowd`` is always 0, since
crowds are left out of evaluation. ``bbox`` and ``area`` are the mask's. Masks are compressed RLE,
which says holes and parts exactly, or polygons for readers that know nothing else. An object
without a mask is the four corners of its box; one without extent is left out, because readers take
a box of no width for damage. Each annotation also has the ``caption`` that found it and, where
there is one, ``score`` (the detector's confidence) and ``mask_quality``.

Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from grounded_sam2.exporters.coco_json import AnnotationFile, to_json
from grounded_sam2.exporters.dataset_builder import build_dataset
from grounded_sam2.exporters.file_names import ImageFileRules
from grounded_sam2.exporters.images import DatasetImage
from grounded_sam2.exporters.mask_conversion import MaskStats, convert_masks, mask_stats
from grounded_sam2.exporters.objects import clipped_box
from grounded_sam2.exporters.options import ExportOptions, ExportSummary
from grounded_sam2.geometry.polygons import masks_to_polygons, polygons_to_coco
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.results import Label
from grounded_sam2.store import LabelStore

__all__ = ["annotation_of", "export_coco"]

_RULES = ImageFileRules(unique_stems=True)  # Datumaro, and so CVAT, knows images by them


def export_coco(store: LabelStore, folder: str | Path, *, options: ExportOptions) -> ExportSummary:
    """Write a COCO dataset. See `grounded_sam2.exporters.Exporter`.

    There is a file of annotations for each split, also for one that came out empty.
    """
    with build_dataset(
        "coco",
        store,
        folder,
        options,
        entries=("images", "annotations"),
        depends_on=("segmentation", "min_polygon_iou"),
    ) as data:
        (data.new / "annotations").mkdir()
        ids = {name: i for i, name in enumerate(data.classes, start=1)}
        with ExitStack() as stack:
            files = {
                split: stack.enter_context(
                    _CocoFile(data.new / "annotations" / f"instances_{split}.json", "images", ids)
                )
                for split in options.split
            }
            shapes_of = partial(
                _segmented, kind=options.segmentation, min_iou=options.min_polygon_iou
            )
            images = data.images(rules=_RULES)
            workers = options.workers if options.segmentation == "polygons" else 1
            for image, shapes in convert_masks(images, shapes_of, workers=workers):
                file = files[image.split]
                file.add_image(image)
                for label, shape in zip(image.labels.objects, shapes, strict=True):
                    annotation = annotation_of(label, image.labels.size_hw, shape)
                    if annotation is None:
                        data.counter.note("objects without extent, left out")
                        continue
                    file.add_annotation(annotation, label.class_name)
                    data.counter.add(label)
        return data.summary()


def annotation_of(
    label: Label, size_hw: tuple[int, int], shape: Segmented | None
) -> dict[str, Any] | None:
    """A COCO annotation of one object, without its ids; ``None`` if it has no extent.

    Args:
        label: the object.
        size_hw: height and width of its image.
        shape: of its mask; ``None`` if it has none.
    """
    box = clipped_box(label, size_hw, None if shape is None else shape.measure)
    if box is None:
        return None
    x_min, y_min, x_max, y_max = box
    width, height = round(x_max - x_min, 2), round(y_max - y_min, 2)
    if shape is None:
        area: float = round(width * height, 2)
        segmentation: Any = [[x_min, y_min, x_max, y_min, x_max, y_max, x_min, y_max]]
    else:
        area, segmentation = shape.measure.area, shape.segmentation
    annotation = {
        "bbox": [x_min, y_min, width, height],
        "area": area,
        "segmentation": segmentation,
        "iscrowd": 0,
        "caption": label.caption,
    }
    numbers = {"score": label.confidence, "mask_quality": label.mask_quality}
    # Left out where there is none: Datumaro refuses a score that is null.
    return annotation | {name: value for name, value in numbers.items() if value is not None}


class Segmented(NamedTuple):
    """A mask as an annotation has it."""

    measure: MaskStats
    segmentation: Any


def _segmented(masks: Sequence[Rle], *, kind: str, min_iou: float) -> list[Segmented]:
    """Masks as ``rle`` or ``polygons``, and their mask_stats."""
    if kind == "rle":
        segmentations: list[Any] = [mask.to_coco() for mask in masks]
    else:
        segmentations = [
            polygons_to_coco(parts) for parts in masks_to_polygons(masks, min_iou=min_iou)
        ]
    return [Segmented(*each) for each in zip(mask_stats(masks), segmentations, strict=True)]


class _CocoFile(AnnotationFile):
    """The annotations of one split."""

    def add_image(self, image: DatasetImage) -> None:
        """The annotations that follow are of this image."""
        height, width = image.labels.size_hw
        entry = {
            "id": self._begin_entry(),
            "file_name": str(image.name),
            "height": height,
            "width": width,
        }
        self._file.write(to_json(entry))

    def add_annotation(self, annotation: Mapping[str, Any], class_name: str) -> None:
        """One object of the image added last."""
        self._waiting.write(to_json({**self._begin_annotation(class_name), **annotation}))
