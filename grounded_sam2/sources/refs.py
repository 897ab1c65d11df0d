"""References to images: what an image source yields before any image is opened.

A reference holds names, not pixels. Loader threads ask it two things: whether the image is still
the labeled one (`ImageRef.stamp`, which does not read its bytes), and the path of its file
(`ImageRef.fetch`, which first copies what is no local file yet).

All references are frozen and picklable. `ImageRef`, `FailedRef` and
`grounded_sam2.sources.image_list.WebRef` are plain values. The two others carry a handle that
pickles by its options: `grounded_sam2.sources.remote.RemoteRef` the file system of fsspec,
`grounded_sam2.sources.table_source.RowRef` a reader, which opens its own files in another process.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from grounded_sam2.errors import (
    GroundedSAM2Error,
    ImageError,
    SourceError,
    one_line,
    printable,
)
from grounded_sam2.sources.fingerprint import file_stamp

__all__ = ["CachedRef", "FailedRef", "ImageRef", "ImageSource"]

_NOTES_FOLDER = ".fetched"


@dataclass(frozen=True, slots=True)
class ImageRef:
    """Reference to an image that has not been opened; the base class refers to a local file."""

    item_id: str
    """POSIX path relative to the source's root; bytes that are not UTF-8 are written ``\\xff``."""
    path: Path
    """Path of its file, which exists once `fetch` has returned."""

    def stamp(self) -> str:
        """Identifier of the current state of the image, obtained without reading its bytes.

        Raises:
            OSError: the file does not exist or its status cannot be read.
            ImageError: the path is invalid, such as one with a NUL byte.
            SourceError: the container of the image cannot be read.
        """
        try:
            return file_stamp(self.path)
        except ValueError as error:
            raise ImageError(f"image {printable(self.path)!r}: is no path: {error}") from error

    def is_local(self) -> bool:
        """Whether a local file is expected at `path`; the cached copy may have been deleted."""
        return True

    def fetch(self) -> Path:
        """Return the path of the image's file, present and current.

        Raises:
            OSError, ImageError, SourceError: it cannot be fetched; the message states the reason.
        """
        return self.path


@dataclass(frozen=True, slots=True)
class FailedRef(ImageRef):
    """Placeholder for a folder, shard or image that cannot be read, in its place in the order.

    It becomes a failed item with its reason: the run goes on and the failure stays visible. Once
    the original can be read, the source yields its images instead.
    """

    reason: str
    """What cannot be read, and why."""

    def stamp(self) -> str:
        """The reason: the item is retried only after the reason has changed."""
        return f"unreadable: {self.reason}"

    def fetch(self) -> Path:
        """Raise the reason.

        Raises:
            SourceError: always.
        """
        raise SourceError(self.reason)


@dataclass(frozen=True, slots=True)
class CachedRef(ImageRef, ABC):
    """An image stored elsewhere, of which a byte-for-byte copy is kept at `path`.

    Exports then need neither the network nor the dataset, and stay the same. A copy is written
    under another name, flushed to disk and renamed: a file that exists is whole, and labels that
    survive a power cut still have their image.

    ``.fetched/<name>.json`` beside the copies records the stamp of the original and that of the
    copy. While both match, nothing is fetched again.

    Subclasses define `stamp` and how to write the bytes.
    """

    def is_local(self) -> bool:
        """Whether a copy exists, current or not."""
        return self.path.is_file()

    def fetch(self) -> Path:
        """Return the path of the copy; make it first if it is missing or out of date."""
        stamp = self.stamp()
        if self._recorded_stamps() == [stamp, self._copy_stamp()]:
            return self.path
        notes = self.path.parent / _NOTES_FOLDER
        notes.mkdir(parents=True, exist_ok=True)
        partial = notes / f"{self.path.name}.part"
        try:
            with partial.open("wb") as file:
                self._write(file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path)
        except (GroundedSAM2Error, OSError):
            partial.unlink(missing_ok=True)
            raise
        except Exception as error:  # of whichever library reads the original
            partial.unlink(missing_ok=True)
            raise ImageError(
                f"image {self.item_id!r}: cannot be fetched: {one_line(error)}"
            ) from error
        self._note_path().write_text(json.dumps([stamp, self._copy_stamp()]), encoding="utf-8")
        return self.path

    @abstractmethod
    def _write(self, file: IO[bytes]) -> None:
        """Write the bytes of the image."""

    def _note_path(self) -> Path:
        return self.path.parent / _NOTES_FOLDER / f"{self.path.name}.json"

    def _recorded_stamps(self) -> object:
        try:
            return json.loads(self._note_path().read_bytes())
        except (OSError, ValueError):  # missing, or left empty by a power cut
            return None

    def _copy_stamp(self) -> str | None:
        try:
            return file_stamp(self.path)
        except OSError:
            return None


class ImageSource(Protocol):
    """A source of images in an order that never changes."""

    @property
    def root(self) -> Path | str:
        """What item ids are relative to: a local path, or an address (``str``)."""
        ...

    def __iter__(self) -> Iterator[ImageRef]:
        """Iterate over all images; every iteration yields the same references."""
        ...
