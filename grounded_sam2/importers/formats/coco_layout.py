"""Where COCO datasets keep their annotations and their images.

annotations/instances_train2017.json    images in train2017/ or images/train2017/, as COCO
annotations/instances_train.json        images in images/train/, as our own export
train/_annotations.coco.json            images beside it, as Roboflow
labels.json                             images beside it, in images/ or in data/
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from grounded_sam2.errors import DatasetError
from grounded_sam2.importers.json_stream import first_key
from grounded_sam2.importers.splits import canonical_split, split_in_name

__all__ = ["AnnotationFile", "annotation_files", "find_image"]

_TOP_KEYS = ("info", "licenses", "images", "annotations", "categories", "type")
_OTHER_TASKS = re.compile(r"(captions|person_keypoints|stuff|panoptic|image_info)_")
_INSTANCES = "instances_"
_ABSOLUTE = re.compile(r"/|[A-Za-z]:/|[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class AnnotationFile:
    """One JSON file, and where the images may be that it speaks of."""

    path: Path
    split: str | None
    """What the ids of its images begin with; ``None`` where they need nothing."""
    folders: tuple[Path, ...]
    """To look in, in this order."""


def annotation_files(path: Path, images: Path | None = None) -> list[AnnotationFile]:
    """The annotations of a dataset.

    Args:
        path: its folder, or one JSON file. Of a folder with ``instances_*.json``, only those are
            taken: the others say other things of the same images.
        images: folder of the images; ``None`` to look where the layouts above have them.

    Returns:
        One at least, in the order of their names.

    Raises:
        DatasetError: there are none.
    """
    if path.is_file():
        found = [path]
    else:
        found = [each for each in sorted(_candidates(path)) if first_key(each) in _TOP_KEYS]
        found = [each for each in found if each.name.startswith(_INSTANCES)] or found
    if not found:
        raise DatasetError(
            f"'{path}': no COCO annotations; looked for JSON files with images, annotations and "
            "categories in it, in its 'annotations' and in its folders"
        )
    return [
        AnnotationFile(each, _split(each, len(found) == 1), tuple(_folders(each, images)))
        for each in found
    ]


def find_image(name: str, folders: tuple[Path, ...]) -> tuple[str, Path] | None:
    """The file of an image.

    Args:
        name: ``file_name`` of the annotations: a path below one of the folders. Of an absolute
            path or an address, written on another machine, the longest end that is there counts.
        folders: to look in.

    Returns:
        Its path below the folder (its bare name, if it lies elsewhere), and the file; ``None`` if
        there is none.
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


def _candidates(folder: Path) -> Iterator[Path]:
    for pattern in ("*.json", "*/*.json"):
        for path in folder.glob(pattern):
            if not path.name.startswith(".") and not _OTHER_TASKS.match(path.name):
                yield path


def _split(path: Path, only_one: bool) -> str | None:
    named = split_in_name(path.stem) or canonical_split(path.parent.name)
    return named if named is not None or only_one else path.stem


def _folders(path: Path, images: Path | None) -> Iterator[Path]:
    """Folders that exist, each once."""
    stem = path.stem.removeprefix(_INSTANCES)
    names = dict.fromkeys((stem, split_in_name(stem) or stem))
    if images is not None:
        wanted = [*(images / name for name in names), images]
    else:
        base = path.parent.parent if path.parent.name == "annotations" else path.parent
        wanted = [path.parent]
        wanted += [base / "images" / name for name in names]
        wanted += [base / name for name in names]
        wanted += [base / "images", base / "data", base]
    return (folder for folder in dict.fromkeys(wanted) if folder.is_dir())


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long for a file, or with a NUL in it
        return False
