"""What an image is called in a dataset: its id, unless something else would be hurt.

Names are settled in the order of the ids, so that they do not depend on anything else: the first
to claim a name keeps it, a later one is told apart by its old ending and then by a number
(``a.jpg``, ``a_png.png``, ``a_png_2.png``). Names that differ only by case, or by how an accent is
spelled in Unicode, count as the same: on half of all file systems they are.
"""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from dataclasses import dataclass
from itertools import count
from pathlib import PurePosixPath

from grounded_sam2.exporters.image_types import PILLOW_TYPES, ImageType

__all__ = ["ImageFileRules", "UniqueFileNames"]

_SAME_FORMAT = {".jpe": ".jpg", ".jpeg": ".jpg", ".jfif": ".jpg", ".dib": ".bmp"}

_LONGEST = 255
"""Bytes that a name may have on most file systems."""
_LONGEST_SUFFIX = len(".jpeg")
"""Of what is written beside an image under the same name."""


@dataclass(frozen=True, slots=True)
class ImageFileRules:
    """What a format asks of the names of its images."""

    suffixes: frozenset[str] | None = None
    """Endings that its readers know, lower case with dot; ``None`` if they look inside."""
    contents: frozenset[ImageType] = PILLOW_TYPES
    """What its readers can decode, whatever the ending says."""
    unique_stems: bool = False
    """Whether names must differ without their endings, since something else is called by them."""
    reserved_folder: str | None = None
    """A folder name that its readers give a meaning to."""
    substitute: str = ".png"
    """Ending of the format that images in formats unknown to the readers are written in."""
    lower_case_suffix: bool = False
    """Whether readers know an ending in lower case only."""
    forbidden: str = ""
    """Characters that no name may hold, as a regular expression; each becomes an underscore, as
    does a backslash, which many readers take for a slash."""

    def suffix(self, suffix: str) -> tuple[str, bool]:
        """The ending that an image of this ending gets: its own where readers know it.

        Another ending of the same format is a matter of the name only.

        Returns:
            The ending, and whether the image has to be written anew in that format.
        """
        lower = suffix.lower()
        if self.suffixes is None or lower in self.suffixes:
            return (lower if self.lower_case_suffix else suffix), False
        renamed = _SAME_FORMAT.get(lower)
        if renamed in self.suffixes:
            return renamed, False
        return self.substitute, True


class UniqueFileNames:
    """Names handed out so far, on disk, so that their number costs no memory. Close after use."""

    def __init__(self, rules: ImageFileRules) -> None:
        self._rules = rules
        self._forbidden = "|".join(filter(None, (r"\\", rules.forbidden)))
        self._taken = sqlite3.connect("", isolation_level=None)  # a private temporary file
        self._taken.execute("CREATE TABLE taken (key TEXT PRIMARY KEY) WITHOUT ROWID")

    def close(self) -> None:
        """Forget all names."""
        self._taken.close()

    def claim(self, item_id: str, suffix: str, *, split: str | None = None) -> PurePosixPath:
        """A name for an image, below the folder of its split.

        Args:
            item_id: the image's id. Whatever would lead out of the folder is dropped from it.
            suffix: the ending to give it.
            split: the split, if it has a folder of its own: then names need not differ from those
                of another, and an id that begins with its folder, as after an import, does not
                name that twice.
        """
        spelled = re.sub(self._forbidden, "_", item_id)
        parts = [part for part in PurePosixPath(spelled).parts if part not in ("/", "..")]
        if split is not None and len(parts) > 1 and parts[0] == split:
            del parts[0]
        wanted = PurePosixPath(*parts)
        parent = PurePosixPath(
            *(f"{p}_" if p == self._rules.reserved_folder else p for p in wanted.parent.parts)
        )
        stem = wanted.stem or "picture"
        old_ending = f"_{wanted.suffix[1:].lower()}" if wanted.suffix else ""
        room = _LONGEST - max(len(suffix.encode()), _LONGEST_SUFFIX)
        for number in count():
            mark = ("", old_ending)[number] if number < 2 else f"{old_ending}_{number}"
            candidate = _cut(stem, room - len(mark.encode())) + mark
            name = parent / f"{candidate}{suffix}"
            key = str(parent / candidate if self._rules.unique_stems else name)
            key = key if split is None else f"{split}/{key}"
            taken = self._taken.execute("INSERT OR IGNORE INTO taken VALUES (?)", (_folded(key),))
            if taken.rowcount:
                return name
        raise AssertionError("unreachable")


def _cut(text: str, size: int) -> str:
    """As many whole characters as fit into this number of bytes."""
    return text.encode()[: max(size, 1)].decode(errors="ignore")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
