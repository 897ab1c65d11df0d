"""Masks as PNG: one value per pixel, for classes and for objects.

    images/<split>/sub/a.jpg
    semantic/<split>/sub/a.png     8-bit gray: 0 background, 1 … classes, 255 ignore
    instances/<split>/sub/a.png    16-bit gray: 0 background, 1 … objects, 65535 ignore
    classes.json                   the meaning of the values

Values are gray levels, not palette indices, because OpenCV and others convert a palette to colors.
With more than 254 classes, ``semantic`` has 16 bits and ignores 65535. Where objects overlap, the
one with the higher confidence is on top in both masks, so that the class of an object is the
semantic value at its pixels. The box of an object without a mask is to be ignored where no mask
is: which of its pixels are the object is unknown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters.dataset_builder import build_dataset
from grounded_sam2.exporters.file_names import ImageFileRules
from grounded_sam2.exporters.mask_png import write_mask_png
from grounded_sam2.exporters.objects import rasterize_objects
from grounded_sam2.exporters.options import ExportCounter, ExportOptions, ExportSummary
from grounded_sam2.results import Label, Labels
from grounded_sam2.store import LabelStore

__all__ = ["export_masks"]

_RULES = ImageFileRules(unique_stems=True)
_IGNORE_8, _IGNORE_16 = 2**8 - 1, 2**16 - 1


def export_masks(store: LabelStore, folder: str | Path, *, options: ExportOptions) -> ExportSummary:
    """Write PNG masks. See `grounded_sam2.exporters.Exporter`.

    Raises:
        ExportError: also if there are more classes, or objects in an image, than 16 bits hold.
    """
    entries = ("images", "semantic", "instances", "classes.json")
    with build_dataset("masks", store, folder, options, entries=entries) as data:
        _check_number("classes", len(data.classes), folder)
        ids = {name: i for i, name in enumerate(data.classes, start=1)}
        ignore = _IGNORE_8 if len(ids) < _IGNORE_8 else _IGNORE_16
        for image in data.write_images(rules=_RULES):
            _check_number(f"objects in '{image.name}'", len(image.labels), folder)
            semantic = _semantic_mask(image.labels, ids, ignore)
            instances = _instance_mask(image.labels)
            for kind, mask in {"semantic": semantic, "instances": instances}.items():
                path = data.staging / kind / image.split / image.name.with_suffix(".png")
                write_mask_png(mask, path)
            _count(image.labels.objects, instances, data.counter)
        (data.staging / "classes.json").write_text(
            json.dumps(_class_file(data.classes, ignore), indent=2) + "\n", encoding="ascii"
        )
        return data.summary()


def _check_number(name: str, number: int, folder: str | Path) -> None:
    if number >= _IGNORE_16:
        raise ExportError(
            f"export to '{folder}': {number} {name} are more than 16-bit masks hold; choose coco"
        )


def _semantic_mask(
    labels: Labels, ids: Mapping[str, int], ignore: int
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    classes = [ids[label.class_name] for label in labels.objects]
    mask = rasterize_objects(labels.objects, classes, labels.size_hw, void=ignore)
    return mask.astype(np.uint8) if ignore == _IGNORE_8 else mask


def _instance_mask(labels: Labels) -> NDArray[np.uint16]:
    numbers = range(1, len(labels) + 1)
    return rasterize_objects(labels.objects, numbers, labels.size_hw, void=_IGNORE_16)


def _count(objects: Sequence[Label], instances: NDArray[np.uint16], counter: ExportCounter) -> None:
    """Count the objects of an image, and those of which no pixel is visible."""
    number = len(objects)
    pixels = np.bincount(instances.ravel(), minlength=number + 1)[1 : number + 1]
    for label, visible in zip(objects, pixels.tolist(), strict=True):
        counter.add(label, without_mask="to be ignored where their box is")
        if label.mask is not None:
            counter.note("objects hidden behind others", int(not visible))


def _class_file(classes: Sequence[str], ignore: int) -> dict[str, object]:
    return {
        "semantic": {
            "background": 0,
            "ignore": ignore,
            "classes": {name: i for i, name in enumerate(classes, start=1)},
        },
        "instances": {"background": 0, "ignore": _IGNORE_16},
    }
