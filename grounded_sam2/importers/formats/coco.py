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
from grounded_sam2.importers.annotation_database import AnnotationDatabase, ImageEntry
from grounded_sam2.importers.coco_annotation import CROWD_LEFT_OUT, parse_annotation
from grounded_sam2.importers.dataset import (
    AnnotatedImage,
    DatasetProblem,
    ImportOptions,
    ObjectAnnotation,
)
from grounded_sam2.importers.formats.coco_layout import (
    AnnotationFile,
    annotation_files,
    find_image,
)
from grounded_sam2.importers.json_stream import iter_elements
from grounded_sam2.importers.splits import item_id_in_split
from grounded_sam2.sources.refs import FailedRef, ImageRef

__all__ = ["open_coco"]


@contextmanager
def open_coco(path: Path, options: ImportOptions) -> Iterator[_CocoDataset]:
    """Open a dataset. See `grounded_sam2.importers.label_import.Importer`.

    Raises:
        DatasetError: there is no COCO file, or one is not whole or lists no images.
    """
    files = annotation_files(path, options.images)
    with AnnotationDatabase() as database:
        categories = [_read(file, number, database) for number, file in enumerate(files)]
        database.build_index()
        yield _CocoDataset(files, categories, database, options.crowds)


@dataclass(frozen=True, slots=True)
class _CocoDataset:
    files: Sequence[AnnotationFile]
    categories: Sequence[Mapping[str, str]]
    """Names by id, for each file."""
    database: AnnotationDatabase
    crowds: bool

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for names in self.categories for name in names.values()))

    def item_ids(self) -> Iterator[str]:
        yield from self.database.item_ids()

    def images(self) -> Iterator[AnnotatedImage]:
        for image, texts in self.database.images():
            objects, problems = [], []
            for text in texts:
                given, object_problems = self._object(json.loads(text), image.file)
                problems += object_problems
                if given is not None:
                    objects.append(given)
            yield AnnotatedImage(
                ref=self._ref(image),
                objects=tuple(objects),
                problems=tuple(problems),
                declared_hw=image.declared_hw,
            )

    def unassigned(self) -> Iterator[DatasetProblem]:
        yield from self.database.problems()
        for file, image_id, text in self.database.unassigned():
            yield DatasetProblem(
                "of an image that is not listed; left out",
                f"{_called('annotation', json.loads(text))} in '{self.files[file].path.name}'",
                f"image_id {image_id}",
            )

    def _ref(self, image: ImageEntry) -> ImageRef:
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
    ) -> tuple[ObjectAnnotation | None, list[DatasetProblem]]:
        where = _called("annotation", annotation)
        if annotation.get("iscrowd") and not self.crowds:
            return None, [DatasetProblem(CROWD_LEFT_OUT, where)]
        category_id = _id(annotation.get("category_id"))
        class_name = self.categories[file].get(category_id or "")
        if class_name is None:
            detail = f"category_id {annotation.get('category_id')!r}"
            return None, [
                DatasetProblem("of a category that is not listed; left out", where, detail)
            ]
        return parse_annotation(annotation, class_name, where)


def _read(file: AnnotationFile, number: int, database: AnnotationDatabase) -> dict[str, str]:
    """Put images and annotations of a file into the database.

    Returns:
        Names of its categories by id.
    """
    categories: dict[str, str] = {}
    images = 0
    for key, value, text in iter_elements(file.path):
        if key not in ("images", "annotations", "categories"):
            continue
        entry = value if isinstance(value, dict) else {}
        if key == "images":
            images += 1
            problem = _add_image(entry, number, file, database)
        elif key == "annotations":
            problem = None
            if (image_id := _id(entry.get("image_id"))) is not None:
                database.add_annotation(number, image_id, text)
            else:
                problem = "without an image_id; left out"
        else:
            category_id = _id(entry.get("id"))
            problem = None if category_id is not None else "without an id; left out"
            if category_id is not None:
                categories[category_id] = printable(entry.get("name", category_id))
        if problem is not None:
            what = {"images": "image", "annotations": "annotation", "categories": "category"}[key]
            database.add_problem(
                DatasetProblem(
                    f"{what} {problem}", f"{_called(what, entry)} in '{file.path.name}'", text[:80]
                )
            )
    if not images:
        raise DatasetError(f"'{file.path}' lists no images; give a COCO file with 'images'")
    return categories


def _add_image(
    entry: Mapping[str, Any], number: int, file: AnnotationFile, database: AnnotationDatabase
) -> str | None:
    """Put an image into the database; what is wrong if that cannot be."""
    image_id, name = _id(entry.get("id")), entry.get("file_name")
    if image_id is None or not isinstance(name, str) or not name:
        return "without an id or a file_name; left out"
    found = find_image(name, file.folders)
    below, path = found if found is not None else (name.replace("\\", "/"), None)
    image = ImageEntry(
        file=number,
        id=image_id,
        item_id=item_id_in_split(below, file.split) or f"image {image_id}",
        name=printable(name),
        path=path,
        declared_hw=_size(entry),
    )
    return None if database.add_image(image) else "has the id of another one; left out"


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
