"""Glob patterns such as ``images/**/*.jpg``, and the source of the local files that match one.

``*`` matches any part of a name, ``?`` one character, ``[ab]`` one of these characters, ``**`` any
number of folders. Matching is case-sensitive. Hidden files and folders are skipped unless they
stand before the first wildcard.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property, partial
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
    """Whether a path contains a wildcard."""
    return _WILDCARD.search(text) is not None


@dataclass(frozen=True)
class GlobPattern:
    """A POSIX path with wildcards, split before its first part with a wildcard.

    Raises:
        SourceError: ``**`` is not a whole part of the path.
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
        """The folder before the first wildcard; ``""`` for the working directory."""
        head = self.text[: _WILDCARD.search(self.text).start()]  # type: ignore[union-attr]
        folder, slash, _ = head.rpartition("/")
        return folder or slash

    @cached_property
    def relative(self) -> str:
        """The pattern relative to the root."""
        parts = self.text.removeprefix(self.root).split("/")
        return "/".join(part for part in parts if part not in ("", "."))

    @property
    def has_extension(self) -> bool:
        """Whether the pattern names an extension: ``*.dat`` does, ``*`` and ``**`` do not."""
        suffix = PurePosixPath(self.relative).suffix
        return bool(suffix) and not is_pattern(suffix)

    def matches(self, name: str, extensions: tuple[str, ...]) -> bool:
        """Whether a file, given by its path relative to the root, matches.

        A file whose name equals the pattern literally, wildcards included, matches too.

        Args:
            name: POSIX path relative to the root.
            extensions: lower case with dots; required unless the pattern names an extension.
        """
        if name == self.relative:
            return True
        has_extension = self.has_extension or name.lower().endswith(extensions)
        return has_extension and self._regex.match(name) is not None

    def describe(self, extensions: tuple[str, ...]) -> str:
        """What `matches` looks for, in words."""
        condition = "" if self.has_extension else f" with the extension {', '.join(extensions)}"
        return f"{printable(self.relative)}{condition}"

    def may_match_below(self, folder: str) -> bool:
        """Whether any file at any depth below a folder can match."""
        parts = self.relative.split("/")
        for part, pattern in zip(folder.split("/"), parts, strict=False):
            if pattern == "**":
                return True
            if not fnmatchcase(part, pattern):
                return False
        return folder.count("/") + 1 < len(parts)

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile(glob_translate(self.relative))


class GlobSource:
    """The local files that match a glob pattern, in the order of `FolderSource`.

    Ids are relative to the folder before the first wildcard.

    Args:
        pattern: such as ``images/**/*.jpg``. Quote it in a shell, which would expand it.
        extensions: extensions of images, used where the pattern names none.
        exclude: folders to skip.

    Raises:
        SourceError: the folder cannot be listed, or no file matches.
    """

    def __init__(
        self,
        pattern: str | os.PathLike[str],
        *,
        extensions: str | Iterable[str] = IMAGE_EXTENSIONS,
        exclude: Iterable[str | os.PathLike[str]] = (),
    ) -> None:
        self._pattern = GlobPattern(Path(pattern).as_posix())
        self._extensions = normalize_extensions(extensions)
        self._excluded = frozenset(Path(path).resolve() for path in exclude)
        self.root = Path(self._pattern.root)
        if not has_images(self):
            raise no_images_error(
                repr(printable(self.root)), self._pattern.describe(self._extensions), self._walk()
            )

    def __iter__(self) -> Iterator[ImageRef]:
        matches = partial(self._pattern.matches, extensions=self._extensions)
        yield from image_refs(self._walk(), matches)

    def __repr__(self) -> str:
        return f"GlobSource({self._pattern.text!r})"

    def _walk(self) -> Iterator[FoundFile]:
        return walk(self.root, enter=self._pattern.may_match_below, excluded=self._excluded)
