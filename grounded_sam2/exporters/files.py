"""The pictures of a dataset, put in place without touching their pixels if that can be.

A picture whose EXIF orientation is not 1 is the exception: readers disagree on turning it, so it
is written upright. JPEG stays JPEG, at quality 95 without chroma subsampling: its blocks do not
survive every turn, and this is where another generation can no longer be seen. All others are
written without loss. Such a picture becomes what the models saw, 8-bit RGB, and loses its metadata.
So does one that the format's readers cannot decode, whatever its ending says.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from grounded_sam2.config import ImageConfig
from grounded_sam2.errors import ImageError
from grounded_sam2.exporters.contents import content_of
from grounded_sam2.exporters.names import NameRules, UniqueNames
from grounded_sam2.exporters.options import ExportOptions, Tally
from grounded_sam2.exporters.splits import split_of
from grounded_sam2.exporters.thresholds import chosen_labels
from grounded_sam2.results import Labels
from grounded_sam2.sources.image import load_image
from grounded_sam2.sources.pixels import to_pillow
from grounded_sam2.sources.stamps import is_same_file
from grounded_sam2.store import Item, LabelStore

__all__ = ["Folders", "LeftOut", "PlacedPicture", "find_picture", "place_pictures", "read_pictures"]

_T = TypeVar("_T")

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
_FOLDERS = 1000
"""To be remembered."""


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
    split_folders: bool = True,
) -> Iterator[PlacedPicture]:
    """Put the labeled pictures of a run into ``images/<split>/``, in the order of their ids.

    Left out, and counted as such, are pictures that are gone, that are not what was labeled any
    more, or that have a side of fewer than `min_side` pixels; and objects below the thresholds.

    Args:
        store: labels and places of the pictures.
        images: the folder of all splits; made as needed.
        options: splits, how to place, where to look.
        tally: counts pictures and what is left out.
        rules: what the format asks of names.
        min_side: smallest side that the format's readers take, in pixels.
        split_folders: whether each split has a folder; if not, all go into `images` itself.
    """

    folders = Folders()

    def put(picture: PlacedPicture, file: _File) -> None:
        target = (images / picture.split if split_folders else images) / picture.name
        folders.make(target.parent)
        if file.rewrite:
            target.write_bytes(file.upright(target.suffix, picture.labels.size_hw))
        elif not _place(file.path, target, options.images):
            tally.remark("pictures that could not be linked and were copied")

    for picture, _ in _each(store, options, tally, rules, min_side, put):
        yield picture


def read_pictures(
    store: LabelStore, options: ExportOptions, tally: Tally, *, rules: NameRules
) -> Iterator[tuple[PlacedPicture, bytes]]:
    """As `place_pictures`, for formats that hold pictures in their own files.

    Yields:
        Each picture and the bytes of its file, upright.
    """

    def read(picture: PlacedPicture, file: _File) -> bytes:
        if file.rewrite:
            return file.upright(picture.name.suffix, picture.labels.size_hw)
        return file.path.read_bytes()

    yield from _each(store, options, tally, rules, 1, read)


class Folders:
    """Folders made as needed; the file system is not asked again for those made last."""

    def __init__(self) -> None:
        self._made: set[Path] = set()

    def make(self, folder: Path) -> None:
        """Make a folder and those above it, if they are not there."""
        if folder not in self._made:
            folder.mkdir(parents=True, exist_ok=True)
            if len(self._made) >= _FOLDERS:  # there may be as many as pictures
                self._made.clear()
            self._made.add(folder)


class LeftOut(Exception):  # noqa: N818  (no error: the export goes on)
    """Why pictures cannot be used, as what follows their number."""


@dataclass(frozen=True, slots=True)
class _File:
    """Where a picture comes from, and whether it has to be written anew."""

    path: Path
    rewrite: bool

    def upright(self, suffix: str, size_hw: tuple[int, int]) -> bytes:
        """The picture without an orientation, in the format of this ending."""
        height, width = size_hw
        try:
            limits = ImageConfig(max_pixels=height * width)
            picture = to_pillow(load_image(self.path, config=limits))
        except ImageError as error:
            raise LeftOut("cannot be decoded any more") from error
        written = BytesIO()
        picture.save(written, **_WRITERS[suffix.lower()])
        return written.getvalue()


def _each(
    store: LabelStore,
    options: ExportOptions,
    tally: Tally,
    rules: NameRules,
    min_side: int,
    take: Callable[[PlacedPicture, _File], _T],
) -> Iterator[tuple[PlacedPicture, _T]]:
    """The pictures of an export, and what is made of their files."""
    with closing(UniqueNames(rules)) as names:
        for item, labels in chosen_labels(store, options):
            try:
                path = find_picture(item, options.pictures_from)
                if min(labels.size_hw) < min_side:
                    raise LeftOut(f"have a side of fewer than {min_side} pixels: readers refuse")
                rewrite, suffix = _ending(path, item, rules)
                split = split_of(
                    item, options.split, options.seed, by_folder=options.split_by == "folder"
                )
                objects = tuple(label for label in labels.objects if options.takes(label))
                picture = PlacedPicture(
                    labels=replace(labels, objects=objects),
                    split=split,
                    name=names.claim(item.item_id, suffix),
                )
                taken = take(picture, _File(path, rewrite))
            except LeftOut as reason:
                tally.skip(item.item_id, str(reason))
                continue
            except OSError:
                if _can_be_read(path):
                    raise  # what cannot be written is not the picture's fault
                tally.skip(item.item_id, "cannot be read any more")
                continue
            tally.images[split] += 1
            tally.remark("objects below the thresholds, left out", len(labels) - len(objects))
            yield picture, taken


def _can_be_read(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError:
        return False
    return True


def find_picture(item: Item, pictures_from: Path | None) -> Path:
    """The file of a picture, which is still what was labeled.

    Args:
        item: the picture.
        pictures_from: folder to find it in by its id; ``None`` for where it was.

    Raises:
        LeftOut: it never was a file, is gone, or has changed.
    """
    path = item.path if pictures_from is None else pictures_from / item.item_id
    if path is None:
        raise LeftOut("were never files")
    try:
        same = is_same_file(path, stamp=item.file_stamp, content_hash=item.content_hash)
    except (OSError, ValueError) as error:
        raise LeftOut("are gone; say where they are now (pictures_from)") from error
    if not same:
        raise LeftOut("have changed since they were labeled; label again")
    return path


def _ending(source: Path, item: Item, rules: NameRules) -> tuple[bool, str]:
    """Whether a picture has to be written anew, and the ending of its name."""
    suffix, rewrite = rules.suffix(source.suffix)
    if item.exif_orientation != 1:
        return True, suffix if suffix.lower() in _WRITERS else ".png"
    if rewrite or content_of(source) in rules.contents:
        return rewrite, suffix
    # It is called what it is not: nothing says that it has lost something to JPEG before.
    lossless = _WRITERS.get(suffix.lower(), _JPEG) is not _JPEG
    return True, suffix if lossless else rules.substitute


def _place(source: Path, target: Path, mode: str) -> bool:
    """Put an unchanged file in place; false if it was to be linked and had to be copied."""
    if mode == "symlink":
        target.symlink_to(os.path.abspath(source))  # noqa: PTH100  (resolve() follows links)
        return True
    if mode == "link":
        try:
            # A link to a link would break with it; links among the folders above do no harm.
            target.hardlink_to(source.resolve() if source.is_symlink() else source)
            return True
        except OSError:  # another file system, or one without hard links
            pass
    shutil.copyfile(source, target)
    return mode == "copy"
