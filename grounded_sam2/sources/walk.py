"""Recursive listing of files in an order that depends on their names alone.

The order is that of the POSIX paths relative to the root, compared character by character
(``a-1.png`` < ``a.png`` < ``a/1.png``; ``10.png`` < ``2.png``), whatever the file system, the
locale or the times. Memory holds the names of one folder and of its parents at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["FoundFile", "walk"]


class FoundFile(NamedTuple):
    """A file, or a folder that cannot be listed."""

    name: str
    """POSIX path relative to the root, as the file system spells it."""
    path: str
    failure: str | None = None
    """Reason why the folder cannot be listed; ``None`` for a file."""


class _Entry(NamedTuple):
    name: str
    path: str
    is_folder: bool
    parents: frozenset[tuple[int, int]]
    """Device and inode of each parent folder, to detect a link back to one of them."""


def walk(
    root: str | os.PathLike[str],
    *,
    enter: Callable[[str], bool] = lambda name: True,
    excluded: frozenset[Path] = frozenset(),
) -> Iterator[FoundFile]:
    """Yield all files below a folder, in order.

    Hidden files and folders (``.name``), pipes and devices are skipped. Links are followed, except
    a link to one of the folders that contain it. A broken link counts as a file.

    Args:
        root: the folder; may itself be hidden.
        enter: whether to list a folder, given its path relative to the root.
        excluded: resolved folders to skip.

    Yields:
        Files, and in its place each folder that cannot be listed, with the reason.
    """
    stack = [_Entry("", os.fspath(root), True, frozenset())]
    while stack:
        entry = stack.pop()
        if not entry.is_folder:
            yield FoundFile(entry.name, entry.path)
            continue
        try:
            children = _children(entry, excluded)
        except OSError as error:
            yield FoundFile(entry.name.removesuffix("/"), entry.path, error.strerror or str(error))
            continue
        # A folder's name ends in a slash here, so that it sorts where the paths below it do.
        stack += sorted(
            (each for each in children if not each.is_folder or enter(each.name[:-1])), reverse=True
        )


def _children(folder: _Entry, excluded: frozenset[Path]) -> list[_Entry]:
    stat = os.stat(folder.path)  # noqa: PTH116
    identity = (stat.st_dev, stat.st_ino)
    if identity in folder.parents or (excluded and Path(folder.path).resolve() in excluded):
        return []
    parents = folder.parents | {identity}
    found = []
    with os.scandir(folder.path) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _test(entry.is_dir, on_error=False):
                found.append(_Entry(f"{folder.name}{entry.name}/", entry.path, True, parents))
            elif entry.is_symlink() or _test(entry.is_file, on_error=True):
                found.append(_Entry(f"{folder.name}{entry.name}", entry.path, False, parents))
    return found


def _test(predicate: Callable[[], bool], *, on_error: bool) -> bool:
    try:
        return predicate()
    except OSError:  # a link to itself, or into a folder without permission
        return on_error
