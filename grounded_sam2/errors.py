"""The exception tree. Every message names the thing, the value and the repair.

Catch `GroundedSAM2Error` to catch everything this package raises on purpose.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from typing import Any

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DatasetError",
    "ExportError",
    "GeometryError",
    "GroundedSAM2Error",
    "ImageError",
    "OntologyError",
    "OutOfMemoryError",
    "PromptError",
    "SourceError",
    "StaleEditError",
    "StoreError",
    "UnavailableImageError",
    "UnavailableReason",
    "VideoError",
    "one_line",
    "printable",
]

_SURROGATE = re.compile("[\ud800-\udfff]")


class GroundedSAM2Error(Exception):
    """Base class of all errors raised by this package."""


class OntologyError(GroundedSAM2Error, ValueError):
    """An ontology is empty, ambiguous or not made of text."""


class ConfigError(GroundedSAM2Error, ValueError):
    """A configuration has an unknown key, a wrong type or a value out of range."""


class ImageError(GroundedSAM2Error):
    """An image cannot be read: missing, empty, truncated, too large or not an image."""


class UnavailableReason(Enum):
    """Why the image of a labeled item cannot be read: as said of one image, and of several."""

    GONE = (
        "is gone; give the folder that holds it now (images_from)",
        "are gone; give the folder that holds them now (images_from)",
    )
    CHANGED = (
        "has changed since it was labeled; label again",
        "have changed since they were labeled; label again",
    )
    NEVER_A_FILE = ("was never a file", "were never files")
    UNDECODABLE = ("cannot be decoded any more", "cannot be decoded any more")
    VIDEO_GONE = (
        "is of a video that is gone or broken; give the folder of the videos (images_from)",
        "are of videos that are gone or broken; give the folder of the videos (images_from)",
    )
    VIDEO_CHANGED = (
        "is of a video that has changed since it was labeled; label again",
        "are of videos that have changed since they were labeled; label again",
    )
    VIDEO_NEVER_A_FILE = (
        "is of a video that was never a file",
        "are of videos that were never files",
    )

    @property
    def of_one(self) -> str:
        """The predicate of one image."""
        return self.value[0]

    @property
    def of_many(self) -> str:
        """The predicate of several images, which follows their number."""
        return self.value[1]


class UnavailableImageError(ImageError):
    """The image of a labeled item is gone, has changed, was never a file or cannot be decoded."""

    def __init__(self, item_id: str, reason: UnavailableReason) -> None:
        super().__init__(item_id, reason)  # all arguments, so that it can be pickled
        self.item_id = item_id
        self.reason = reason

    def __str__(self) -> str:
        return f"image {printable(self.item_id)!r}: {self.reason.of_one}"


class SourceError(GroundedSAM2Error):
    """A source of images does not exist, cannot be listed or holds none."""


class PromptError(GroundedSAM2Error, ValueError):
    """A caption, box, point or mask prompt is malformed or does not fit its image."""


class CheckpointError(GroundedSAM2Error):
    """A model checkpoint cannot be found, fetched or used."""


class OutOfMemoryError(GroundedSAM2Error, MemoryError):
    """A model needs more memory than its device has."""


class GeometryError(GroundedSAM2Error, ValueError):
    """A box, a mask or an outline has the wrong form or does not fit the image."""


class StoreError(GroundedSAM2Error):
    """A label store cannot be opened, is in use, or does not allow the operation."""


class StaleEditError(StoreError):
    """An edit of an object or item that has changed since the editor read it.

    Args:
        message: what has changed.
        current: the objects as they are now (`grounded_sam2.results.Label`).
        version: their version now, to edit with.
    """

    def __init__(self, message: str, current: Sequence[Any], version: str) -> None:
        super().__init__(message)
        self.current = tuple(current)
        self.version = version


class ExportError(GroundedSAM2Error):
    """A dataset cannot be written with the given options or labels."""


class DatasetError(GroundedSAM2Error):
    """A dataset of existing labels cannot be read."""


class VideoError(GroundedSAM2Error):
    """An annotated video cannot be written."""


def one_line(
    error: BaseException, *, with_type: bool = False, max_length: int | None = None
) -> str:
    """An exception as one line of printable text, for a store, a report or a terminal.

    Args:
        with_type: begin with the class of the exception, unless it is one of this package's, whose
            messages need none. Then the whole message follows; otherwise that of a system error is
            shortened to its reason (``does not exist``, ``Permission denied``).
        max_length: characters of the message that are kept; all if ``None``.

    Returns:
        The class alone where the message is empty.
    """
    name = type(error).__name__
    if with_type:
        text = str(error)
    elif isinstance(error, FileNotFoundError):  # the message of many libraries is the path alone
        text = "does not exist"
    else:
        text = getattr(error, "strerror", None) or str(error)
    text = " ".join(printable(text).split())[:max_length]
    if not text:
        return name
    return f"{name}: {text}" if with_type and not isinstance(error, GroundedSAM2Error) else text


def printable(name: object) -> str:
    """A path, address or message as text that any terminal, database or JSON file takes.

    Bytes of a file name that are not UTF-8 are written ``\\xff``.
    """
    return _SURROGATE.sub(_escape, str(name))


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
