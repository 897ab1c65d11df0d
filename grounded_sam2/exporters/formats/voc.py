"""Pascal VOC: boxes and segmentation, in the folder layout of its development kit.

    VOCdevkit/VOC2012/
        JPEGImages/sub/a.jpg
        Annotations/sub/a.xml               boxes: integer pixels, 1-based, both ends included
        SegmentationClass/sub/a.png         palette: 0 background, 1 … classes, 255 void
        SegmentationObject/sub/a.png        palette: 1 … objects in the order of the XML, 255 void
        ImageSets/Main/<split>.txt          names of images without suffix, one per line
        ImageSets/Segmentation/<split>.txt
        labelmap.txt                        class:red,green,blue:: as CVAT and Datumaro read it

Readers expect ``JPEGImages/<name>.jpg``, so images of other types become JPEG (quality 95, no
chroma subsampling); and they split lines at spaces, so spaces in names become underscores. The
label map cannot represent a class with a colon, one that begins with ``#``, or one named like its
own first and last line; those are renamed, there and in the XML. Where objects overlap, the one
with the higher confidence is on top. The box of an object without a mask is void in both masks:
which of its pixels are the object is unknown. Objects beyond the 254th of an image have no value
left in SegmentationObject, and are void there.

Format: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain, count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters.dataset_builder import build_dataset
from grounded_sam2.exporters.file_names import ImageFileRules
from grounded_sam2.exporters.image_types import OPENCV_TYPES
from grounded_sam2.exporters.images import DatasetImage
from grounded_sam2.exporters.mask_conversion import Box, map_masks, mask_stats
from grounded_sam2.exporters.mask_png import voc_palette, write_mask_png
from grounded_sam2.exporters.objects import clipped_box, covered_pixels, rasterize_objects
from grounded_sam2.exporters.options import ExportCounter, ExportOptions, ExportSummary
from grounded_sam2.exporters.xml_text import NOT_XML, xml_text
from grounded_sam2.results import Label
from grounded_sam2.store import LabelStore

__all__ = ["export_voc"]

_ROOT = "VOCdevkit/VOC2012"
_VOID = 255
_MAX_VALUE = _VOID - 1
_FIRST_LINE, _LAST_LINE = "background", "void"
_RULES = ImageFileRules(
    suffixes=frozenset({".jpg"}),
    types=OPENCV_TYPES,
    fallback_suffix=".jpg",
    lower_case_suffix=True,
    unique_stems=True,
    forbidden=rf"""[\s#"']|{NOT_XML}""",
)


def export_voc(store: LabelStore, folder: str | Path, *, options: ExportOptions) -> ExportSummary:
    """Write a Pascal VOC dataset. See `grounded_sam2.exporters.Exporter`.

    Raises:
        ExportError: also if there are more than 254 classes, the capacity of the palette.
    """
    with build_dataset("voc", store, folder, options, entries=("VOCdevkit",)) as data:
        if len(data.classes) > _MAX_VALUE:
            raise ExportError(
                f"export to '{folder}': Pascal VOC holds at most {_MAX_VALUE} classes, there are "
                f"{len(data.classes)}; choose masks or coco"
            )
        root = data.staging / _ROOT
        root.mkdir(parents=True)
        names = _class_names(data.classes)
        data.counter.note(
            "classes that the label map cannot represent, renamed",
            sum(name != class_name for class_name, name in names.items()),
        )
        label_map = "".join(_label_map(list(names.values())))
        (root / "labelmap.txt").write_text(label_map, encoding="utf-8")
        class_ids = {name: i for i, name in enumerate(data.classes, start=1)}
        palette = voc_palette()
        with ExitStack() as stack:
            lists = {}
            for kind in ("Main", "Segmentation"):
                (root / "ImageSets" / kind).mkdir(parents=True)
                for split in options.split:
                    path = root / "ImageSets" / kind / f"{split}.txt"
                    lists[kind, split] = stack.enter_context(path.open("w", encoding="utf-8"))
            for image in data.write_images(
                f"{_ROOT}/JPEGImages", rules=_RULES, split_folders=False
            ):
                objects, boxes = _objects_with_extent(image, data.counter)
                annotation = root / "Annotations" / image.name.with_suffix(".xml")
                annotation.parent.mkdir(parents=True, exist_ok=True)
                annotation.write_text(
                    "".join(_annotation(image, objects, boxes, names)), encoding="utf-8"
                )
                masks = _segmentation(objects, class_ids, image.labels.size_hw, data.counter)
                for kind, values in masks.items():
                    path = root / kind / image.name.with_suffix(".png")
                    write_mask_png(values, path, palette=palette)
                for kind in ("Main", "Segmentation"):
                    lists[kind, image.split].write(f"{image.name.with_suffix('')}\n")
                for label in objects:
                    data.counter.add(label, without_mask="written as their box, void in masks")
        return data.summary()


