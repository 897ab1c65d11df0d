"""Pictures by name: what a source yields before anything is opened.

A reference costs a name. Two questions are asked of it, both from threads that load images: is
this still the image that was labeled (`ImageRef.stamp`, without its bytes), and where is its file
(`ImageRef.fetch`, which fetches what is not a file yet). A local file is where it is.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from grounded_sam2.errors import GroundedSAM2Error, ImageError, SourceError, one_line, printable
from grounded_sam2.sources.fingerprint import file_stamp

__all__ = ["CachedRef", "FailedRef", "ImageRef", "ImageSource"]

_NOTES = ".fetched"


@dataclass(frozen=True, slots=True)
class ImageRef:
    """An image that has not been opened yet; this one is a file on this machine."""

    item_id: str
    """POSIX path relative to the source's root; what is not UTF-8 in it is written ``\\xff``."""
    path: Path
    """Where its file is, or will be once it was brought."""

    def stamp(self) -> str:
        """What tells this state of the image from others, without reading its bytes.

        Raises:
            OSError: it cannot be looked at.
            ImageError: its name can be none, such as one with a NUL in it.
            SourceError: where it lies cannot be read.
        """
        try:
            return file_stamp(self.path)
        except ValueError as error:
            raise ImageError(f"image {printable(self.path)!r}: is no path: {error}") from error

    def is_local(self) -> bool:
        """Whether there is a file at all: what was brought once may have been cleared away."""
        return True

    def fetch(self) -> Path:
        """The file of the image, present and current.

        Raises:
            OSError, ImageError, SourceError: it cannot be had. The message says why.
        """
        return self.path


@dataclass(frozen=True, slots=True)
class FailedRef(ImageRef):
    """A folder or file of images that cannot be read, in their place.

    One unreadable folder should not cost a night's run, and should not go unnoticed either: it
    becomes an item that fails with its reason. It is gone from the source when it can be read.
    """

    reason: str
    """What cannot be read, and why."""

    def stamp(self) -> str:
        """The reason: while it stands, there is nothing to try again."""
        return f"unreadable: {self.reason}"

    def fetch(self) -> Path:
        """Nothing.

        Raises:
            SourceError: always.
        """
        raise SourceError(self.reason)


@dataclass(frozen=True, slots=True)
class CachedRef(ImageRef, ABC):
    """An image somewhere else; `path` is where its copy is kept. Subclasses say how to get it."""

    def is_local(self) -> bool:
        """Whether there is a copy, current or not."""
        return self.path.is_file()

    def fetch(self) -> Path:
        """The copy, fetched if there is none or the original is not what it was."""
        stamp = self.stamp()
        if self._noted() == [stamp, self._copy_stamp()]:
            return self.path
        notes = self.path.parent / _NOTES
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
        except Exception as error:  # of whatever library reads the other end
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
        return self.path.parent / _NOTES / f"{self.path.name}.json"

    def _noted(self) -> object:
        try:
            return json.loads(self._note_path().read_bytes())
        except (OSError, ValueError):  # none, or one that a power cut left empty
            return None

    def _copy_stamp(self) -> str | None:
        try:
            return file_stamp(self.path)
        except OSError:
            return None


class ImageSource(Protocol):
    """What can be labeled: images in an order that never changes."""

    @property
    def root(self) -> Path | str:
        """What item ids are relative to: a place on this machine, or an address (text)."""
        ...

    def __iter__(self) -> Iterator[ImageRef]:
        """All images; may be asked again, and answers the same."""
        ...
