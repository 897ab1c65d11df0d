"""The folder of a demo: new, or of an earlier call with the same arguments."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from grounded_sam2.errors import ExportError

__all__ = ["CONTACT_SHEET", "LAST_SEED", "writable_demo_folder"]

LAST_SEED = 999
"""Scenes of greater base seeds may be ones that the models were trained on."""

CONTACT_SHEET = "contact_sheet.png"


@contextmanager
def writable_demo_folder(
    folder: Path, note: Path, arguments: Mapping[str, object], contents: str
) -> Iterator[None]:
    """Check a demo's folder, and name it in errors of the writes inside the ``with`` block.

    Args:
        folder: the demo's folder; need not exist.
        note: JSON file that holds the demo's arguments, alone or as its ``info``. The block writes
            it.
        arguments: the arguments of this call.
        contents: ``images`` or ``clips``, for the message.

    Raises:
        ExportError: the note belongs to other arguments, or a write failed.
    """
    try:
        if note.exists() and _noted_arguments(note) != arguments:
            raise ExportError(
                f"demo folder '{folder}': holds a demo with other {contents}; give another folder, "
                "or remove this one"
            )
        yield
    except OSError as error:
        raise ExportError(f"demo folder '{folder}': cannot be written: {error}") from error


def _noted_arguments(note: Path) -> object:
    try:
        document = json.loads(note.read_text(encoding="utf-8"))
    except ValueError:  # not JSON, or not even text
        return None
    return document.get("info", document) if isinstance(document, dict) else None
