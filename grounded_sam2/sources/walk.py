"""Files below a folder, in an order that depends on nothing but their names.

The order is that of the POSIX paths relative to the folder, compared character by character
(``a-1.png`` < ``a.png`` < ``a/1.png``; ``10.png`` < ``2.png``): not that of the file system, the
locale or the time. The names of one folder, and of those that it lies in, are in memory at a time.
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
    """POSIX path relative to where the walk began, as the file system has it."""
    path: str
    failure: str | None = None
    """Why the folder cannot be listed; ``None`` for a file."""


class _Entry(NamedTuple):
    name: str
    path: str
    is_folder: bool
    above: frozenset[tuple[int, int]]
    """Folders on the way here by device and inode, to notice a link back to one of them."""


def walk(
    root: str | os.PathLike[str],
    *,
    enter: Callable[[str], bool] = lambda name: True,
    excluded: frozenset[Path] = frozenset(),
) -> Iterator[FoundFile]:
    """All files below a folder, in order.

    Hidden files and folders (``.name``) are left out, and so are pipes and devices. Links are
    followed; a link to a folder that it lies in is not. A broken link counts as a file.

    Args:
        root: the folder; may itself be hidden.
        enter: whether to look into a folder, by its path relative to the root.
        excluded: resolved folders to leave out.

    Yields:
        Files. A folder that cannot be listed comes as itself, with the reason, in its place.
    """
    waiting = [_Entry("", os.fspath(root), True, frozenset())]
    while waiting:
        entry = waiting.pop()
        if not entry.is_folder:
            yield FoundFile(entry.name, entry.path)
            continue
        try:
            below = _entries(entry, excluded)
        except OSError as error:
            yield FoundFile(entry.name.removesuffix("/"), entry.path, error.strerror or str(error))
            continue
        # With its slash, a folder sorts where the paths below it do; the last is taken first.
        waiting += sorted(
            (each for each in below if not each.is_folder or enter(each.name[:-1])), reverse=True
        )


def _entries(folder: _Entry, excluded: frozenset[Path]) -> list[_Entry]:
    stat = os.stat(folder.path)  # noqa: PTH116
    here = (stat.st_dev, stat.st_ino)
    if here in folder.above or (excluded and Path(folder.path).resolve() in excluded):
        return []
    above = folder.above | {here}
    found = []
    with os.scandir(folder.path) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is(entry.is_dir, unknown=False):
                found.append(_Entry(f"{folder.name}{entry.name}/", entry.path, True, above))
            elif entry.is_symlink() or _is(entry.is_file, unknown=True):
                found.append(_Entry(f"{folder.name}{entry.name}", entry.path, False, above))
    return found


def _is(asked: Callable[[], bool], *, unknown: bool) -> bool:
    try:
        return asked()
    except OSError:  # a link to itself, or to where we may not look
        return unknown
