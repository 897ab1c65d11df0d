"""One video, from where it stands to its end: tracked, and written batch by batch."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

from grounded_sam2.config import Config
from grounded_sam2.engine.signals import StopRequest
from grounded_sam2.engine.video_summaries import VideoProgress
from grounded_sam2.errors import CheckpointError, StoreError
from grounded_sam2.models.protocols import AnyTracker, Detector
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.results import TrackedFrame, VideoFrame
from grounded_sam2.sources.video import VideoSource, prefetch
from grounded_sam2.store import LabelStore, StoredVideo
from grounded_sam2.tracking import ClipState, ClipTracker

__all__ = ["UnreadableStateError", "VideoWork"]

_MOST_FRAMES = 1000
"""In a batch: their labels are in memory until it is written."""


class UnreadableStateError(StoreError):
    """What an earlier run left to go on from cannot be read by this one."""


class _Read(NamedTuple):
    frame: VideoFrame
    broken: int
    """How much could not be read up to this frame: those after it are decoded ahead."""
    told: int
    """How much of that is told with a reason."""


@dataclass(slots=True)
class _Batch:
    """Frames to be written, and what was met on the way to them."""

    frames: list[TrackedFrame] = field(default_factory=list)
    broken: int = 0
    told: int = 0
    told_before: int = 0


@dataclass(frozen=True, slots=True)
class VideoWork:
    """What labeling a video needs."""

    store: LabelStore
    run_id: int
    detector: Detector
    tracker: AnyTracker
    ontology: CaptionOntology | None
    config: Config
    commit_seconds: float

    def go_on(
        self,
        source: VideoSource,
        known: StoredVideo,
        stop: StopRequest,
        progress: VideoProgress | None,
    ) -> None:
        """Label a video that was begun to its end, or until it is asked to stop.

        Raises:
            UnreadableStateError: and nothing was done; see `LabelStore.begin_video` (``restart``).
            SourceError: it cannot be read to its end.
        """
        resume = self._resume(source.name)
        start = resume or ClipState()
        clip = self._clip(resume)
        batch = _Batch()
        written = time.monotonic()

        def commit(*, finished: bool = False) -> None:
            self.store.write_frames(
                self.run_id,
                source.name,
                batch.frames,
                state=None if finished else clip.state().to_bytes(),
                broken_frames=known.broken_frames + batch.broken,
                broken=source.broken.first[batch.told_before : batch.told],
                finished=finished,
            )
            batch.frames.clear()
            batch.told_before = batch.told

        def give(frames: Iterable[TrackedFrame]) -> None:
            before = len(batch.frames)
            batch.frames.extend(frames)
            if progress is not None and len(batch.frames) > before:
                progress.advance(len(batch.frames) - before)

        with closing(prefetch(_read(source, start))) as readings:
            for reading in readings:
                give(clip.feed(reading.frame))
                batch.broken, batch.told = reading.broken, reading.told
                del reading  # before the next is waited for
                if stop.requested:
                    if not known.record.is_identifiable:
                        break  # nothing will go on with it: what still waits is labeled as well
                    commit()
                    return
                late = time.monotonic() - written > self.commit_seconds
                if late or len(batch.frames) >= _MOST_FRAMES:
                    commit()
                    written = time.monotonic()
        batch.broken, batch.told = source.broken.count, len(source.broken.first)
        give(clip.finish())
        commit(finished=True)

    def _resume(self, name: str) -> ClipState | None:
        saved = self.store.tracker_state(self.run_id, name)
        try:
            return None if saved is None else ClipState.from_bytes(saved)
        except StoreError as error:
            raise UnreadableStateError(str(error)) from error

    def _clip(self, resume: ClipState | None) -> ClipTracker:
        self.tracker.empty_state()  # a model that cannot be loaded is no fault of the state
        try:
            return ClipTracker(
                self.detector, self.tracker, self.ontology, self.config, resume=resume
            )
        except CheckpointError as error:
            if resume is None:
                raise
            raise UnreadableStateError(str(error)) from error


def _read(source: VideoSource, start: ClipState) -> Generator[_Read, None, None]:
    for frame in source.frames(start.feed_from, broken_from=start.next_index):
        yield _Read(frame, source.broken.count, len(source.broken.first))
        del frame  # while the next is decoded
