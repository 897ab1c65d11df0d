"""The pictures of a dataset, put in place without touching their pixels if that can be.

A picture whose EXIF orientation is not 1 is the exception: readers disagree on turning it, so it
is written upright. JPEG stays JPEG, at quality 95 without chroma subsampling: its blocks do not
survive every turn, and this is where another generation can no longer be seen. All others are
written without loss. Such a picture becomes what the models saw, 8-bit RGB, and loses its metadata.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import PIL.Image

from grounded_sam2.config import ImageConfig
from grounded_sam2.errors import ImageError
from grounded_sam2.exporters.names import NameRules, UniqueNames
from grounded_sam2.exporters.options import ExportOptions, Tally
from grounded_sam2.exporters.splits import split_of
from grounded_sam2.results import Labels
from grounded_sam2.sources.image import load_image
from grounded_sam2.store import Item, LabelStore
from grounded_sam2.store.stamps import is_same_file

__all__ = ["PlacedPicture", "place_pictures"]

_JPEG: dict[str, Any] = {"format": "JPEG", "quality": 95, "subsampling": 0}
_TIFF: dict[str, Any] = {"format": "TIFF"}
_WRITERS = {
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".jpe": _JPEG,
    ".jfif": _JPEG,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".png": {"format": "PNG"},
    ".webp": {"format": "WEBP", "lossless": True},
}
"""How to write a picture upright, by the ending of its name; all others become PNG."""


@dataclass(frozen=True, slots=True)
class PlacedPicture:
    """A picture that is in the dataset, and its labels."""

    labels: Labels
    split: str
    name: PurePosixPath
    """Path below the folder of its split."""


def place_pictures(
    store: LabelStore,
    images: Path,
    options: ExportOptions,
    tally: Tally,
    *,
    rules: NameRules,
    min_side: int = 1,
) -> Iterator[PlacedPicture]:
    """Put the labeled pictures of a run into ``images/<split>/``, in the order of their ids.

    Left out, and counted as such, are pictures that are gone, that are not what was labeled any
    more, or that have a side of fewer than `min_side` pixels.

    Args:
        store: labels and places of the pictures.
        images: the folder of all splits; made as needed.
        options: splits, how to place, where to look.
        tally: counts pictures and what is left out.
        rules: what the format asks of names.
        min_side: smallest side that the format's readers take, in pixels.
    """
    with closing(UniqueNames(rules)) as names:
        for item, labels in store.labels(options.run_id):
            try:
                source = _source(item, options)
                if min(labels.size_hw) < min_side:
                    raise _LeftOut(f"have a side of fewer than {min_side} pixels: readers refuse")
                reencode, suffix = _ending(source, item, rules)
                split = split_of(item, options.split, options.seed)
                name = names.claim(item.item_id, suffix)
                target = images / split / name
                target.parent.mkdir(parents=True, exist_ok=True)
                if reencode:
                    _write_upright(source, target, labels.size_hw)
                else:
                    tally.copied_links += not _place(source, target, options.images)
            except _LeftOut as reason:
                tally.skip(item.item_id, str(reason))
                continue
            tally.images[split] += 1
            yield PlacedPicture(labels, split, name)


class _LeftOut(Exception):  # noqa: N818  (no error: the export goes on)
    """Why pictures are not in the export, as what follows their number."""


def _source(item: Item, options: ExportOptions) -> Path:
    """The file of a picture, which is still what was labeled."""
    path = item.path
    if options.pictures_from is not None:
        path = options.pictures_from / item.item_id
    if path is None:
        raise _LeftOut("were never files")
    try:
        same = is_same_file(path, stamp=item.file_stamp, content_hash=item.content_hash)
    except (OSError, ValueError) as error:
        raise _LeftOut("are gone; say where they are now (pictures_from)") from error
    if not same:
        raise _LeftOut("have changed since they were labeled; label again")
    return path


def _ending(source: Path, item: Item, rules: NameRules) -> tuple[bool, str]:
    """Whether a picture has to be written anew, and the ending of its name."""
    suffix = rules.suffix(source.suffix)
    if item.exif_orientation != 1:
        return True, suffix if suffix.lower() in _WRITERS else ".png"
    return suffix == ".png" and source.suffix.lower() != ".png", suffix


def _place(source: Path, target: Path, mode: str) -> bool:
    """Put an unchanged file in place; false if it was to be linked and had to be copied."""
    if mode == "symlink":
        target.symlink_to(os.path.abspath(source))  # noqa: PTH100  (resolve() follows links)
        return True
    if mode == "link":
        try:
            target.hardlink_to(source.resolve())
            return True
        except OSError:  # another file system, or one without hard links
            pass
    shutil.copyfile(source, target)
    return mode == "copy"


def _write_upright(source: Path, target: Path, size_hw: tuple[int, int]) -> None:
    height, width = size_hw
    try:
        image = load_image(source, config=ImageConfig(max_pixels=height * width))
    except ImageError as error:
        raise _LeftOut("cannot be decoded any more") from error
    PIL.Image.fromarray(image).save(target, **_WRITERS[target.suffix.lower()])
