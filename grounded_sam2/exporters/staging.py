"""Atomic replacement of an export: it appears when it is complete.

An export is built in a hidden folder inside its own folder, so that putting it in place only takes
renames. The marker file ``export.json``, which describes how the export was made, identifies a
folder as an export. Only the entries of an earlier export of the same format are replaced; other
files in the folder are never touched. A failed export leaves behind no folder that it made.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from grounded_sam2.errors import ExportError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["EXPORT_MARKER", "staged_export"]

EXPORT_MARKER = "export.json"
"""Name of the file that marks a folder as an export."""
_STAGING_FOLDER = ".export.partial"


@contextmanager
def staged_export(
    folder: Path, entries: Sequence[str], description: Mapping[str, Any]
) -> Iterator[Path]:
    """Yield a staging folder, and move its entries into place if the context exits normally.

    Args:
        folder: folder of the export; created if missing.
        entries: names of the files and folders that the export consists of.
        description: content of the marker file; ``format`` is the name of the format.

    Raises:
        ExportError: an entry exists that is not from an earlier export of this format, another
            export holds the folder, or the disk fails. The earlier export is then unchanged.
    """
    staging = folder / _STAGING_FOLDER
    try:
        with _created(folder), _locked(folder):
            _check_replaceable(folder, entries, description["format"])
            shutil.rmtree(staging, ignore_errors=True)  # of an export that was killed
            new, old = staging / "new", staging / "old"
            new.mkdir(parents=True)
            old.mkdir()
            try:
                yield new
                # The marker goes first: if this is interrupted, the next export may repair it.
                (new / EXPORT_MARKER).write_text(
                    json.dumps(description, indent=2) + "\n", encoding="utf-8"
                )
                for name in (EXPORT_MARKER, *entries):
                    if (folder / name).exists():
                        (folder / name).rename(old / name)
                    if (new / name).exists():
                        (new / name).rename(folder / name)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise ExportError(
            f"export to '{folder}': {error}; check that it can be written and has space left"
        ) from error


@contextmanager
def _created(folder: Path) -> Iterator[None]:
    """Create a folder and its parents; remove those that were created if the context fails."""
    created = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for each in created:
            with suppress(OSError):  # no longer empty
                each.rmdir()
        raise


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on a folder.

    It is an advisory lock of the operating system on the folder itself: it leaves no file behind
    and ends with the process, even if that is killed. Where folders cannot be locked (Windows, some
    network file systems), there is no lock.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ExportError(
                f"export to '{folder}': another export is being written there; wait until it ends, "
                "or choose another folder"
            ) from error
        except OSError:  # this file system has no locks
            pass
        yield
    finally:
        os.close(descriptor)


def _check_replaceable(folder: Path, entries: Sequence[str], format_name: str) -> None:
    """Raise `ExportError` if an entry exists that is not from an export of this format."""
    present = [name for name in (EXPORT_MARKER, *entries) if (folder / name).exists()]
    if not present:
        return
    try:
        found = json.loads((folder / EXPORT_MARKER).read_text(encoding="utf-8"))["format"]
    except FileNotFoundError:
        found = None
    except (OSError, ValueError, KeyError, TypeError):
        found = "damaged"
    if found == format_name:
        return
    origin = "is not from an export" if found is None else f"is from a {found} export"
    raise ExportError(
        f"export to '{folder}': '{present[0]}' is there and {origin}, so it is not replaced; "
        "choose another folder"
    )
