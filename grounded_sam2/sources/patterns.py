"""Patterns such as ``images/**/*.jpg``, and the files on this machine that they match.

``*`` is anything in a name, ``?`` one character, ``[ab]`` one of these, ``**`` any folders. Case
counts. Hidden files and folders are left out unless they stand before the first wildcard.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path, PurePosixPath

from fsspec.utils import glob_translate

from grounded_sam2.errors import SourceError, printable
from grounded_sam2.sources.folder import (
    IMAGE_EXTENSIONS,
    has_images,
    image_refs,
    no_images_error,
    normalize_extensions,
)
from grounded_sam2.sources.refs import ImageRef
from grounded_sam2.sources.walk import FoundFile, walk

__all__ = ["GlobPattern", "GlobSource", "is_pattern"]

_WILDCARD = re.compile(r"[*?\[]")


def is_pattern(text: str) -> bool:
    """Whether there is a wildcard in a path."""
    return _WILDCARD.search(text) is not None


@dataclass(frozen=True)
class GlobPattern:
    """A POSIX path with wildcards, cut before the first part that has one.

    Raises:
        SourceError: ``**`` is not a whole part of it.
    """

    text: str

    def __post_init__(self) -> None:
        if any("**" in part and part != "**" for part in self.text.split("/")):
            raise SourceError(
                f"source: pattern {printable(self.text)!r}: '**' stands for folders and must be "
                "between slashes, as in images/**/*.jpg"
            )

    @cached_property
    def root(self) -> str:
        """The folder before the first wildcard; ``""`` if there is none."""
        head = self.text[: _WILDCARD.search(self.text).start()]  # type: ignore[union-attr]
        folder, slash, _ = head.rpartition("/")
        return folder or slash

    @cached_property
    def rest(self) -> str:
        """What follows the root."""
        parts = self.text.removeprefix(self.root).split("/")
        return "/".join(part for part in parts if part not in ("", "."))

    @property
    def names_ending(self) -> bool:
        """Whether it says itself which ending it wants: ``*.dat``, not ``*`` or ``**``."""
        suffix = PurePosixPath(self.rest).suffix
        return bool(suffix) and not is_pattern(suffix)

    def takes(self, name: str, endings: tuple[str, ...]) -> bool:
        """Whether a path below the root matches and, unless the pattern says which, ends so.

        A file that is called exactly as the pattern, wildcards and all, matches.
        """
        if name == self.rest:
            return True
        wanted = self.names_ending or name.lower().endswith(endings)
        return wanted and self._regex.match(name) is not None

    def wants(self, endings: tuple[str, ...]) -> str:
        """What `takes` looks for, in words."""
        more = "" if self.names_ending else f" with the ending {', '.join(endings)}"
        return f"{printable(self.rest)}{more}"

    def enters(self, folder: str) -> bool:
        """Whether anything in a folder below the root, or below it, can match."""
        parts = self.rest.split("/")
        for part, wanted in zip(folder.split("/"), parts, strict=False):
            if wanted == "**":
                return True
            if not fnmatchcase(part, wanted):
                return False
        return folder.count("/") + 1 < len(parts)

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile(glob_translate(self.rest))


class GlobSource:
    """The files on this machine that match a pattern, in the order of `FolderSource`.

    Ids are relative to the folder before the first wildcard.

    Args:
        pattern: such as ``images/**/*.jpg``. The pattern is to reach this package as it is: quote
            it in a shell.
        extensions: endings to take where the pattern names none.
        exclude: folders to leave out.

    Raises:
        SourceError: the folder cannot be listed, or nothing in it matches.
    """

    def __init__(
        self,
        pattern: str | os.PathLike[str],
        *,
        extensions: str | Iterable[str] = IMAGE_EXTENSIONS,
        exclude: Iterable[str | os.PathLike[str]] = (),
    ) -> None:
        self._pattern = GlobPattern(Path(pattern).as_posix())
        self._endings = normalize_extensions(extensions)
        self._excluded = frozenset(Path(path).resolve() for path in exclude)
        self.root = Path(self._pattern.root)
        if not has_images(self):
            raise no_images_error(
                repr(printable(self.root)), self._pattern.wants(self._endings), self._walk()
            )

    def __iter__(self) -> Iterator[ImageRef]:
        yield from image_refs(self._walk(), lambda name: self._pattern.takes(name, self._endings))

    def __repr__(self) -> str:
        return f"GlobSource({self._pattern.text!r})"

    def _walk(self) -> Iterator[FoundFile]:
        return walk(self.root, enter=self._pattern.enters, excluded=self._excluded)
