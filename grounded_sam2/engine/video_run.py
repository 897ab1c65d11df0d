"""Label every frame of videos into a store, in constant memory, resuming where a run ended.

    decode ahead ─► track ─► a batch of labeled frames and the tracker's saved state ─► store

A batch of frames and the tracker's state after it are one transaction. A run that was killed
continues after its last batch, and its labels are those of a run that was never interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

from grounded_sam2.config import Config
from grounded_sam2.engine.run_config import package_versions
from grounded_sam2.engine.signals import StopRequest
from grounded_sam2.engine.summaries import RunInterrupted, VideoRunSummary, VideoSummary
from grounded_sam2.engine.video_resume import DuplicateVideoError, resume_or_begin
from grounded_sam2.errors import CheckpointError, SourceError, StoreError
from grounded_sam2.inference.grounding import requested_captions
from grounded_sam2.models.protocols import AnyTracker, Detector
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.results import TrackedFrame, VideoFrame, VideoProgress
from grounded_sam2.sources.video import VideoSource, prefetch
from grounded_sam2.sources.video.discovery import FoundVideo
from grounded_sam2.store import Item, ItemOutcome, LabelStore, RunConfig, StoredVideo
from grounded_sam2.tracking import ClipState, ClipTracker

__all__ = ["label_videos"]

_COMMIT_SECONDS = 20.0
"""Between two batches. The saved state takes half a megabyte per object and remembered frame at
full size: writing it after each frame would cost more than tracking."""
_MAX_BATCH_FRAMES = 1000
"""Their labels are in memory until the batch is written."""


def label_videos(
    videos: Sequence[FoundVideo],
    store: LabelStore,
    detector: Detector,
    tracker: AnyTracker,
    ontology: CaptionOntology | None,
    config: Config,
    *,
    run_config: RunConfig,
    new_run: bool = False,
    progress: VideoProgress | None = None,
    commit_seconds: float = _COMMIT_SECONDS,
) -> VideoRunSummary:
    """Label every frame of videos that the store has no labels for.

    Finished videos are skipped, and the models are not called when all are finished, so that they
    may load lazily.

    Args:
        videos: see `grounded_sam2.sources.video.discovery.find_videos`.
        store: opened with `LabelStore.create`.
        detector: finds boxes on some frames.
        tracker: propagates them to the others.
        ontology: captions and classes; ``None`` for tasks without captions.
        config: see `grounded_sam2.config.TrackingConfig`.
        run_config: see `grounded_sam2.engine.run_config.video_run_config`.
        new_run: allow a run configuration that the store does not hold yet beside those that it
            does.
        progress: receives the frames as they are labeled.
        commit_seconds: minimum time between two batches. It does not change the labels, only how
            much is repeated after a power cut.

    Raises:
        SourceError: the only video cannot be read. Of several, the others are labeled, and the
            summary holds the error of this one.
        StoreError: the store was made with other settings, and `new_run` is false; or it holds
            the video under another name, another one of the same name, or frames of a stream or
            camera, which cannot be read again.
        RunInterrupted: Ctrl-C, after the current frame. What cannot be read again ends there.
        CheckpointError, ConfigError, OntologyError: no video can be labeled.
    """
    began = time.perf_counter()
    requested_captions(ontology, config)
    pairs = None if ontology is None else tuple(ontology.to_dict().items())
    run = store.begin_run(
        run_config,
        ontology=pairs,
        settings=config.to_dict(),
        versions=package_versions(),
        new_run=new_run,
    )
    labeler = _VideoLabeler(store, run.id, detector, tracker, ontology, config, commit_seconds)
    summaries: list[VideoSummary] = []
    with StopRequest() as stop:
        for video in videos:
            summaries.append(_label(labeler, video, stop, progress, is_only=len(videos) == 1))
            if stop.requested:
                stored = store.video(run.id, video.name)
                raise RunInterrupted.of_video(
                    video.name,
                    summaries[-1].frames,
                    can_continue=stored is None or stored.record.is_identifiable,
                )
    return VideoRunSummary(run.id, tuple(summaries), time.perf_counter() - began)


def _label(
    labeler: _VideoLabeler,
    video: FoundVideo,
    stop: StopRequest,
    progress: VideoProgress | None,
    *,
    is_only: bool,
) -> VideoSummary:
    """Label one video, or continue it; raise its error only if it is the only video."""
    began = time.perf_counter()
    store, run_id = labeler.store, labeler.run_id
    stored: StoredVideo | None = None
    error: str | None = None
    warning: str | None = None
    try:
        source = video.open()
        stored = resume_or_begin(store, run_id, source)
        if progress is not None:
            progress.start(video.name, source.expected_frames)
            progress.advance(stored.frames)
        if not stored.finished:
            try:
                labeler.label(source, stored, stop, progress)
            except UnreadableStateError as unreadable:
                warning = f"its {stored.frames} frames were labeled again: {unreadable}"
                stored = store.begin_video(run_id, stored.record, restart=True)
                if progress is not None:
                    progress.start(video.name, source.expected_frames)
                    progress.advance(stored.frames)
                labeler.label(source, stored, stop, progress)
    except (SourceError, DuplicateVideoError) as reason:
        if is_only:
            raise
        error = str(reason)
        _record_failure(store, run_id, video.name, error)
    now = store.video(run_id, video.name)
    seconds = time.perf_counter() - began
    if now is None:
        return VideoSummary(video.name, 0, 0, 0, 0, seconds, error)
    return VideoSummary(
        name=video.name,
        frames=now.frames,
        frames_now=0 if stored is None else now.frames - stored.frames,
        tracks=len(store.tracks(run_id, video.name)),
        broken_frames=now.broken_frames,
        seconds=seconds,
        error=error,
        warning=warning,
    )


def _record_failure(store: LabelStore, run_id: int, name: str, reason: str) -> None:
    if store.video(run_id, name) is None:  # it never began: a failed item, as of an image
        store.write_batch(run_id, [ItemOutcome(Item(name, None), None, reason)])
    else:
        store.fail_video(run_id, name, reason)


class UnreadableStateError(StoreError):
    """The tracker state that an earlier run saved cannot be loaded by this one."""


class _ReadFrame(NamedTuple):
    frame: VideoFrame
    broken_count: int
    """Broken frames up to this one; later ones are decoded ahead and not counted yet."""
    broken_reasons: int
    """How many of these have their reason kept."""


@dataclass(slots=True)
class _Batch:
    """Frames to be committed, and the broken frames met on the way to them."""

    frames: list[TrackedFrame] = field(default_factory=list)
    broken_count: int = 0
    broken_reasons: int = 0
    committed_reasons: int = 0


@dataclass(frozen=True, slots=True)
class _VideoLabeler:
    """Tracks one video at a time and commits it batch by batch."""

    store: LabelStore
    run_id: int
    detector: Detector
    tracker: AnyTracker
    ontology: CaptionOntology | None
    config: Config
    commit_seconds: float

    def label(
        self,
        source: VideoSource,
        stored: StoredVideo,
        stop: StopRequest,
        progress: VideoProgress | None,
    ) -> None:
        """Label a video from its saved state to its end, or until a stop is requested.

        Raises:
            UnreadableStateError: before anything was changed; restart the video
                (`LabelStore.begin_video`).
            SourceError: the video cannot be read to its end.
        """
        resume = self._saved_state(source.name)
        start = resume or ClipState()
        clip = self._clip_tracker(resume)
        batch = _Batch()
        committed_at = time.monotonic()

        def commit(*, finished: bool = False) -> None:
            self.store.write_frames(
                self.run_id,
                source.name,
                batch.frames,
                state=None if finished else clip.state().to_bytes(),
                broken_frames=stored.broken_frames + batch.broken_count,
                broken=source.broken.first[batch.committed_reasons : batch.broken_reasons],
                finished=finished,
            )
            batch.frames.clear()
            batch.committed_reasons = batch.broken_reasons

        def collect(frames: Iterable[TrackedFrame]) -> None:
            before = len(batch.frames)
            batch.frames.extend(frames)
            if progress is not None and len(batch.frames) > before:
                progress.advance(len(batch.frames) - before)

        with closing(prefetch(_read_frames(source, start))) as frames:
            for read in frames:
                collect(clip.feed(read.frame))
                batch.broken_count, batch.broken_reasons = read.broken_count, read.broken_reasons
                del read  # its pixels, before the next frame is waited for
                if stop.requested:
                    if not stored.record.is_identifiable:
                        break  # no later run can continue it: label the frames in the window too
                    commit()
                    return
                is_due = time.monotonic() - committed_at > self.commit_seconds
                if is_due or len(batch.frames) >= _MAX_BATCH_FRAMES:
                    commit()
                    committed_at = time.monotonic()
        batch.broken_count, batch.broken_reasons = source.broken.count, len(source.broken.first)
        collect(clip.finish())
        commit(finished=True)

    def _saved_state(self, name: str) -> ClipState | None:
        saved = self.store.tracker_state(self.run_id, name)
        try:
            return None if saved is None else ClipState.from_bytes(saved)
        except StoreError as error:
            raise UnreadableStateError(str(error)) from error

    def _clip_tracker(self, resume: ClipState | None) -> ClipTracker:
        self.tracker.empty_state()  # a model that cannot be loaded is not a fault of the state
        try:
            return ClipTracker(
                self.detector, self.tracker, self.ontology, self.config, resume=resume
            )
        except CheckpointError as error:
            if resume is None:
                raise
            raise UnreadableStateError(str(error)) from error


def _read_frames(source: VideoSource, start: ClipState) -> Generator[_ReadFrame, None, None]:
    for frame in source.frames(start.feed_from, broken_from=start.next_index):
        yield _ReadFrame(frame, source.broken.count, len(source.broken.first))
        del frame  # its pixels, while the next one is decoded
