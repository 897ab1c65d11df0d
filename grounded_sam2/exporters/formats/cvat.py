"""CVAT for images 1.1: annotations to upload to a task, for people to correct.

    images/<split>/sub/a.jpg       create a task for each split from these files
    annotations/<split>.xml        then upload this as "CVAT 1.1"
    labels.json                    for the task's raw label editor, before the upload

CVAT matches images by name, and drops labels and attributes that the task does not have. Masks are
``mask`` elements: row-major run lengths within the bounding box, background first, which represent
holes and parts exactly. With polygons, the parts of an object form a group, and bridges of zero
width connect holes to outlines. An object without a mask is a ``box``. ``z_order`` puts the object
with the higher confidence on top. Confidence, mask quality, caption and uid are attributes, to sort
and filter by. Objects that a person accepted, corrected or made have the source ``manual`` and the
attribute ``review``.

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

_RULES = ImageFileRules(unique_stems=True, forbidden=NOT_XML)  # CVAT matches images by stem
_ATTRIBUTES = ("confidence", "mask_quality", "caption", "uid")


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
        annotations = data.staging / "annotations"
        annotations.mkdir()
        attributes = (*_ATTRIBUTES, *(("review",) if data.has_reviews else ()))
        (data.staging / "labels.json").write_text(
            json.dumps(_task_labels(data.classes, attributes), indent=2) + "\n", encoding="ascii"
        )
        with ExitStack() as stack:
            files = {
                split: stack.enter_context(
                    _CvatXmlWriter(annotations / f"{split}.xml", split, data.classes, attributes)
                )
                for split in options.split
            }
            convert = partial(
                _mask_elements if options.segmentation == "rle" else _polygon_elements,
                min_iou=options.min_polygon_iou,
            )
            images = data.write_images(rules=_RULES)
            for image, masks in convert_masks(images, convert, workers=options.workers):
                files[image.split].write(image, masks, data.counter)
        return data.summary()


_Element: TypeAlias = tuple[str, str]
"""Name of an XML element, and its attributes that hold the geometry."""


class _CvatXmlWriter:
    """Writer of the annotations of one task, image by image. A context manager."""

    def __init__(
        self, path: Path, name: str, classes: Sequence[str], attributes: Sequence[str]
    ) -> None:
        self._path = path
        self._name = name
        self._classes = classes
        self._attributes = attributes
        self._image_ids = count()
        self._group_ids = count(1)

    def __enter__(self) -> _CvatXmlWriter:
        self._file: IO[str] = self._path.open("w", encoding="utf-8", newline="\n")
        self._file.writelines(_header(self._name, self._classes, self._attributes))
        return self

    def write(
        self, image: DatasetImage, masks: Sequence[list[_Element] | None], counter: ExportCounter
    ) -> None:
        """Add an image and its objects; `masks` holds the elements of each object's mask."""
        self._file.writelines(
            _image_xml(image, masks, next(self._image_ids), self._group_ids, counter)
        )

    def __exit__(self, *error: object) -> None:
        with self._file:
            self._file.write("</annotations>\n")


def _image_xml(
    image: DatasetImage,
    masks: Sequence[list[_Element] | None],
    image_id: int,
    group_ids: Iterator[int],
    counter: ExportCounter,
) -> Iterator[str]:
    """Yield the XML of an image; count its objects.

    Args:
        image: the image.
        masks: elements of each object's mask; ``None`` without a mask.
        image_id: its id.
        group_ids: an object of several elements takes the next.
        counter: counts the objects.
    """
    height, width = image.labels.size_hw
    yield (
        f'  <image id="{image_id}" name="{xml_text(str(image.name))}" '
        f'width="{width}" height="{height}">\n'
    )
    objects = image.labels.objects
    z_orders = {index: z for z, index in enumerate(reversed(front_to_back(objects)))}
    for index, (label, mask) in enumerate(zip(objects, masks, strict=True)):
        elements = _box_elements(label, (height, width)) if mask is None else mask
        if not elements:
            counter.note("objects without extent, left out")
            continue
        common = (
            f'label="{xml_text(label.class_name)}" source="{_source(label)}" occluded="0" '
            f'z_order="{z_orders[index]}"'
        )
        if len(elements) > 1:
            common += f' group_id="{next(group_ids)}"'
        attributes = "".join(_attributes(label))
        for element, geometry in elements:
            yield f"    <{element} {common} {geometry}>\n{attributes}    </{element}>\n"
        counter.add(label)
    yield "  </image>\n"


