"""Where an image of a dataset comes from, and in which form it goes in.

A file goes in without a change if that can be. An image whose EXIF orientation is not 1 is the
exception: readers disagree on turning it, so it is written upright. JPEG stays JPEG, at quality 95
without chroma subsampling: its blocks do not survive every turn, and this is where another
generation can no longer be seen. All others are written without loss. Such an image becomes what
the models saw, 8-bit RGB, and loses its metadata. So does one that the format's readers cannot
decode, whatever its ending says.

A frame of a video is no file yet, and is written as one; frames that are files of a folder are
files as any.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

from grounded_sam2.config import ImageConfig
from grounded_sam2.errors import ImageError
from grounded_sam2.exporters.file_names import ImageFileRules
from grounded_sam2.exporters.frames import FrameReader, SkipImage
from grounded_sam2.exporters.image_types import detect_image_type
from grounded_sam2.exporters.options import ExportOptions
from grounded_sam2.results import Image
from grounded_sam2.sources.fingerprint import is_same_file
from grounded_sam2.sources.image import load_image, read_image_header
from grounded_sam2.sources.pixels import to_pillow
from grounded_sam2.store import Item, LabelStore

__all__ = ["SourceImage", "SourceImages", "find_source_image"]

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
"""How to write an image upright, by the ending of its name; all others become PNG."""


class SourceImage(Protocol):
    """An image before it is in a dataset."""

    @property
    def suffix(self) -> str:
        """The ending that its name in the dataset gets."""
        ...

    @property
    def path(self) -> Path:
        """The file that it is read from."""
        ...

    def put(self, target: Path, mode: str) -> str | None:
        """Put it where it shall be: ``copy``, ``link`` or ``symlink``.

        Returns:
            What to tell the user, as what stands before a number of images; mostly nothing.

        Raises:
            SkipImage: it cannot be decoded any more.
            OSError: it cannot be read or written.
        """
        ...

    def read(self) -> bytes:
        """The bytes of its file in the dataset. Raises as `put` does."""
        ...


class SourceImages:
    """Finds the originals of items, one after the other in the store's order. Close after use."""

    def __init__(self, store: LabelStore, options: ExportOptions, rules: ImageFileRules) -> None:
        self._options = options
        self._rules = rules
        self._frames = FrameReader(store.videos(options.run_id), options.images_from)

    def of(self, item: Item) -> SourceImage:
        """The original of an item.

        Raises:
            SkipImage: there is none any more.
        """
        assert item.size_hw is not None, "a labeled item has a size"
        if item.frame_index is None:
            path = find_source_image(item, self._options.images_from)
            return self._file(path, item.size_hw, item.exif_orientation)
        file = self._frames.file_of(item)
        if file is not None:
            try:
                return self._file(file, item.size_hw, read_image_header(file).exif_orientation)
            except ImageError as error:
                raise SkipImage("cannot be decoded any more") from error
        suffix, _ = self._rules.suffix(f".{self._options.frame_format}")
        return _Frame(item, suffix, self._frames, self._options.frame_quality)

    def close(self) -> None:
        """Let go of the video that was read last."""
        self._frames.close()

    def _file(self, path: Path, size_hw: tuple[int, int], orientation: int) -> _File:
        suffix, rewrite = self._rules.suffix(path.suffix)
        if orientation != 1:
            rewrite, suffix = True, suffix if suffix.lower() in _WRITERS else ".png"
        elif not rewrite and detect_image_type(path) not in self._rules.contents:
            # It is called what it is not: nothing says that it has lost something to JPEG before.
            lossless = _WRITERS.get(suffix.lower(), _JPEG) is not _JPEG
            rewrite, suffix = True, suffix if lossless else self._rules.substitute
        return _File(path, suffix, rewrite, size_hw)


def find_source_image(item: Item, images_from: Path | None) -> Path:
    """The file of an image, which is still what was labeled.

    Args:
        item: the image; no frame of a video.
        images_from: folder to find it in by its id; ``None`` for where it was.

    Raises:
        SkipImage: it never was a file, is gone, or has changed.
    """
    if item.frame_index is not None:
        raise SkipImage("are frames of videos")
    path = item.path if images_from is None else images_from / item.item_id
    if path is None:
        raise SkipImage("were never files")
    try:
        same = is_same_file(path, stamp=item.file_stamp, content_hash=item.content_hash)
    except (OSError, ValueError) as error:
        raise SkipImage("are gone; say where they are now (images_from)") from error
    if not same:
        raise SkipImage("have changed since they were labeled; label again")
    return path


@dataclass(frozen=True, slots=True)
class _File:
    """An image that is a file, and whether it has to be written anew."""

    path: Path
    suffix: str
    rewrite: bool
    size_hw: tuple[int, int]

    def put(self, target: Path, mode: str) -> str | None:
        if self.rewrite:
            target.write_bytes(self._upright())
        elif not _place(self.path, target, mode):
            return "pictures that could not be linked and were copied"
        return None

    def read(self) -> bytes:
        return self._upright() if self.rewrite else self.path.read_bytes()

    def _upright(self) -> bytes:
        height, width = self.size_hw
        try:
            limits = ImageConfig(max_pixels=height * width)
            image = load_image(self.path, config=limits)
        except ImageError as error:
            raise SkipImage("cannot be decoded any more") from error
        return _written(image, _WRITERS[self.suffix.lower()])


@dataclass(frozen=True, slots=True)
class _Frame:
    """An image within the file of a video."""

    item: Item
    suffix: str
    frames: FrameReader
    quality: int

    @property
    def path(self) -> Path:
        assert self.item.path is not None, "its video was found"
        return self.item.path

    def put(self, target: Path, mode: str) -> str | None:
        target.write_bytes(self.read())
        return None if mode == "copy" else "frames of videos, which cannot be linked, written"

    def read(self) -> bytes:
        how = _WRITERS[self.suffix.lower()]
        return _written(
            self.frames.image(self.item), how | {"quality": self.quality} if how is _JPEG else how
        )


def _written(image: Image, how: dict[str, Any]) -> bytes:
    written = BytesIO()
    to_pillow(image).save(written, **how)
    return written.getvalue()


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