def _class_names(classes: Sequence[str]) -> dict[str, str]:
    """Return the name of each class in the dataset: its own, if the label map can represent it."""
    names: dict[str, str] = {}
    taken = {_FIRST_LINE, _LAST_LINE}
    for class_name in classes:
        name = " ".join(re.sub(NOT_XML, "\ufffd", class_name).replace(":", "_").split())
        name = f"_{name[1:]}" if name[:1] in ("", "#") else name
        numbered = (f"{name}_{number}" for number in count(2))
        names[class_name] = next(each for each in chain([name], numbered) if each not in taken)
        taken.add(names[class_name])
    return names


def _label_map(names: Sequence[str]) -> Iterator[str]:
    yield "# label:color_rgb:parts:actions\n"
    for name, (red, green, blue) in zip([_FIRST_LINE, *names], voc_palette(), strict=False):
        yield f"{name}:{red},{green},{blue}::\n"
    red, green, blue = voc_palette()[_VOID]
    yield f"{_LAST_LINE}:{red},{green},{blue}::\n"


def _objects_with_extent(
    image: DatasetImage, counter: ExportCounter
) -> tuple[list[Label], list[Box]]:
    """Return the objects of an image that have an extent, and their boxes; count the others."""
    objects, boxes = [], []
    labels = image.labels.objects
    for label, stats in zip(labels, map_masks(labels, mask_stats), strict=True):
        box = clipped_box(label, image.labels.size_hw, stats)
        if box is None:
            counter.note("objects without extent, left out")
            continue
        objects.append(label)
        boxes.append(box)
    return objects, boxes


def _segmentation(
    objects: Sequence[Label],
    class_ids: Mapping[str, int],
    size_hw: tuple[int, int],
    counter: ExportCounter,
) -> dict[str, NDArray[np.uint8]]:
    """Return the masks of classes and of objects, ``(h, w)`` each, by the names of their folders.

    Counts the objects that have no value in the mask of objects.
    """
    counter.note(
        "objects beyond the 254th of an image, void in masks of objects",
        max(len(objects) - _MAX_VALUE, 0),
    )
    values = {
        "SegmentationClass": [class_ids[label.class_name] for label in objects],
        "SegmentationObject": [min(i, _VOID) for i in range(1, len(objects) + 1)],
    }
    return {
        kind: rasterize_objects(objects, each, size_hw, void=_VOID).astype(np.uint8)
        for kind, each in values.items()
    }


def _annotation(
    image: DatasetImage,
    objects: Sequence[Label],
    boxes: Sequence[Box],
    names: Mapping[str, str],
) -> Iterator[str]:
    height, width = image.labels.size_hw
    yield "<annotation>\n\t<folder>VOC2012</folder>\n"
    yield f"\t<filename>{xml_text(str(image.name))}</filename>\n"
    yield "\t<source>\n\t\t<database>grounded-sam2</database>\n\t</source>\n"
    yield f"\t<size>\n\t\t<width>{width}</width>\n\t\t<height>{height}</height>\n"
    yield "\t\t<depth>3</depth>\n\t</size>\n\t<segmented>1</segmented>\n"
    for label, box in zip(objects, boxes, strict=True):
        left, top, right, bottom = covered_pixels(box)
        yield f"\t<object>\n\t\t<name>{xml_text(names[label.class_name])}</name>\n"
        yield "\t\t<pose>Unspecified</pose>\n\t\t<truncated>0</truncated>\n"
        yield "\t\t<difficult>0</difficult>\n\t\t<bndbox>\n"
        yield f"\t\t\t<xmin>{left + 1}</xmin>\n\t\t\t<ymin>{top + 1}</ymin>\n"
        yield f"\t\t\t<xmax>{right}</xmax>\n\t\t\t<ymax>{bottom}</ymax>\n"
        yield "\t\t</bndbox>\n\t</object>\n"
    yield "</annotation>\n"
