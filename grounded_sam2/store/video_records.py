"""Videos as the label store knows them.

A video is named within its run, and each frame of it that was labeled is an item of its own, called
`frame_id` and grouped by the name of its video. The frames need no files: their images are in the
video.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["StoredTrack", "StoredVideo", "VideoRecord", "frame_id"]

_DIGITS = 6
"""Of a frame's number, at least: nine hours of video keep their order in a listing of names."""


def frame_id(video: str, index: int) -> str:
    """The item id of a frame: ``clip.mp4/000123``."""
    return f"{video}/{index:0{_DIGITS}}"


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """What a video is."""

    name: str
    """Name within its source, such as the POSIX path relative to the source's root."""
    path: Path | None
    """Its file, or the folder of its frames; ``None`` for what was never a file."""
    size_hw: tuple[int, int]
    """Height and width of its upright frames."""
    fps: float | None = None
    """Frames per second, on average; ``None`` where nothing says so."""
    frame_count: int | None = None
    """Frames that it holds before any stride, as far as known without decoding it."""
    stride: int = 1
    """Every which frame is labeled."""
    content_hash: str | None = None
    """SHA-256 of the file's bytes, hexadecimal."""
    file_stamp: str | None = None
    """Size and modification time of the file: while they stand, its bytes need no hashing."""

    @property
    def is_identifiable(self) -> bool:
        """Whether a later run can tell that it is given the same: not of an address or a camera."""
        return self.file_stamp is not None or self.content_hash is not None

    def continues(self, earlier: VideoRecord) -> bool:
        """Whether this is the same video in the same steps, so that work on it can go on.

        One that is not recognizable is never the same.
        """
        same_stamp = self.file_stamp is not None and self.file_stamp == earlier.file_stamp
        same_hash = self.content_hash is not None and self.content_hash == earlier.content_hash
        same_steps = (self.stride, self.size_hw) == (earlier.stride, earlier.size_hw)
        return same_steps and (same_stamp or same_hash)


@dataclass(frozen=True, slots=True)
class StoredVideo:
    """A video of a run, and how far it was labeled."""

    record: VideoRecord
    frames: int
    """Frames that are labeled, those without objects included."""
    last_index: int | None
    """Index of the last of these; ``None`` if there is none."""
    broken_frames: int
    """Frames that could not be decoded and were passed over."""
    finished: bool
    error: str | None
    """Why it cannot be labeled further, as far as it was tried."""


@dataclass(frozen=True, slots=True)
class StoredTrack:
    """One thing of a video, over all frames that it is labeled in."""

    track_id: int
    class_name: str
    """What most of its labels say; of equals, the first by name."""
    frames: int
    first_index: int
    last_index: int
    """Indices of its first and last frame."""
