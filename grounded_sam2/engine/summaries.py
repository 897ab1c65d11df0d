"""Summaries of runs, and the exception of an interrupted run."""

from __future__ import annotations

from dataclasses import dataclass

from grounded_sam2.engine.run_config import OntologyChange
from grounded_sam2.engine.stages import StageTime

__all__ = [
    "ImageRunSummary",
    "RunInterrupted",
    "VideoRunSummary",
    "VideoSummary",
]


@dataclass(frozen=True, slots=True)
class ImageRunSummary:
    """Counts of one image run."""

    run_id: int
    total: int
    """Images of the source."""
    labeled: int
    failed: int
    skipped: int
    """Images that an earlier run had finished."""
    postprocessed: int = 0
    """Of the labeled, those post-processed anew from stored predictions, without a model."""
    removed: int = 0
    """Images of the store that the source no longer holds."""
    removed_ids: tuple[str, ...] = ()
    """The first of these."""
    pruned: bool = False
    """Whether their labels were dropped."""
    change: OntologyChange | None = None
    """How the ontology differs from that of the run before."""
    seconds: float = 0.0
    batch_size: int = 1
    stages: tuple[StageTime, ...] = ()

    @property
    def nothing_to_do(self) -> bool:
        """Whether an earlier run had finished everything."""
        return self.labeled == self.failed == 0


@dataclass(frozen=True, slots=True)
class VideoSummary:
    """Counts of one video in a run."""

    name: str
    frames: int
    """Labeled frames, those of earlier runs included."""
    frames_now: int
    """Frames labeled by this run."""
    tracks: int
    broken_frames: int
    """Frames that could not be decoded and were skipped."""
    seconds: float
    """Time that this run spent on it."""
    error: str | None = None
    """Why it could not be labeled to its end; its frames before the error are kept."""
    warning: str | None = None
    """Why frames of an earlier run were labeled again."""


@dataclass(frozen=True, slots=True)
class VideoRunSummary:
    """Counts of one video run."""

    run_id: int
    videos: tuple[VideoSummary, ...]
    seconds: float

    @property
    def failed(self) -> tuple[VideoSummary, ...]:
        """Videos that could not be labeled to their end."""
        return tuple(video for video in self.videos if video.error is not None)


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C stopped a run; everything that was in flight is committed."""

    def __init__(self, message: str, summary: ImageRunSummary | None = None) -> None:
        super().__init__(message)
        self.summary = summary
        """Counts up to here; ``None`` for a run of videos."""

    @classmethod
    def of_images(cls, summary: ImageRunSummary) -> RunInterrupted:
        """An interrupted run of images."""
        done = summary.labeled + summary.failed + summary.skipped
        return cls(
            f"stopped after {done} of {summary.total} images; run the same command again to "
            "continue",
            summary,
        )

    @classmethod
    def of_video(cls, name: str, frames: int, *, can_continue: bool) -> RunInterrupted:
        """An interrupted run of videos.

        Args:
            name: the video in which it stopped.
            frames: labeled frames of that video.
            can_continue: whether the same command continues it; a stream or a camera cannot be
                read again from where it was.
        """
        then = (
            "run the same command again to continue"
            if can_continue
            else "all of them are labeled, and it ends here, since it cannot be read again"
        )
        return cls(f"stopped in video '{name}' after {frames} frames; {then}")
