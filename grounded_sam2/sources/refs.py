"""Pictures by name: what a source yields before anything is opened.

A reference costs a name. Two questions are asked of it, both from threads that load images: is
this still the image that was labeled (`ImageRef.stamp`, without its bytes), and where is its file
(`ImageRef.bring`, which fetches what is not a file yet). A local file is where it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from grounded_sam2.errors import ImageError, SourceError
from grounded_sam2.sources.fingerprint import file_stamp
from grounded_sam2.sources.names import printable

__all__ = ["ImageRef", "ImageSource", "UnreadableRef"]


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

    def is_here(self) -> bool:
        """Whether there is a file at all: what was brought once may have been cleared away."""
        return True

    def bring(self) -> Path:
        """The file of the image, present and current.

        Raises:
            OSError, ImageError, SourceError: it cannot be had. The message says why.
        """
        return self.path


@dataclass(frozen=True, slots=True)
class UnreadableRef(ImageRef):
    """A folder or file of images that cannot be read, in their place.

    One unreadable folder should not cost a night's run, and should not go unnoticed either: it
    becomes an item that fails with its reason. It is gone from the source when it can be read.
    """

    reason: str
    """What cannot be read, and why."""

    def stamp(self) -> str:
        """The reason: while it stands, there is nothing to try again."""
        return f"unreadable: {self.reason}"

    def bring(self) -> Path:
        """Nothing.

        Raises:
            SourceError: always.
        """
        raise SourceError(self.reason)


class ImageSource(Protocol):
    """What can be labeled: images in an order that never changes."""

    @property
    def root(self) -> Path | str:
        """What item ids are relative to: a place on this machine, or an address (text)."""
        ...

    def __iter__(self) -> Iterator[ImageRef]:
        """All images; may be asked again, and answers the same."""
        ...
