"""Pictures by name: what a source yields before anything is opened.

A reference costs a name. Two questions are asked of it, both from threads that load pictures: is
this still the picture that was labeled (`ImageRef.stamp`, without its bytes), and where is its file
(`ImageRef.bring`, which fetches what is not a file yet). A local file is where it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from grounded_sam2.sources.stamps import file_stamp

__all__ = ["ImageRef"]


@dataclass(frozen=True, slots=True)
class ImageRef:
    """A picture that has not been opened yet; this one is a file on this machine."""

    item_id: str
    """POSIX path relative to the source's root; what is not UTF-8 in it is written ``\\xff``."""
    path: Path
    """Where its file is, or will be once it was brought."""

    def stamp(self) -> str:
        """What tells this state of the picture from others, without reading its bytes.

        Raises:
            OSError: the file cannot be looked at.
            ValueError: its name cannot be one, such as a NUL in it.
        """
        return file_stamp(self.path)

    def is_here(self) -> bool:
        """Whether there is a file at all: what was brought once may have been cleared away."""
        return True

    def bring(self) -> Path:
        """The file of the picture, present and current."""
        return self.path
