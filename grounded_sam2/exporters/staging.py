"""An export appears when it is whole, and replaces only what an earlier export has written.

It is built in a hidden folder inside its own, so that moving it into place is a matter of names.
A file that tells how it was made marks a folder as an export: only then are its entries replaced,
and nothing else in the folder is ever touched. One that fails leaves no folder behind that was not
there before.
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
_STAGING = ".export.partial"


@contextmanager
def staged_export(
    folder: Path, entries: Sequence[str], description: Mapping[str, Any]
) -> Iterator[Path]:
    """Give a folder to build an export in, and put it in place when that ends well.

    Args:
        folder: where the export shall be; made as needed.
        entries: names of the files and folders that the export consists of.
        description: what to write into the marker; its ``format`` is the export's.

    Raises:
        ExportError: one of the entries is there and is not of an earlier export of this format,
            or the disk fails. What was there is then as it was.
    """
    staging = folder / _STAGING
    try:
        with _made(folder), _locked(folder):
            _refuse_foreign(folder, entries, description["format"])
            shutil.rmtree(staging, ignore_errors=True)  # of an export that was killed
            new, old = staging / "new", staging / "old"
            new.mkdir(parents=True)
            old.mkdir()
            try:
                yield new
                # First the marker: if this is cut short, the next export may put it right.
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
def _made(folder: Path) -> Iterator[None]:
    """Make a folder, and remove it and those made above it if what follows fails."""
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for each in made:
            with suppress(OSError):  # there is something in it by now
                each.rmdir()
        raise


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the right to export into a folder.

    The lock is the system's own, on the folder itself: it leaves nothing behind, and goes with the
    process, however that ends. Where folders cannot be locked (Windows, some network file systems),
    nothing is.
    """
    if fcntl is None:
        yield
        return
    held = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ExportError(
                f"export to '{folder}': another export is being written there; wait until it ends, "
                "or choose another folder"
            ) from error
        except OSError:  # this file system has no locks
            pass
        yield
    finally:
        os.close(held)


def _refuse_foreign(folder: Path, entries: Sequence[str], format_name: str) -> None:
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
    what = "is not from an export" if found is None else f"is from a {found} export"
    raise ExportError(
        f"export to '{folder}': '{present[0]}' is there and {what}, so it is not replaced; choose "
        "another folder"
    )
