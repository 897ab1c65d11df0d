"""File names of images in a dataset: the item id, changed only where the format requires it.

Names are assigned in the order of the ids, so that they depend on nothing else. The first image to
claim a name keeps it; a later one gets its old suffix appended and then a number (``a.jpg``,
``a_png.png``, ``a_png_2.png``). Names that differ only by case or by Unicode normalization count as
equal, because many file systems treat them so.
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

_CANONICAL_SUFFIX = {".jpe": ".jpg", ".jpeg": ".jpg", ".jfif": ".jpg", ".dib": ".bmp"}

_MAX_NAME_BYTES = 255
"""Longest file name on most file systems, in bytes."""
_MAX_SUFFIX_BYTES = len(".jpeg")
"""Longest suffix of the label files that share the stem of an image."""


@dataclass(frozen=True, slots=True)
class ImageFileRules:
    """Requirements of a format on the names and types of its image files."""

    suffixes: frozenset[str] | None = None
    """Suffixes that readers accept, lower case with dot; ``None`` if they ignore the suffix."""
    types: frozenset[ImageType] = PILLOW_TYPES
    """Image types that readers can decode, whatever the suffix."""
    unique_stems: bool = False
    """Whether names must differ without their suffix, because label files share the stem."""
    reserved_folder: str | None = None
    """A folder name with a special meaning to readers; it gets an underscore."""
    fallback_suffix: str = ".png"
    """Suffix, and so file type, of images that have to be re-encoded for the readers."""
    lower_case_suffix: bool = False
    """Whether readers accept suffixes in lower case only."""
    forbidden: str = ""
    """Regular expression of characters that no name may hold. Each match becomes an underscore,
    and so does a backslash, which many readers take for a slash."""

    def suffix(self, suffix: str) -> tuple[str, bool]:
        """Return the suffix for an image that has this one: the same if readers accept it.

        A different suffix of the same file type changes the name only.

        Returns:
            The suffix, and whether the image has to be re-encoded to the type of the suffix.
        """
        lower = suffix.lower()
        if self.suffixes is None or lower in self.suffixes:
            return (lower if self.lower_case_suffix else suffix), False
        canonical = _CANONICAL_SUFFIX.get(lower)
        if canonical in self.suffixes:
            return canonical, False
        return self.fallback_suffix, True


class UniqueFileNames:
    """File names claimed so far. They are kept on disk, so that memory stays constant.

    Close after use.
    """

    def __init__(self, rules: ImageFileRules) -> None:
        self._rules = rules
        self._forbidden = "|".join(filter(None, (r"\\", rules.forbidden)))
        self._taken = sqlite3.connect("", isolation_level=None)  # a private temporary file
        self._taken.execute("CREATE TABLE taken (key TEXT PRIMARY KEY) WITHOUT ROWID")

    def close(self) -> None:
        """Delete the names."""
        self._taken.close()

    def claim(self, item_id: str, suffix: str, *, split: str | None = None) -> PurePosixPath:
        """Return an unused name for an image, relative to the folder of its split.

        Args:
            item_id: id of the image. Components that lead out of the folder are dropped.
            suffix: suffix of the name.
            split: the split, if it has its own folder. Names are then unique per split, and an id
                that begins with the split's folder, as after an import, does not repeat it.
        """
        cleaned = re.sub(self._forbidden, "_", item_id)
        parts = [part for part in PurePosixPath(cleaned).parts if part not in ("/", "..")]
        if split is not None and len(parts) > 1 and parts[0] == split:
            del parts[0]
        preferred = PurePosixPath(*parts)
        parent = PurePosixPath(
            *(f"{p}_" if p == self._rules.reserved_folder else p for p in preferred.parent.parts)
        )
        stem = preferred.stem or "picture"
        old_suffix = f"_{preferred.suffix[1:].lower()}" if preferred.suffix else ""
        max_stem_bytes = _MAX_NAME_BYTES - max(len(suffix.encode()), _MAX_SUFFIX_BYTES)
        for number in count():
            tag = ("", old_suffix)[number] if number < 2 else f"{old_suffix}_{number}"
            candidate = _truncate(stem, max_stem_bytes - len(tag.encode())) + tag
            name = parent / f"{candidate}{suffix}"
            key = str(parent / candidate if self._rules.unique_stems else name)
            key = key if split is None else f"{split}/{key}"
            inserted = self._taken.execute(
                "INSERT OR IGNORE INTO taken VALUES (?)", (_case_folded(key),)
            )
            if inserted.rowcount:
                return name
        raise AssertionError("unreachable")


def _truncate(text: str, max_bytes: int) -> str:
    """Return the longest prefix of whole characters that fits into so many UTF-8 bytes."""
    return text.encode()[: max(max_bytes, 1)].decode(errors="ignore")


def _case_folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
