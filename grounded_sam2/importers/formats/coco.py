"""COCO object annotations: boxes, polygons, run lengths.

Layouts of annotation files and images that are found:

    annotations/instances_train2017.json    images in train2017/ or images/train2017/, as COCO
    annotations/instances_train.json        images in images/train/, as our own export
    train/_annotations.coco.json            images beside it, as Roboflow
    labels.json                             images beside it, in images/ or in data/

Ids may be numbers or texts; category ids have a meaning within their file only. Categories of
several files with the same name are one class. Crowd regions are left out by default, because each
outlines many objects at once; but supervision marks every mask with holes or parts as a crowd.

Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

import json
import os
import re
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
from grounded_sam2.importers.json_stream import first_key, iter_elements
from grounded_sam2.importers.splits import canonical_split, item_id_in_split, split_in_name
from grounded_sam2.sources.refs import FailedRef, ImageRef

__all__ = ["find_annotation_files", "open_coco"]

_TOP_KEYS = ("info", "licenses", "images", "annotations", "categories", "type")
_OTHER_TASKS = re.compile(r"(captions|person_keypoints|stuff|panoptic|image_info)_")
_INSTANCES = "instances_"
_ABSOLUTE = re.compile(r"/|[A-Za-z]:/|[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class _AnnotationFile:
    """One JSON file, and the folders that may contain its images."""

    path: Path
    split: str | None
    """Prefix of the ids of its images; ``None`` for no prefix."""
    folders: tuple[Path, ...]
    """In search order."""


def find_annotation_files(path: Path, images: Path | None = None) -> list[_AnnotationFile]:
    """Find the annotation files of a dataset.

    Args:
        path: its folder, or one JSON file. Of a folder with ``instances_*.json``, only those are
            used: the other files annotate the same images for other tasks.
        images: folder of the images; ``None`` to search the layouts above.

    Returns:
        At least one, in the order of their names.

    Raises:
        DatasetError: there are none.
    """
    if path.is_file():
        found = [path]
    else:
        found = [each for each in sorted(_json_files(path)) if first_key(each) in _TOP_KEYS]
        found = [each for each in found if each.name.startswith(_INSTANCES)] or found
    if not found:
        raise DatasetError(
            f"'{path}': no COCO annotations; looked for JSON files with images, annotations and "
            "categories in it, in its 'annotations' and in its folders"
        )
    return [
        _AnnotationFile(each, _split_of(each, len(found) == 1), tuple(_image_folders(each, images)))
        for each in found
    ]


@contextmanager
def open_coco(path: Path, options: ImportOptions) -> Iterator[_CocoDataset]:
    """Open a dataset. See `grounded_sam2.importers.label_import.Importer`.

    Raises:
        DatasetError: there is no COCO file, or one is incomplete or lists no images.
    """
    files = find_annotation_files(path, options.images)
    with AnnotationDatabase() as database:
        categories = [_read_file(file, number, database) for number, file in enumerate(files)]
        database.build_index()
        yield _CocoDataset(files, categories, database, options.crowds)


@dataclass(frozen=True, slots=True)
class _CocoDataset:
    files: Sequence[_AnnotationFile]
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
                parsed, object_problems = self._parse_object(json.loads(text), image.file)
                problems += object_problems
                if parsed is not None:
                    objects.append(parsed)
            yield AnnotatedImage(
                ref=self._image_ref(image),
                objects=tuple(objects),
                problems=tuple(problems),
                declared_hw=image.declared_hw,
            )

    def unassigned(self) -> Iterator[DatasetProblem]:
        yield from self.database.problems()
        for file, image_id, text in self.database.unassigned_annotations():
            yield DatasetProblem(
                "of an image that is not listed; left out",
                f"{_title('annotation', json.loads(text))} in '{self.files[file].path.name}'",
                f"image_id {image_id}",
            )

    def _image_ref(self, image: ImageEntry) -> ImageRef:
        if image.path is not None:
            return ImageRef(image.item_id, image.path)
        folders = self.files[image.file].folders
        places = ", ".join(f"'{printable(folder)}'" for folder in folders)
        reason = (
            f"image {image.name!r}: is in none of the folders {places}; give the folder of the "
            "images (images)"
        )
        return FailedRef(image.item_id, folders[0] / image.item_id, reason)

    def _parse_object(
        self, annotation: Mapping[str, Any], file: int
    ) -> tuple[ObjectAnnotation | None, list[DatasetProblem]]:
        where = _title("annotation", annotation)
        if annotation.get("iscrowd") and not self.crowds:
            return None, [DatasetProblem(CROWD_LEFT_OUT, where)]
        category_id = _parse_id(annotation.get("category_id"))
        class_name = self.categories[file].get(category_id or "")
        if class_name is None:
            reason = "of a category that is not listed; left out"
            detail = f"category_id {annotation.get('category_id')!r}"
            return None, [DatasetProblem(reason, where, detail)]
        return parse_annotation(annotation, class_name, where)


def _read_file(file: _AnnotationFile, number: int, database: AnnotationDatabase) -> dict[str, str]:
    """Write the images and annotations of a file to the database.

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
            if (image_id := _parse_id(entry.get("image_id"))) is not None:
                database.add_annotation(number, image_id, text)
            else:
                problem = "without an image_id; left out"
        else:
            category_id = _parse_id(entry.get("id"))
            problem = None if category_id is not None else "without an id; left out"
            if category_id is not None:
                categories[category_id] = printable(entry.get("name", category_id))
        if problem is not None:
            kind = {"images": "image", "annotations": "annotation", "categories": "category"}[key]
            where = f"{_title(kind, entry)} in '{file.path.name}'"
            database.add_problem(DatasetProblem(f"{kind} {problem}", where, text[:80]))
    if not images:
        raise DatasetError(f"'{file.path}' lists no images; give a COCO file with 'images'")
    return categories