def _box_elements(label: Label, size_hw: tuple[int, int]) -> list[_Element]:
    """Return the element of an object without a mask; none if it has no extent."""
    box = clipped_box(label, size_hw, None)
    if box is None:
        return []
    corners = zip(("xtl", "ytl", "xbr", "ybr"), box, strict=True)
    return [("box", " ".join(f'{name}="{value:.2f}"' for name, value in corners))]


def _mask_elements(masks: Sequence[Rle], *, min_iou: float) -> list[list[_Element]]:
    """Return one exact element per mask; none for an empty one."""
    elements: list[list[_Element]] = []
    all_counts = row_major_counts(masks, within_box=True)
    for counts, stats in zip(all_counts, mask_stats(masks), strict=True):
        left, top, right, bottom = (int(value) for value in stats.box_xyxy)
        box = f'left="{left}" top="{top}" width="{right - left}" height="{bottom - top}"'
        rle = ", ".join(map(str, counts.tolist()))
        elements.append([("mask", f'rle="{rle}" {box}')] if stats.area else [])
    return elements


def _polygon_elements(masks: Sequence[Rle], *, min_iou: float) -> list[list[_Element]]:
    """Return the elements of each mask, one per part."""
    return [
        [
            ("polygon", 'points="{}"'.format(";".join(f"{x:.2f},{y:.2f}" for x, y in _pairs(part))))
            for part in polygons_to_coco(parts)
        ]
        for parts in masks_to_polygons(masks, min_iou=min_iou)
    ]


def _pairs(numbers: Sequence[float]) -> Iterator[tuple[float, float]]:
    return zip(numbers[::2], numbers[1::2], strict=True)


def _source(label: Label) -> str:
    return "manual" if label.review == "accepted" else "auto"


def _attributes(label: Label) -> Iterator[str]:
    for name in (*_ATTRIBUTES, *(("review",) if label.review == "accepted" else ())):
        value = getattr(label, name)
        if value is not None:
            yield f'      <attribute name="{name}">{xml_text(str(value))}</attribute>\n'


def _header(name: str, classes: Sequence[str], attributes: Sequence[str]) -> Iterator[str]:
    """Yield the start of a document, with the labels that Datumaro and others look up there."""
    yield '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n'
    yield f"  <meta>\n    <task>\n      <name>{xml_text(name)}</name>\n"
    yield "      <mode>annotation</mode>\n      <labels>\n"
    for class_name in classes:
        yield f"        <label>\n          <name>{xml_text(class_name)}</name>\n"
        yield "          <type>any</type>\n          <attributes>\n"
        for attribute in attributes:
            yield f"            <attribute>\n              <name>{attribute}</name>\n"
            yield "              <mutable>False</mutable>\n"
            yield "              <input_type>text</input_type>\n"
            yield "              <default_value></default_value>\n"
            yield "              <values></values>\n            </attribute>\n"
        yield "          </attributes>\n        </label>\n"
    yield "      </labels>\n    </task>\n  </meta>\n"


def _task_labels(classes: Sequence[str], attributes: Sequence[str]) -> list[dict[str, object]]:
    definitions = [
        {
            "name": name,
            "mutable": False,
            "input_type": "text",
            "default_value": "",
            "values": [""],
        }
        for name in attributes
    ]
    return [{"name": name, "type": "any", "attributes": definitions} for name in classes]
