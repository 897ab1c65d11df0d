"""COCO datasets with objects: boxes, polygons, run lengths.

Ids may be any numbers or texts; those of categories mean something within their file only. Of the
categories of several files, equal names are one class. Regions that are marked as crowds are left
out unless asked for, since they outline many objects at once; but supervision marks every mask with
holes or parts so.

Format: https://cocodataset.org/#format-data; where the files are:
`grounded_sam2.importers.formats.coco_layout`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grounded_sam2.errors import DatasetError, printable
from grounded_sam2.importers.annotations import CROWD_LEFT_OUT, read_object
from grounded_sam2.importers.formats.coco_layout import (
    AnnotationFile,
    annotation_files,
    find_image,
)
from grounded_sam2.importers.json_stream import elements
from grounded_sam2.importers.records import GivenImage, GivenObject, ImportOptions, Trouble
from grounded_sam2.importers.splits import id_in_split
from grounded_sam2.importers.spool import ListedImage, Spool
from grounded_sam2.sources.refs import FailedRef, ImageRef

__all__ = ["open_coco"]


@contextmanager
def open_coco(path: Path, options: ImportOptions) -> Iterator[_CocoDataset]:
    """Open a dataset. See `grounded_sam2.importers.importing.Importer`.

    Raises:
        DatasetError: there is no COCO file, or one is not whole or lists no images.
    """
    files = annotation_files(path, options.images)
    with Spool() as spool:
        categories = [_read(file, number, spool) for number, file in enumerate(files)]
        spool.seal()
        yield _CocoDataset(files, categories, spool, options.crowds)


@dataclass(frozen=True, slots=True)
class _CocoDataset:
    files: Sequence[AnnotationFile]
    categories: Sequence[Mapping[str, str]]
    """Names by id, for each file."""
    spool: Spool
    crowds: bool

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for names in self.categories for name in names.values()))

    def item_ids(self) -> Iterator[str]:
        yield from self.spool.item_ids()

    def images(self) -> Iterator[GivenImage]:
        for image, texts in self.spool.images():
            objects, troubles = [], []
            for text in texts:
                given, what_is_wrong = self._object(json.loads(text), image.file)
                troubles += what_is_wrong
                if given is not None:
                    objects.append(given)
            yield GivenImage(
                ref=self._ref(image),
                objects=tuple(objects),
                troubles=tuple(troubles),
                declared_hw=image.declared_hw,
            )

    def strays(self) -> Iterator[Trouble]:
        yield from self.spool.troubles()
        for file, picture_id, text in self.spool.strays():
            yield Trouble(
                "of an image that is not listed; left out",
                f"{_called('annotation', json.loads(text))} in '{self.files[file].path.name}'",
                f"image_id {picture_id}",
            )

    def _ref(self, image: ListedImage) -> ImageRef:
        if image.path is not None:
            return ImageRef(image.item_id, image.path)
        folders = self.files[image.file].folders
        places = ", ".join(f"'{printable(folder)}'" for folder in folders)
        reason = (
            f"image {image.name!r}: is in none of the folders {places}; say where the "
            "pictures are (images)"
        )
        return FailedRef(image.item_id, folders[0] / image.item_id, reason)

    def _object(
        self, annotation: Mapping[str, Any], file: int
    ) -> tuple[GivenObject | None, list[Trouble]]:
        where = _called("annotation", annotation)
        if annotation.get("iscrowd") and not self.crowds:
            return None, [Trouble(CROWD_LEFT_OUT, where)]
        category_id = _id(annotation.get("category_id"))
        class_name = self.categories[file].get(category_id or "")
        if class_name is None:
            detail = f"category_id {annotation.get('category_id')!r}"
            return None, [Trouble("of a category that is not listed; left out", where, detail)]
        return read_object(annotation, class_name, where)


def _read(file: AnnotationFile, number: int, spool: Spool) -> dict[str, str]:
    """Put images and annotations of a file into the spool.

    Returns:
        Names of its categories by id.
    """
    categories: dict[str, str] = {}
    images = 0
    for key, value, text in elements(file.path):
        if key not in ("images", "annotations", "categories"):
            continue
        entry = value if isinstance(value, dict) else {}
        if key == "images":
            images += 1
            trouble = _add_image(entry, number, file, spool)
        elif key == "annotations":
            trouble = None
            if (picture_id := _id(entry.get("image_id"))) is not None:
                spool.add_annotation(number, picture_id, text)
            else:
                trouble = "without an image_id; left out"
        else:
            category_id = _id(entry.get("id"))
            trouble = None if category_id is not None else "without an id; left out"
            if category_id is not None:
                categories[category_id] = printable(entry.get("name", category_id))
        if trouble is not None:
            what = {"images": "image", "annotations": "annotation", "categories": "category"}[key]
            spool.add_trouble(
                Trouble(
                    f"{what} {trouble}", f"{_called(what, entry)} in '{file.path.name}'", text[:80]
                )
            )
    if not images:
        raise DatasetError(f"'{file.path}' lists no images; give a COCO file with 'images'")
    return categories


def _add_image(
    entry: Mapping[str, Any], number: int, file: AnnotationFile, spool: Spool
) -> str | None:
    """Put an image into the spool; what is wrong if that cannot be."""
    picture_id, name = _id(entry.get("id")), entry.get("file_name")
    if picture_id is None or not isinstance(name, str) or not name:
        return "without an id or a file_name; left out"
    found = find_image(name, file.folders)
    below, path = found if found is not None else (name.replace("\\", "/"), None)
    image = ListedImage(
        file=number,
        id=picture_id,
        item_id=id_in_split(below, file.split) or f"image {picture_id}",
        name=printable(name),
        path=path,
        declared_hw=_size(entry),
    )
    return None if spool.add_picture(image) else "has the id of another one; left out"


def _id(value: Any) -> str | None:
    """An id as text: some writers put numbers into quotes in one place and not in the other."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return printable(value)


def _size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width, if both are there; 0 is what some writers put for unknown."""
    height, width = (_id(entry.get(side)) for side in ("height", "width"))
    if height is None or width is None or not (height.isdecimal() and width.isdecimal()):
        return None
    return (int(height), int(width)) if int(height) and int(width) else None


def _called(what: str, entry: Mapping[str, Any]) -> str:
    return f"{what} {entry.get('id', 'without id')}"