def _add_image(
    entry: Mapping[str, Any], number: int, file: _AnnotationFile, database: AnnotationDatabase
) -> str | None:
    """Write an image to the database; return the problem if it cannot be used."""
    image_id, name = _parse_id(entry.get("id")), entry.get("file_name")
    if image_id is None or not isinstance(name, str) or not name:
        return "without an id or a file_name; left out"
    found = _find_image(name, file.folders)
    relative, path = found if found is not None else (name.replace("\\", "/"), None)
    image = ImageEntry(
        file=number,
        id=image_id,
        item_id=item_id_in_split(relative, file.split) or f"image {image_id}",
        name=printable(name),
        path=path,
        declared_hw=_parse_size(entry),
    )
    return None if database.add_image(image) else "has the id of another one; left out"


def _find_image(name: str, folders: tuple[Path, ...]) -> tuple[str, Path] | None:
    """Find the file of an image.

    Args:
        name: ``file_name`` of the annotations: a path below one of the folders. Of an absolute
            path or an address, written on another machine, the longest existing suffix is used.
        folders: folders to search, in order.

    Returns:
        Its path relative to the folder (its file name, if it lies elsewhere), and the file; or
        ``None``.
    """
    names = [name, name.replace("\\", "/")]
    if _ABSOLUTE.match(names[1]):
        if _is_file(file := Path(os.path.normpath(name))):
            inside = (each.absolute() for each in folders if file.is_relative_to(each.absolute()))
            root = next(inside, file.parent)
            return file.relative_to(root).as_posix(), file
        parts = names[1].split("?")[0].split("/")
        names = ["/".join(parts[first:]) for first in range(1, len(parts))]
    for each in dict.fromkeys(names):
        for folder in folders:
            if each and _is_file(folder / each):
                return each, folder / each
    return None


def _json_files(folder: Path) -> Iterator[Path]:
    for pattern in ("*.json", "*/*.json"):
        for path in folder.glob(pattern):
            if not path.name.startswith(".") and not _OTHER_TASKS.match(path.name):
                yield path


def _split_of(path: Path, only_one: bool) -> str | None:
    named = split_in_name(path.stem) or canonical_split(path.parent.name)
    return named if named is not None or only_one else path.stem


def _image_folders(path: Path, images: Path | None) -> Iterator[Path]:
    """Existing folders that may contain the images of an annotation file, without duplicates."""
    stem = path.stem.removeprefix(_INSTANCES)
    names = dict.fromkeys((stem, split_in_name(stem) or stem))
    if images is not None:
        candidates = [*(images / name for name in names), images]
    else:
        base = path.parent.parent if path.parent.name == "annotations" else path.parent
        candidates = [path.parent]
        candidates += [base / "images" / name for name in names]
        candidates += [base / name for name in names]
        candidates += [base / "images", base / "data", base]
    return (folder for folder in dict.fromkeys(candidates) if folder.is_dir())


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long for a file, or with a NUL in it
        return False


def _parse_id(value: Any) -> str | None:
    """An id as text: some writers quote numbers in one place and not in the other."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return printable(value)


def _parse_size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width, if both are present; some writers put 0 for unknown."""
    height, width = (_parse_id(entry.get(side)) for side in ("height", "width"))
    if height is None or width is None or not (height.isdecimal() and width.isdecimal()):
        return None
    return (int(height), int(width)) if int(height) and int(width) else None


def _title(kind: str, entry: Mapping[str, Any]) -> str:
    return f"{kind} {entry.get('id', 'without id')}"
