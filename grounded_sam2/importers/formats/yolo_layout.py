"""What a YOLO dataset says of itself: ``data.yaml`` in the forms that Ultralytics reads.

    path: ../datasets/mine         optional; absolute, or relative to the file
    train: images/train            a folder, a .txt that lists images, or a list of these
    val: [images/a, images/b]
    names: [person, car]           or a mapping: {0: person, 2: car}

Without any split, the images are those in ``images``.

The labels of ``…/images/sub/a.jpg`` are in ``…/labels/sub/a.txt``, where the last folder called
``images`` counts; those of images in no such folder are beside them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from grounded_sam2.errors import DatasetError, printable
from grounded_sam2.importers.splits import canonical_split

__all__ = ["YoloYaml", "find_yaml", "labels_of_folder", "labels_of_image", "read_yaml"]

_SPLITS = ("train", "val", "valid", "test")
_NO_SPLIT = ""
_USUAL_NAMES = ("data.yaml", "data.yml", "dataset.yaml")
_IMAGES, _LABELS = f"{os.sep}images{os.sep}", f"{os.sep}labels{os.sep}"


@dataclass(frozen=True, slots=True)
class YoloYaml:
    """The contents of a ``data.yaml``."""

    path: Path
    classes: Mapping[int, str]
    """Names by number, in the order of the numbers."""
    splits: Mapping[str, tuple[Path, ...]]
    """Folders and lists of images of each split, each in one split only; those that exist. If it
    names none, those in ``images``, of a split without a name."""
    missing: tuple[str, ...]
    """Those that do not, as they are written."""


def find_yaml(path: Path) -> Path | None:
    """The ``data.yaml`` of a dataset: the file itself, that of a folder, or its only YAML file."""
    if path.is_file():
        return path if path.suffix.lower() in (".yaml", ".yml") else None
    for name in _USUAL_NAMES:
        if (path / name).is_file():
            return path / name
    others = [*path.glob("*.yaml"), *path.glob("*.yml")]
    return others[0] if len(others) == 1 else None


def labels_of_image(image: Path) -> Path:
    """Where the labels of an image are, if it has any."""
    return _in_labels(image.absolute()).with_suffix(".txt")


def labels_of_folder(images: Path) -> Path:
    """Where the labels of the images of a folder are."""
    return _in_labels(images.absolute() / "_").parent


def read_yaml(path: Path, images: Path | None) -> YoloYaml:
    """Read a ``data.yaml``.

    Args:
        path: the file.
        images: the folder that its places are in, whatever it says; ``None`` for what it says.

    Raises:
        DatasetError: it cannot be read, names no classes, or not one of its places exists.
    """
    values = _values(path)
    if "kpt_shape" in values:
        raise DatasetError(f"'{path}' is a dataset of poses; only outlines and boxes are imported")
    bases = _bases(path, values.get("path"), images)
    splits: dict[str, list[Path]] = {}
    missing = []
    for split in _SPLITS:
        given = values.get(split)
        for entry in given if isinstance(given, list) else [given]:
            place = _find(str(entry), bases) if entry else None
            if place is not None:
                splits.setdefault(split, []).append(place)
            elif entry:
                missing.append(f"{split}: {printable(entry)}")
    if not splits and not missing and (place := _find("images", bases)) is not None:
        splits[_NO_SPLIT] = [place]  # as supervision writes it, with names only
    if not splits:
        raise DatasetError(
            f"'{path}': its images are not there ({'; '.join(missing) or 'it names none'}; from "
            f"'{bases[0]}'); put train and val right, or say where they are (images)"
        )
    return YoloYaml(path, _classes(path, values.get("names")), _each_once(splits), tuple(missing))


def _in_labels(path: Path) -> Path:
    before, images, after = str(path).rpartition(_IMAGES)
    return Path(before + _LABELS + after) if images else path


def _values(path: Path) -> Mapping[str, Any]:
    try:
        values = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise DatasetError(f"'{path}' cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise DatasetError(f"'{path}' is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise DatasetError(f"'{path}' is no data.yaml; it holds no names")
    return values


def _classes(path: Path, names: Any) -> Mapping[int, str]:
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise DatasetError(f"'{path}' names no classes; add them, such as names: [person, car]")
    try:
        return {int(number): printable(names[number]) for number in sorted(names, key=int)}
    except (TypeError, ValueError) as error:
        raise DatasetError(f"'{path}': names must be a list, or numbers with names") from error


def _bases(path: Path, given: Any, images: Path | None) -> list[Path]:
    """Folders that places may be relative to, the likeliest first."""
    beside = path.absolute().parent
    if images is not None:
        return [images.absolute(), beside]
    return [beside / str(given), beside] if given else [beside]


def _find(entry: str, bases: Sequence[Path]) -> Path | None:
    for base in bases:
        # Some tools write "../train/images" into a file that lies beside "train".
        for place in dict.fromkeys((entry, entry.removeprefix("../"))):
            if (base / place).exists():
                return Path(os.path.normpath(base / place))
    return None


def _each_once(splits: Mapping[str, Sequence[Path]]) -> dict[str, tuple[Path, ...]]:
    """Every place in one split: Ultralytics asks for two, and gets one twice if there is one."""
    owner: dict[Path, str] = {}
    for split, places in splits.items():
        for place in places:
            if place not in owner or canonical_split(place.name) == canonical_split(split):
                owner[place] = split
    found: dict[str, tuple[Path, ...]] = {}
    for place, split in owner.items():
        name = canonical_split(split) or split
        found[name] = (*found.get(name, ()), place)
    return found
