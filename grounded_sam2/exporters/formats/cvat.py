"""CVAT for images 1.1: annotations to upload into a task, for people to correct.

    images/<split>/sub/a.jpg       make a task of each split from the files in here
    annotations/<split>.xml        then upload this as "CVAT 1.1"
    labels.json                    for the task's raw label editor, before the upload

CVAT finds images by their names, and drops labels and attributes that the task does not have.
Masks are ``mask`` elements: runs row by row within the bounding box, background first, so that
holes and parts stay. With polygons, the parts of an object form a group, and holes hang on bridges
of no width. An object without a mask is a ``box``. ``z_order`` puts the object of higher confidence
on top. Confidence, mask quality and caption are attributes, to sort and filter by.

Format: https://docs.cvat.ai/docs/other/xml_format/
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from typing import IO, TypeAlias

from grounded_sam2.exporters.dataset_builder import build_dataset
from grounded_sam2.exporters.file_names import ImageFileRules
from grounded_sam2.exporters.images import DatasetImage
from grounded_sam2.exporters.mask_conversion import convert_masks, mask_stats
from grounded_sam2.exporters.objects import clipped_box, front_to_back, row_major_counts
from grounded_sam2.exporters.options import ExportCounter, ExportOptions, ExportSummary
from grounded_sam2.exporters.xml_text import NOT_XML, xml_text
from grounded_sam2.geometry.polygons import masks_to_polygons, polygons_to_coco
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.results import Label
from grounded_sam2.store import LabelStore

__all__ = ["export_cvat"]

_RULES = ImageFileRules(unique_stems=True, forbidden=NOT_XML)  # matched without their endings
_ATTRIBUTES = ("confidence", "mask_quality", "caption")


def export_cvat(store: LabelStore, folder: str | Path, *, options: ExportOptions) -> ExportSummary:
    """Write annotations for CVAT. See `grounded_sam2.exporters.Exporter`."""
    with build_dataset(
        "cvat",
        store,
        folder,
        options,
        entries=("images", "annotations", "labels.json"),
        depends_on=("segmentation", "min_polygon_iou"),
    ) as data:
        (data.new / "annotations").mkdir()
        (data.new / "labels.json").write_text(
            json.dumps(_raw_labels(data.classes), indent=2) + "\n", encoding="ascii"
        )
        with ExitStack() as stack:
            files = {}
            for split in options.split:
                path = data.new / "annotations" / f"{split}.xml"
                files[split] = stack.enter_context(_AnnotationFile(path, split, data.classes))
            shapes_of = partial(
                _mask_runs if options.segmentation == "rle" else _polygons,
                min_iou=options.min_polygon_iou,
            )
            images = data.images(rules=_RULES)
            for image, shapes in convert_masks(images, shapes_of, workers=options.workers):
                files[image.split].write(image, shapes, data.counter)
        return data.summary()


_Element: TypeAlias = tuple[str, str]
"""Name and geometry of an element."""


class _AnnotationFile:
    """The annotations of one task, written image by image. A context."""

    def __init__(self, path: Path, name: str, classes: Sequence[str]) -> None:
        self._path = path
        self._name = name
        self._classes = classes
        self._images = count()
        self._groups = count(1)

    def __enter__(self) -> _AnnotationFile:
        self._file: IO[str] = self._path.open("w", encoding="utf-8", newline="\n")
        self._file.writelines(_head(self._name, self._classes))
        return self

    def write(
        self, image: DatasetImage, shapes: Sequence[list[_Element] | None], counter: ExportCounter
    ) -> None:
        """Add an image and its objects, the masks of which are these elements."""
        height, width = image.labels.size_hw
        self._file.write(
            f'  <image id="{next(self._images)}" name="{xml_text(str(image.name))}" '
            f'width="{width}" height="{height}">\n'
        )
        objects = image.labels.objects
        z_orders = {index: z for z, index in enumerate(reversed(front_to_back(objects)))}
        for index, (label, of_mask) in enumerate(zip(objects, shapes, strict=True)):
            elements = _box(label, (height, width)) if of_mask is None else of_mask
            if not elements:
                counter.note("objects without extent, left out")
                continue
            common = (
                f'label="{xml_text(label.class_name)}" source="auto" occluded="0" '
                f'z_order="{z_orders[index]}"'
            )
            if len(elements) > 1:
                common += f' group_id="{next(self._groups)}"'
            attributes = "".join(_attributes(label))
            for element, geometry in elements:
                self._file.write(
                    f"    <{element} {common} {geometry}>\n{attributes}    </{element}>\n"
                )
            counter.add(label)
        self._file.write("  </image>\n")

    def __exit__(self, *error: object) -> None:
        with self._file:
            self._file.write("</annotations>\n")


def _box(label: Label, size_hw: tuple[int, int]) -> list[_Element]:
    """An object without a mask; nothing if it has no extent."""
    box = clipped_box(label, size_hw, None)
    if box is None:
        return []
    corners = zip(("xtl", "ytl", "xbr", "ybr"), box, strict=True)
    return [("box", " ".join(f'{name}="{value:.2f}"' for name, value in corners))]


def _mask_runs(masks: Sequence[Rle], *, min_iou: float) -> list[list[_Element]]:
    """Masks as they are, one element each; none for an empty one."""
    elements: list[list[_Element]] = []
    all_runs = row_major_counts(masks, within_box=True)
    for runs, measure in zip(all_runs, mask_stats(masks), strict=True):
        left, top, right, bottom = (int(value) for value in measure.box_xyxy)
        place = f'left="{left}" top="{top}" width="{right - left}" height="{bottom - top}"'
        rle = ", ".join(map(str, runs.tolist()))
        elements.append([("mask", f'rle="{rle}" {place}')] if measure.area else [])
    return elements


def _polygons(masks: Sequence[Rle], *, min_iou: float) -> list[list[_Element]]:
    """Masks as polygons, an element for each part."""
    return [
        [
            ("polygon", 'points="{}"'.format(";".join(f"{x:.2f},{y:.2f}" for x, y in _pairs(part))))
            for part in polygons_to_coco(parts)
        ]
        for parts in masks_to_polygons(masks, min_iou=min_iou)
    ]


def _pairs(numbers: Sequence[float]) -> Iterator[tuple[float, float]]:
    return zip(numbers[::2], numbers[1::2], strict=True)


def _attributes(label: Label) -> Iterator[str]:
    for name in _ATTRIBUTES:
        value = getattr(label, name)
        if value is not None:
            yield f'      <attribute name="{name}">{xml_text(str(value))}</attribute>\n'


def _head(name: str, classes: Sequence[str]) -> Iterator[str]:
    """Begin of a document, with the labels that Datumaro and others look for there."""
    yield '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n'
    yield f"  <meta>\n    <task>\n      <name>{xml_text(name)}</name>\n"
    yield "      <mode>annotation</mode>\n      <labels>\n"
    for class_name in classes:
        yield f"        <label>\n          <name>{xml_text(class_name)}</name>\n"
        yield "          <type>any</type>\n          <attributes>\n"
        for attribute in _ATTRIBUTES:
            yield f"            <attribute>\n              <name>{attribute}</name>\n"
            yield "              <mutable>False</mutable>\n"
            yield "              <input_type>text</input_type>\n"
            yield "              <default_value></default_value>\n"
            yield "              <values></values>\n            </attribute>\n"
        yield "          </attributes>\n        </label>\n"
    yield "      </labels>\n    </task>\n  </meta>\n"


def _raw_labels(classes: Sequence[str]) -> list[dict[str, object]]:
    attributes = [
        {
            "name": name,
            "mutable": False,
            "input_type": "text",
            "default_value": "",
            "values": [""],
        }
        for name in _ATTRIBUTES
    ]
    return [{"name": name, "type": "any", "attributes": attributes} for name in classes]
