"""Masks as PNG: one value per pixel, for classes and for objects.

    images/<split>/sub/a.jpg
    semantic/<split>/sub/a.png     8-bit grey: 0 background, 1 … classes, 255 ignore
    instances/<split>/sub/a.png    16-bit grey: 0 background, 1 … objects, 65535 ignore
    classes.json                   what the values mean

Values are grey levels, not places in a palette, because OpenCV and others read a palette as
colors. With more than 254 classes, ``semantic`` has 16 bits and ignores 65535. Where objects
overlap, the one of higher confidence is on top, in both masks, so that the class of an object is
the semantic value at its pixels. The box of an object without a mask is to be ignored where nothing
else lies: nobody knows which of its pixels are the object.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters.dataset_builder import DatasetBuilder, build_dataset
from grounded_sam2.exporters.file_names import ImageFileRules
from grounded_sam2.exporters.images import DatasetImage
from grounded_sam2.exporters.objects import paint, write_values
from grounded_sam2.exporters.options import ExportOptions, ExportSummary
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
        ignore = _IGNORE_8 if len(data.classes) < _IGNORE_8 else _IGNORE_16
        for image in data.images(rules=_RULES):
            _check_number(f"objects in '{image.name}'", len(image.labels), folder)
            _write_masks(image, data, ignore)
        (data.new / "classes.json").write_text(
            json.dumps(_class_file(data.classes, ignore), indent=2) + "\n", encoding="ascii"
        )
        return data.summary()


def _check_number(what: str, number: int, folder: str | Path) -> None:
    if number >= _IGNORE_16:
        raise ExportError(
            f"export to '{folder}': {number} {what} are more than 16-bit masks hold; choose coco"
        )


def _write_masks(image: DatasetImage, data: DatasetBuilder, ignore: int) -> None:
    objects, size_hw = image.labels.objects, image.labels.size_hw
    ids = {name: i for i, name in enumerate(data.classes, start=1)}
    classes = [ids[label.class_name] for label in objects]
    semantic = paint(objects, classes, size_hw, void=ignore)
    instances = paint(objects, range(1, len(objects) + 1), size_hw, void=_IGNORE_16)
    for kind, mask in {
        "semantic": semantic.astype(np.uint8) if ignore == _IGNORE_8 else semantic,
        "instances": instances,
    }.items():
        file = data.new / kind / image.split / image.name.with_suffix(".png")
        write_values(PIL.Image.fromarray(mask), file)

    visible = _present(instances, len(objects))
    for index, label in enumerate(objects):
        data.counter.add(label, instead_of_mask="to be ignored where their box is")
        if label.mask is not None:
            data.counter.note("objects hidden behind others", int(not visible[index]))


def _present(instances: NDArray[np.uint16], number: int) -> NDArray[np.bool_]:
    """Which objects have a pixel left: ``(number,)``."""
    return np.bincount(instances.ravel(), minlength=number + 1)[1 : number + 1] > 0


def _class_file(classes: Sequence[str], ignore: int) -> dict[str, object]:
    return {
        "semantic": {
            "background": 0,
            "ignore": ignore,
            "classes": {name: i for i, name in enumerate(classes, start=1)},
        },
        "instances": {"background": 0, "ignore": _IGNORE_16},
    }
