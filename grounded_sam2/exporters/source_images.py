"""How the images of a store are written into a dataset; `grounded_sam2.store.images` finds them.

An image file is copied or linked unchanged where possible. An image whose EXIF orientation is not
1 is the exception: readers disagree about applying it, so it is re-encoded upright. JPEG stays
JPEG, at quality 95 without chroma subsampling: its blocks do not survive every rotation, and at
this quality the generation loss is invisible. All other types are written without loss. Such an
image becomes what the models saw, 8-bit RGB, and loses its metadata. An image that the readers of
the format cannot decode, whatever its suffix, is re-encoded in the same way.

A frame inside a video file is always encoded; frames that are files of a folder are treated like
other image files.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

from grounded_sam2.exporters.file_names import ImageFileRules
from grounded_sam2.exporters.image_types import detect_image_type
from grounded_sam2.exporters.options import ExportOptions
from grounded_sam2.results import Image
from grounded_sam2.sources.pixels import to_pillow
from grounded_sam2.store import Item, ItemImage, ItemImages, LabelStore

__all__ = ["SourceImage", "SourceImages"]

_JPEG: dict[str, Any] = {"format": "JPEG", "quality": 95, "subsampling": 0}
_TIFF: dict[str, Any] = {"format": "TIFF"}
_ENCODERS = {
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".jpe": _JPEG,
    ".jfif": _JPEG,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".png": {"format": "PNG"},
    ".webp": {"format": "WEBP", "lossless": True},
}
"""Arguments of Pillow's ``save`` for re-encoding, by suffix; images of other types become PNG."""


class SourceImage(Protocol):
    """An image that goes into a dataset."""

    @property
    def suffix(self) -> str:
        """The suffix of its name in the dataset."""
        ...

    @property
    def path(self) -> Path:
        """The file that it is read from."""
        ...

    def write_to(self, target: Path, mode: str) -> str | None:
        """Write, or place by ``mode`` (``copy``, ``link`` or ``symlink``), the image at a path.

        Returns:
            A remark for the user, to be shown with a number of images; usually none.

        Raises:
            UnavailableImageError: it cannot be decoded any more.
            OSError: it cannot be read or written.
        """
        ...

    def read(self) -> bytes:
        """Return the bytes of its file in the dataset. Raises as `write_to` does."""
        ...


class SourceImages:
    """Finder of the source images of items, called in the order of the store. Close after use."""

    def __init__(self, store: LabelStore, options: ExportOptions, rules: ImageFileRules) -> None:
        self._options = options
        self._rules = rules
        self._images = ItemImages.of_run(store, options.run_id, images_from=options.images_from)

    def find(self, item: Item) -> SourceImage:
        """Return the source image of an item.

        Raises:
            UnavailableImageError: it is missing or has changed.
        """
        image = self._images.find(item)
        if image.in_video:
            suffix, _ = self._rules.suffix(f".{self._options.frame_format}")
            return _FrameInVideo(image, suffix, self._options.frame_quality)
        return self._file(image)

    def close(self) -> None:
        """Close the open video."""
        self._images.close()

    def _file(self, image: ItemImage) -> _ImageFile:
        suffix, reencode = self._rules.suffix(image.path.suffix)
        if image.exif_orientation() != 1:
            reencode, suffix = True, suffix if suffix.lower() in _ENCODERS else ".png"
        elif not reencode and detect_image_type(image.path) not in self._rules.types:
            # The suffix is wrong, so it is no evidence that the image was a JPEG before: encode
            # without loss.
            lossless = _ENCODERS.get(suffix.lower(), _JPEG) is not _JPEG
            reencode, suffix = True, suffix if lossless else self._rules.fallback_suffix
        return _ImageFile(image, suffix, reencode)


@dataclass(frozen=True, slots=True)
class _ImageFile:
    """An image file, and whether it has to be re-encoded."""

    image: ItemImage
    suffix: str
    reencode: bool

    @property
    def path(self) -> Path:
        return self.image.path

    def write_to(self, target: Path, mode: str) -> str | None:
        if self.reencode:
            target.write_bytes(self._reencoded())
        elif not _place(self.path, target, mode):
            return "images that could not be linked and were copied"
        return None

    def read(self) -> bytes:
        return self._reencoded() if self.reencode else self.path.read_bytes()

    def _reencoded(self) -> bytes:
        return _encode(self.image.decode(), _ENCODERS[self.suffix.lower()])


@dataclass(frozen=True, slots=True)
class _FrameInVideo:
    """A frame inside a video file."""

    image: ItemImage
    suffix: str
    quality: int

    @property
    def path(self) -> Path:
        return self.image.path

    def write_to(self, target: Path, mode: str) -> str | None:
        target.write_bytes(self.read())
        return None if mode == "copy" else "frames of videos, which cannot be linked, written"

    def read(self) -> bytes:
        encoder = _ENCODERS[self.suffix.lower()]
        if encoder is _JPEG:
            encoder = encoder | {"quality": self.quality}
        return _encode(self.image.decode(), encoder)


def _encode(image: Image, encoder: dict[str, Any]) -> bytes:
    buffer = BytesIO()
    to_pillow(image).save(buffer, **encoder)
    return buffer.getvalue()


def _place(source: Path, target: Path, mode: str) -> bool:
    """Copy or link a file; return false if a hard link failed and the file was copied."""
    if mode == "symlink":
        target.symlink_to(os.path.abspath(source))  # noqa: PTH100  (resolve() follows links)
        return True
    if mode == "link":
        try:
            # A hard link to a symbolic link would break with it; linked parent folders do no harm.
            target.hardlink_to(source.resolve() if source.is_symlink() else source)
            return True
        except OSError:  # another file system, or one without hard links
            pass
    shutil.copyfile(source, target)
    return mode == "copy"
