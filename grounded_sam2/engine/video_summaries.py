"""What a run over videos tells: how it comes along, and what became of each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["TrackSummary", "VideoProgress", "VideoSummary", "VideosInterrupted"]


class VideoProgress(Protocol):
    """Told how a run comes along. Called in the thread that runs it."""

    def start(self, name: str, total: int | None) -> None:
        """A video begins; it has about so many frames."""
        ...

    def advance(self, frames: int) -> None:
        """So many more frames are labeled; the first call counts those of earlier runs."""
        ...


@dataclass(frozen=True, slots=True)
class VideoSummary:
    """What became of one video."""

    name: str
    frames: int
    """Labeled frames, earlier runs included."""
    frames_now: int
    """Those of this run."""
    tracks: int
    broken_frames: int
    """Passed over, since they could not be decoded."""
    seconds: float
    """That this run took for it."""
    error: str | None = None
    """Why it could not be labeled; it has no frames then, or those before the error."""
    warning: str | None = None
    """Why work of an earlier run was done again."""


@dataclass(frozen=True, slots=True)
class TrackSummary:
    """What one call of `track_videos` did."""

    run_id: int
    videos: tuple[VideoSummary, ...]
    seconds: float

    @property
    def failed(self) -> tuple[VideoSummary, ...]:
        """Videos that could not be labeled, or not to their end."""
        return tuple(video for video in self.videos if video.error is not None)


class VideosInterrupted(KeyboardInterrupt):
    """Ctrl-C stopped a run; all frames up to it are written.

    Args:
        name: of the video that was stopped in.
        frames: that it has labels for.
        can_continue: whether the same command goes on with it. An address or a camera cannot be
            read again from where it was.
    """

    def __init__(self, name: str, frames: int, *, can_continue: bool) -> None:
        then = (
            "run the same command again to continue"
            if can_continue
            else "all of them are labeled, and it ends here, since it cannot be read again"
        )
        super().__init__(f"stopped in video '{name}' after {frames} frames; {then}")
