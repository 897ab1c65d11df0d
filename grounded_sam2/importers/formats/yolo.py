"""YOLO datasets: rows of outlines, of boxes, or of both.

A row of five numbers is a box (``class x y width height``), a longer one an outline (``class x1 y1
x2 y2 …``); one number more than that is a confidence, as Ultralytics writes predictions. An outline
is filled by even-odd counting, as Ultralytics fills it, so that holes and parts which hang on
bridges of no width come out as they went in. Coordinates are shares of the upright image.

The names of all images are in memory, to notice labels without one.

Format: https://docs.ultralytics.com/datasets/segment/; where the files are:
`grounded_sam2.importers.formats.yolo_layout`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from grounded_sam2.errors import DatasetError, printable
from grounded_sam2.importers.dataset import (
    AnnotatedImage,
    DatasetProblem,
    ImportOptions,
    ObjectAnnotation,
)
from grounded_sam2.importers.formats.yolo_layout import (
    YoloYaml,
    find_yaml,
    labels_of_folder,
    labels_of_image,
    read_yaml,
)
from grounded_sam2.importers.splits import item_id_in_split
from grounded_sam2.sources.folder import IMAGE_EXTENSIONS
from grounded_sam2.sources.names import UniqueIds
from grounded_sam2.sources.refs import FailedRef, ImageRef
from grounded_sam2.sources.walk import walk

__all__ = ["open_yolo"]

_BOX_NUMBERS = 4
_OUTLINE_NUMBERS = 6
_SLACK = 0.01
"""How far outside of 0 to 1 a coordinate may lie and still be meant; Ultralytics' own."""
_NO_LABELS = ("classes.txt",)
"""Files that other programs put among the labels."""


@contextmanager
def open_yolo(path: Path, options: ImportOptions) -> Iterator[_YoloDataset]:
    """Open a dataset. See `grounded_sam2.importers.label_import.Importer`.

    Raises:
        DatasetError: there is no ``data.yaml``, or it does not say what is needed.
    """
    file = find_yaml(path)
    if file is None:
        raise DatasetError(
            f"'{path}': no data.yaml; write one with names, train and val, as Ultralytics needs it"
        )
    yield _YoloDataset(read_yaml(file, options.images))


@dataclass(frozen=True, slots=True)
class _YoloDataset:
    yaml: YoloYaml
    seen: set[str] = field(default_factory=set)
    """Where the labels of the images are, or would be."""

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.yaml.classes.values()))

    def item_ids(self) -> Iterator[str]:
        for ref in self._refs():
            yield ref.item_id

    def images(self) -> Iterator[AnnotatedImage]:
        for ref in self._refs():
            labels = labels_of_image(ref.path)
            self.seen.add(os.fspath(labels))
            try:
                text = labels.read_text(encoding="utf-8-sig")
            except FileNotFoundError:
                text = ""  # background
            except (OSError, UnicodeDecodeError) as error:
                # Not background: there are labels, which we cannot read.
                reason = f"labels '{printable(labels)}' cannot be read: {error}"
                yield AnnotatedImage(FailedRef(ref.item_id, ref.path, reason))
                continue
            objects, problems = _objects(text, self.yaml.classes)
            yield AnnotatedImage(ref, objects, problems, normalized=True)

    def unassigned(self) -> Iterator[DatasetProblem]:
        for entry in self.yaml.missing:
            yield DatasetProblem("places in data.yaml that are not there; left out", entry)
        for places in self.yaml.splits.values():
            for place in places:
                if place.is_dir():
                    yield from self._labels_without_image(labels_of_folder(place))

    def _labels_without_image(self, folder: Path) -> Iterator[DatasetProblem]:
        if not folder.is_dir():
            return
        for found in walk(folder):
            is_labels = found.name.endswith(".txt") and Path(found.path).name not in _NO_LABELS
            if is_labels and found.path not in self.seen:
                yield DatasetProblem("labels without an image; left out", printable(found.path))

    def _refs(self) -> Iterator[ImageRef]:
        ids = UniqueIds()
        for split, places in self.yaml.splits.items():
            root = Path(os.path.commonpath(places))
            for place in places:
                for path in _listed(place) if place.is_file() else _below(place):
                    item_id = item_id_in_split(_name(path, place, root), split or None)
                    yield ImageRef(ids.claim(item_id, otherwise=place.stem), path)


def _below(folder: Path) -> Iterator[Path]:
    for found in walk(folder):
        if found.failure is not None:
            raise DatasetError(f"'{printable(found.path)}' cannot be listed: {found.failure}")
        if found.name.lower().endswith(IMAGE_EXTENSIONS):
            yield Path(found.path)


def _listed(file: Path) -> Iterator[Path]:
    """The images that a text file names, a path per line, relative to the file."""
    try:
        with file.open(encoding="utf-8-sig") as lines:
            for line in lines:
                if line.strip():
                    yield Path(os.path.normpath(file.parent / line.strip()))
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"'{file}' cannot be read: {error}") from error


def _name(path: Path, place: Path, root: Path) -> str:
    """What an image is called within its split."""
    if place.is_file():
        _, images, below = path.as_posix().rpartition("/images/")
        return below if images else path.name
    return path.relative_to(root).as_posix()


def _objects(
    text: str, classes: Mapping[int, str]
) -> tuple[tuple[ObjectAnnotation, ...], tuple[DatasetProblem, ...]]:
    """The objects of one label file."""
    objects, problems = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        given = _object(line, classes, f"line {number}")
        if isinstance(given, ObjectAnnotation):
            objects.append(given)
        else:
            problems.append(given)
    return tuple(objects), tuple(problems)


def _object(line: str, classes: Mapping[int, str], where: str) -> ObjectAnnotation | DatasetProblem:
    try:
        class_id, *numbers = (float(word) for word in line.split())
        values = np.array(numbers)
    except ValueError:
        return DatasetProblem("holds what is no number; left out", where, line[:80])
    if class_id not in classes:
        return DatasetProblem(
            "of a class that data.yaml does not name; left out", where, f"{class_id:g}"
        )
    confidence = None
    if len(values) % 2:
        confidence, values = float(values[-1]), values[:-1]
    if len(values) != _BOX_NUMBERS and len(values) < _OUTLINE_NUMBERS:
        return DatasetProblem(
            "has too few numbers for a box or an outline; left out", where, line[:80]
        )
    if not np.isfinite(values).all() or values.min() < -_SLACK or values.max() > 1 + _SLACK:
        return DatasetProblem("coordinates are not within 0 and 1; left out", where, line[:80])
    is_box = len(values) == _BOX_NUMBERS
    if is_box and min(values[2:]) <= 0:
        return DatasetProblem("is a box without extent; left out", where, line[:80])
    x, y, width, height = values[:_BOX_NUMBERS].tolist()
    return ObjectAnnotation(
        where=where,
        class_name=classes[int(class_id)],
        box_xyxy=(x - width / 2, y - height / 2, x + width / 2, y + height / 2) if is_box else None,
        outline=None if is_box else (values.reshape(-1, 2),),
        confidence=confidence if confidence is not None and 0 <= confidence <= 1 else None,
    )
