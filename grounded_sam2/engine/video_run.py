"""Videos labeled into a store, frame by frame, in constant memory.

    decode ahead ─► track ─► a batch of labeled frames, and all that tracking knows ─► store

A batch and what tracking knows after it are one transaction. A run that ends in whatever way goes
on after its last batch, and its labels are those of a run that was never stopped.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from grounded_sam2.config import Config
from grounded_sam2.engine.signals import StopRequest
from grounded_sam2.engine.video_resume import SameVideoError, begin
from grounded_sam2.engine.video_summaries import (
    TrackSummary,
    VideoProgress,
    VideosInterrupted,
    VideoSummary,
)
from grounded_sam2.engine.video_writer import UnreadableStateError, VideoWork
from grounded_sam2.errors import SourceError
from grounded_sam2.inference.detect_and_segment import requested_captions
from grounded_sam2.models.protocols import AnyTracker, Detector
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.sources.video.discovery import FoundVideo
from grounded_sam2.store import (
    Item,
    ItemOutcome,
    LabelStore,
    RunConfig,
    StoredVideo,
)

__all__ = ["track_videos"]

_COMMIT_SECONDS = 20.0
"""Between two batches. What tracking knows is half a megabyte per object and remembered frame at
full size, so that writing it after each frame would cost more than tracking."""


def track_videos(
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
    commit_seconds: float | None = None,
) -> TrackSummary:
    """Label every frame of videos that the store has no labels for.

    Videos that are finished are passed over, and the models not called where all are, so that they
    may load when first asked.

    Args:
        videos: see `find_videos`.
        store: opened with `LabelStore.create`.
        detector: finds boxes on some frames.
        tracker: carries them to the others.
        ontology: captions and classes; ``None`` for tasks without captions.
        config: see `grounded_sam2.config.TrackingConfig`.
        recipe: see `grounded_sam2.engine.run_config.tracking_run_config_of`.
        new_run: allow a recipe that the store does not know beside those that it does.
        progress: told how it comes along.
        commit_seconds: at least so long is between two batches. What is labeled does not depend
            on it, only how much is done again after a power cut. ``None`` is 20.

    Raises:
        SourceError: the only video cannot be read. Of several, the others are labeled, and the
            summary says what was wrong with this one.
        StoreError: the store was made with other settings, and `new_run` is false; or it holds
            the video under another name, another one of the same name, or frames of an address or
            a camera, which cannot be read again.
        VideosInterrupted: Ctrl-C, after the frame at hand. What cannot be read again ends there.
        CheckpointError, ConfigError, OntologyError: nothing can be labeled so.
    """
    began = time.perf_counter()
    requested_captions(ontology, config)
    pairs = None if ontology is None else tuple(ontology.to_dict().items())
    run = store.begin_run(run_config, ontology=pairs, settings=config.to_dict(), new_run=new_run)
    wait = _COMMIT_SECONDS if commit_seconds is None else commit_seconds
    work = VideoWork(store, run.id, detector, tracker, ontology, config, wait)
    done: list[VideoSummary] = []
    with StopRequest() as stop:
        for given in videos:
            done.append(_label(work, given, stop, progress, only=len(videos) == 1))
            if stop.requested:
                stored = store.video(run.id, given.name)
                raise VideosInterrupted(
                    given.name,
                    done[-1].frames,
                    can_continue=stored is None or stored.record.is_identifiable,
                )
    return TrackSummary(run.id, tuple(done), time.perf_counter() - began)


def _label(
    work: VideoWork,
    given: FoundVideo,
    stop: StopRequest,
    progress: VideoProgress | None,
    *,
    only: bool,
) -> VideoSummary:
    """Label one video from where it stands; if it is the `only` one, what is wrong is raised."""
    began = time.perf_counter()
    known: StoredVideo | None = None
    error: str | None = None
    warning: str | None = None
    try:
        source = given.open()
        known = begin(work.store, work.run_id, source)
        if progress is not None:
            progress.start(given.name, source.expected_frames)
            progress.advance(known.frames)
        if not known.finished:
            try:
                work.go_on(source, known, stop, progress)
            except UnreadableStateError as lost:
                warning = f"its {known.frames} frames were labeled again: {lost}"
                known = work.store.begin_video(work.run_id, known.record, restart=True)
                work.go_on(source, known, stop, progress)
    except (SourceError, SameVideoError) as reason:
        if only:
            raise
        error = str(reason)
        _note_failure(work.store, work.run_id, given.name, error)
    now = work.store.video(work.run_id, given.name)
    seconds = time.perf_counter() - began
    if now is None:
        return VideoSummary(given.name, 0, 0, 0, 0, seconds, error)
    return VideoSummary(
        name=given.name,
        frames=now.frames,
        frames_now=0 if known is None else now.frames - known.frames,
        tracks=len(work.store.tracks(work.run_id, given.name)),
        broken_frames=now.broken_frames,
        seconds=seconds,
        error=error,
        warning=warning,
    )


def _note_failure(store: LabelStore, run_id: int, name: str, reason: str) -> None:
    if store.video(run_id, name) is None:  # it never began: an item that failed, like an image
        store.write_batch(run_id, [ItemOutcome(Item(name, None), None, reason)])
    else:
        store.fail_video(run_id, name, reason)
