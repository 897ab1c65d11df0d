"""Pictures that are not files yet, brought byte for byte into the output folder.

Exports then need neither the network nor the dataset, and say tomorrow what they say today. A
image is written under another name and renamed, so that what is there is whole, and is flushed to
the disk first: labels that survive a power cut must find their image.

Beside the images lies ``.fetched/<name>.json``: the stamp of the original that was brought, and
that of the file that came of it. While both stand, nothing is fetched again.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from grounded_sam2.errors import GroundedSAM2Error, ImageError
from grounded_sam2.sources.fingerprint import file_stamp
from grounded_sam2.sources.names import reason_of
from grounded_sam2.sources.refs import ImageRef

__all__ = ["FetchedRef", "too_large"]

_NOTES = ".fetched"


@dataclass(frozen=True, slots=True)
class FetchedRef(ImageRef, ABC):
    """An image somewhere else; `path` is where its copy is kept. Subclasses say how to get it."""

    def is_here(self) -> bool:
        """Whether there is a copy, current or not."""
        return self.path.is_file()

    def bring(self) -> Path:
        """The copy, fetched if there is none or the original is not what it was."""
        stamp = self.stamp()
        if self._noted() == [stamp, self._copy_stamp()]:
            return self.path
        notes = self.path.parent / _NOTES
        notes.mkdir(parents=True, exist_ok=True)
        partial = notes / f"{self.path.name}.part"
        try:
            with partial.open("wb") as file:
                self._write(file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path)
        except (GroundedSAM2Error, OSError):
            partial.unlink(missing_ok=True)
            raise
        except Exception as error:  # of whatever library reads the other end
            partial.unlink(missing_ok=True)
            raise ImageError(
                f"image {self.item_id!r}: cannot be fetched: {reason_of(error)}"
            ) from error
        self._note_path().write_text(json.dumps([stamp, self._copy_stamp()]), encoding="utf-8")
        return self.path

    @abstractmethod
    def _write(self, file: IO[bytes]) -> None:
        """Write the bytes of the image."""

    def _note_path(self) -> Path:
        return self.path.parent / _NOTES / f"{self.path.name}.json"

    def _noted(self) -> object:
        try:
            return json.loads(self._note_path().read_bytes())
        except (OSError, ValueError):  # none, or one that a power cut left empty
            return None

    def _copy_stamp(self) -> str | None:
        try:
            return file_stamp(self.path)
        except OSError:
            return None


def too_large(item: str, max_bytes: int) -> ImageError:
    """The error for a file that nobody would take for an image."""
    return ImageError(
        f"image {item!r}: is larger than {max_bytes} bytes; raise images.url_max_bytes to allow it"
    )
