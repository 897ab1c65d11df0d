"""YOLO datasets: rows of outlines, of boxes, or of both.

``data.yaml``, in the forms that Ultralytics reads:

    path: ../datasets/mine         optional; absolute, or relative to the file
    train: images/train            a folder, a .txt that lists images, or a list of these
    val: [images/a, images/b]
    names: [person, car]           or a mapping: {0: person, 2: car}

If no split is named, the images are those in ``images``. The labels of ``…/images/sub/a.jpg`` are
in ``…/labels/sub/a.txt``, where the last folder called ``images`` is replaced; labels of images in
no such folder are beside them.

A row of five numbers is a box (``class x y width height``), a longer one an outline (``class x1 y1
x2 y2 …``); one number more is a confidence, as Ultralytics writes predictions. An outline is filled
by the even-odd rule, as Ultralytics fills it, so that holes and parts joined by zero-width bridges
are restored. Coordinates are fractions of the upright image.

The paths of all label files are in memory, to find labels without an image.

Format: https://docs.ultralytics.com/datasets/segment/
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from grounded_sam2.errors import DatasetError, printable
from grounded_sam2.importers.dataset import (
    AnnotatedImage,
    DatasetProblem,
    ImportOptions,
    ObjectAnnotation,
)
from grounded_sam2.importers.splits import canonical_split, item_id_in_split
from grounded_sam2.sources.folder import IMAGE_EXTENSIONS
from grounded_sam2.sources.names import UniqueIds
from grounded_sam2.sources.refs import FailedRef, ImageRef
from grounded_sam2.sources.walk import walk

__all__ = ["find_data_yaml", "open_yolo"]

_SPLITS = ("train", "val", "valid", "test")
_NO_SPLIT = ""
_USUAL_NAMES = ("data.yaml", "data.yml", "dataset.yaml")
_IMAGES, _LABELS = f"{os.sep}images{os.sep}", f"{os.sep}labels{os.sep}"
_BOX_NUMBERS = 4
_MIN_OUTLINE_NUMBERS = 6
_TOLERANCE = 0.01
"""How far outside of 0 to 1 a coordinate may lie; the same as in Ultralytics."""
_NO_LABELS = ("classes.txt",)
"""Files that other programs write into the folders of labels."""


@dataclass(frozen=True, slots=True)
class _DataYaml:
    """The contents of a ``data.yaml``."""

    classes: Mapping[int, str]
    """Names by number, in the order of the numbers."""
    splits: Mapping[str, tuple[Path, ...]]
    """Existing folders and lists of images of each split, each in one split only. If the file names
    none, the folder ``images`` under the empty split name."""
    missing: tuple[str, ...]
    """Entries that do not exist, as they are written."""


def find_data_yaml(path: Path) -> Path | None:
    """Return the ``data.yaml`` of a dataset: the path itself, the usual name, or the only YAML."""
    if path.is_file():
        return path if path.suffix.lower() in (".yaml", ".yml") else None
    for name in _USUAL_NAMES:
        if (path / name).is_file():
            return path / name
    others = [*path.glob("*.yaml"), *path.glob("*.yml")]
    return others[0] if len(others) == 1 else None


@contextmanager
def open_yolo(path: Path, options: ImportOptions) -> Iterator[_YoloDataset]:
    """Open a dataset. See `grounded_sam2.importers.label_import.Importer`.

    Raises:
        DatasetError: there is no ``data.yaml``, or it lacks required entries.
    """
    file = find_data_yaml(path)
    if file is None:
        raise DatasetError(
            f"'{path}': no data.yaml; write one with names, train and val, as Ultralytics needs it"
        )
    yield _YoloDataset(_read_data_yaml(file, options.images))


@dataclass(frozen=True, slots=True)
class _YoloDataset:
    yaml: _DataYaml
    label_files: set[str] = field(default_factory=set)
    """Label files of the images read so far, existing or not."""

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.yaml.classes.values()))

    def item_ids(self) -> Iterator[str]:
        for ref in self._image_refs():
            yield ref.item_id

    def images(self) -> Iterator[AnnotatedImage]:
        for ref in self._image_refs():
            labels = _labels_path(ref.path.absolute()).with_suffix(".txt")
            self.label_files.add(os.fspath(labels))
            try:
                text = labels.read_text(encoding="utf-8-sig")
            except FileNotFoundError:
                text = ""  # background
            except (OSError, UnicodeDecodeError) as error:
                # Not background: there are labels that cannot be read.
                reason = f"labels '{printable(labels)}' cannot be read: {error}"
                yield AnnotatedImage(FailedRef(ref.item_id, ref.path, reason))
                continue
            objects, problems = _parse_label_file(text, self.yaml.classes)
            yield AnnotatedImage(ref, objects, problems, normalized=True)

    def unassigned(self) -> Iterator[DatasetProblem]:
        for entry in self.yaml.missing:
            yield DatasetProblem("paths in data.yaml that do not exist; left out", entry)
        for paths in self.yaml.splits.values():
            for path in paths:
                if path.is_dir():
                    yield from self._labels_without_image(
                        _labels_path(path.absolute() / "_").parent
                    )

    def _labels_without_image(self, folder: Path) -> Iterator[DatasetProblem]:
        if not folder.is_dir():
            return
        for found in walk(folder):
            is_labels = found.name.endswith(".txt") and Path(found.path).name not in _NO_LABELS
            if is_labels and found.path not in self.label_files:
                yield DatasetProblem("labels without an image; left out", printable(found.path))

    def _image_refs(self) -> Iterator[ImageRef]:
        ids = UniqueIds()
        for split, paths in self.yaml.splits.items():
            root = Path(os.path.commonpath(paths))
            for path in paths:
                for image in _images_in_list(path) if path.is_file() else _images_in_folder(path):
                    item_id = item_id_in_split(_name_in_split(image, path, root), split or None)
                    yield ImageRef(ids.claim(item_id, otherwise=path.stem), image)


def _images_in_folder(folder: Path) -> Iterator[Path]:
    for found in walk(folder):
        if found.failure is not None:
            raise DatasetError(f"'{printable(found.path)}' cannot be listed: {found.failure}")
        if found.name.lower().endswith(IMAGE_EXTENSIONS):
            yield Path(found.path)


def _images_in_list(file: Path) -> Iterator[Path]:
    """The images that a text file lists, a path per line, relative to the file."""
    try:
        with file.open(encoding="utf-8-sig") as lines:
            for line in lines:
                if line.strip():
                    yield Path(os.path.normpath(file.parent / line.strip()))
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"'{file}' cannot be read: {error}") from error


def _name_in_split(image: Path, listed_by: Path, root: Path) -> str:
    """The name of an image within its split."""
    if listed_by.is_file():
        _, images, below = image.as_posix().rpartition("/images/")
        return below if images else image.name
    return image.relative_to(root).as_posix()


def _labels_path(path: Path) -> Path:
    """A path with its last folder called ``images`` replaced by ``labels``."""
    before, images, after = str(path).rpartition(_IMAGES)
    return Path(before + _LABELS + after) if images else path


def _parse_label_file(
    text: str, classes: Mapping[int, str]
) -> tuple[tuple[ObjectAnnotation, ...], tuple[DatasetProblem, ...]]:
    objects, problems = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        parsed = _parse_row(line, classes, f"line {number}")
        if isinstance(parsed, ObjectAnnotation):
            objects.append(parsed)
        else:
            problems.append(parsed)
    return tuple(objects), tuple(problems)


def _parse_row(
    line: str, classes: Mapping[int, str], where: str
) -> ObjectAnnotation | DatasetProblem:
    try:
        class_id, *numbers = (float(word) for word in line.split())
        values = np.array(numbers)
    except ValueError:
        return DatasetProblem("contains something that is not a number; left out", where, line[:80])
    if class_id not in classes:
        reason = "of a class that data.yaml does not name; left out"
        return DatasetProblem(reason, where, f"{class_id:g}")
    confidence = None
    if len(values) % 2:
        confidence, values = float(values[-1]), values[:-1]
    if len(values) != _BOX_NUMBERS and len(values) < _MIN_OUTLINE_NUMBERS:
        reason = "has too few numbers for a box or an outline; left out"
        return DatasetProblem(reason, where, line[:80])
    if not np.isfinite(values).all() or values.min() < -_TOLERANCE or values.max() > 1 + _TOLERANCE:
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


def _read_data_yaml(path: Path, images: Path | None) -> _DataYaml:
    """Read a ``data.yaml``.

    Args:
        path: the file.
        images: folder that its paths are relative to, whatever it declares; ``None`` to use what it
            declares.

    Raises:
        DatasetError: it cannot be read, names no classes, or none of its paths exists.
    """
    values = _load_yaml(path)
    if "kpt_shape" in values:
        raise DatasetError(f"'{path}' is a dataset of poses; only outlines and boxes are imported")
    roots = _root_folders(path, values.get("path"), images)
    splits: dict[str, list[Path]] = {}
    missing = []
    for split in _SPLITS:
        value = values.get(split)
        for entry in value if isinstance(value, list) else [value]:
            found = _find_path(str(entry), roots) if entry else None
            if found is not None:
                splits.setdefault(split, []).append(found)
            elif entry:
                missing.append(f"{split}: {printable(entry)}")
    if not splits and not missing and (found := _find_path("images", roots)) is not None:
        splits[_NO_SPLIT] = [found]  # as supervision writes it, with names only
    if not splits:
        raise DatasetError(
            f"'{path}': its images do not exist ({'; '.join(missing) or 'it names none'}; from "
            f"'{roots[0]}'); correct train and val, or give the folder of the images (images)"
        )
    classes = _parse_names(path, values.get("names"))
    return _DataYaml(classes, _without_duplicates(splits), tuple(missing))


def _load_yaml(path: Path) -> Mapping[str, Any]:
    try:
        values = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise DatasetError(f"'{path}' cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise DatasetError(f"'{path}' is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise DatasetError(f"'{path}' is not a data.yaml; it has no names")
    return values


def _parse_names(path: Path, names: Any) -> Mapping[int, str]:
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise DatasetError(f"'{path}' names no classes; add them, such as names: [person, car]")
    try:
        return {int(number): printable(names[number]) for number in sorted(names, key=int)}
    except (TypeError, ValueError) as error:
        raise DatasetError(f"'{path}': names must be a list, or numbers with names") from error


def _root_folders(path: Path, declared: Any, images: Path | None) -> list[Path]:
    """Folders that entries may be relative to, the most likely first."""
    beside = path.absolute().parent
    if images is not None:
        return [images.absolute(), beside]
    return [beside / str(declared), beside] if declared else [beside]


def _find_path(entry: str, roots: Sequence[Path]) -> Path | None:
    for root in roots:
        # Some tools write "../train/images" into a file that lies beside "train".
        for relative in dict.fromkeys((entry, entry.removeprefix("../"))):
            if (root / relative).exists():
                return Path(os.path.normpath(root / relative))
    return None


def _without_duplicates(splits: Mapping[str, Sequence[Path]]) -> dict[str, tuple[Path, ...]]:
    """Each path in one split: Ultralytics requires two splits, so some datasets name one twice."""
    split_of: dict[Path, str] = {}
    for split, paths in splits.items():
        for path in paths:
            if path not in split_of or canonical_split(path.name) == canonical_split(split):
                split_of[path] = split
    unique: dict[str, tuple[Path, ...]] = {}
    for path, split in split_of.items():
        name = canonical_split(split) or split
        unique[name] = (*unique.get(name, ()), path)
    return unique
