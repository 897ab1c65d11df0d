"""Videos labeled into a store, frame by frame, in constant memory.

    decode ahead ─► track ─► a window of labeled frames, and all that tracking knows ─► store

A window and what tracking knows after it are one transaction. A run that ends in whatever way goes
on after its last window, and its labels are those of a run that was never stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

from grounded_sam2.config import Config
from grounded_sam2.errors import SourceError
from grounded_sam2.interrupts import StopRequest
from grounded_sam2.labeling import captions_of
from grounded_sam2.models.protocols import AnyTracker, Detector
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.results import TrackedFrame
from grounded_sam2.sources.videos import VideoSource, prefetched
from grounded_sam2.store import (
    Item,
    ItemResult,
    LabelStore,
    Recipe,
    StoredVideo,
)
from grounded_sam2.tracking import Checkpoint, ClipTracker
from grounded_sam2.videos.beginning import begin
from grounded_sam2.videos.finding import GivenVideo
from grounded_sam2.videos.summaries import (
    TrackSummary,
    VideoProgress,
    VideosInterrupted,
    VideoSummary,
)

__all__ = ["track_videos"]

_COMMIT_SECONDS = 20.0
"""Between two windows. What tracking knows is half a megabyte per object and remembered frame at
full size, so that writing it after each frame would cost more than tracking."""
_MOST_FRAMES = 1000
"""In a window: their labels are in memory until it is written."""
_DECODED_AHEAD = 4


def track_videos(
    videos: Sequence[GivenVideo],
    store: LabelStore,
    detector: Detector,
    tracker: AnyTracker,
    ontology: CaptionOntology | None,
    config: Config,
    *,
    recipe: Recipe,
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
        recipe: see `grounded_sam2.recipes.tracking_recipe_of`.
        new_run: allow a recipe that the store does not know beside those that it does.
        progress: told how it comes along.
        commit_seconds: at least so long is between two windows. What is labeled does not depend
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
    captions_of(ontology, config)
    pairs = None if ontology is None else tuple(ontology.to_dict().items())
    run = store.begin_run(recipe, ontology=pairs, settings=config.to_dict(), new_run=new_run)
    wait = _COMMIT_SECONDS if commit_seconds is None else commit_seconds
    done: list[VideoSummary] = []
    with StopRequest() as stop:
        for given in videos:
            work = _Work(store, run.id, detector, tracker, ontology, config, wait)
            try:
                done.append(work.label(given, stop, progress))
            except SourceError as error:
                if len(videos) == 1:
                    raise
                done.append(_failed(store, run.id, given, str(error)))
            if stop.requested:
                stored = store.video(run.id, given.name)
                raise VideosInterrupted(
                    given.name,
                    done[-1].frames,
                    can_continue=stored is None or stored.record.is_recognisable,
                )
    return TrackSummary(run.id, tuple(done), time.perf_counter() - began)


@dataclass(frozen=True, slots=True)
class _Work:
    """What labeling a video needs."""

    store: LabelStore
    run_id: int
    detector: Detector
    tracker: AnyTracker
    ontology: CaptionOntology | None
    config: Config
    commit_seconds: float

    def label(
        self, given: GivenVideo, stop: StopRequest, progress: VideoProgress | None
    ) -> VideoSummary:
        """Label one video from where it stands."""
        began = time.perf_counter()
        source = given.open()
        known = begin(self.store, self.run_id, source)
        if progress is not None:
            progress.start(given.name, source.expected_frames)
            progress.advance(known.frames)
        if not known.finished:
            self._go_on(source, known, stop, progress)
        now = self.store.video(self.run_id, source.name)
        assert now is not None, "it was begun"
        tracks = len(self.store.tracks(self.run_id, source.name))
        seconds = time.perf_counter() - began
        return VideoSummary(
            source.name, now.frames, now.frames - known.frames, tracks, now.broken_frames, seconds
        )

    def _go_on(
        self,
        source: VideoSource,
        known: StoredVideo,
        stop: StopRequest,
        progress: VideoProgress | None,
    ) -> None:
        saved = self.store.tracker_state(self.run_id, source.name)
        resume = None if saved is None else Checkpoint.from_bytes(saved)
        feed_from = 0 if resume is None else resume.feed_from
        clip = ClipTracker(self.detector, self.tracker, self.ontology, self.config, resume=resume)
        window: list[TrackedFrame] = []
        written = time.monotonic()

        def commit(*, finished: bool = False) -> None:
            self.store.write_frames(
                self.run_id,
                source.name,
                window,
                state=None if finished else clip.checkpoint().to_bytes(),
                broken_frames=max(known.broken_frames, source.broken.count),
                finished=finished,
            )
            window.clear()

        def give(frames: Iterable[TrackedFrame]) -> None:
            before = len(window)
            window.extend(frames)
            if progress is not None and len(window) > before:
                progress.advance(len(window) - before)

        with closing(prefetched(source.frames(feed_from), _DECODED_AHEAD)) as frames:
            for frame in frames:
                give(clip.feed(frame))
                del frame  # before the next is waited for
                if stop.requested:
                    if not known.record.is_recognisable:
                        break  # nothing will go on with it: what still waits is labeled as well
                    commit()
                    return
                late = time.monotonic() - written > self.commit_seconds
                if late or len(window) >= _MOST_FRAMES:
                    commit()
                    written = time.monotonic()
        give(clip.finish())
        commit(finished=True)


def _failed(store: LabelStore, run_id: int, given: GivenVideo, reason: str) -> VideoSummary:
    """Write down why a video cannot be labeled, or not to its end."""
    known = store.video(run_id, given.name)
    if known is None:  # it never began: an item that failed, as a picture would be
        store.write_batch(run_id, [ItemResult(Item(given.name, None), None, reason)])
        return VideoSummary(given.name, 0, 0, 0, 0, 0.0, reason)
    store.fail_video(run_id, given.name, reason)
    return VideoSummary(given.name, known.frames, 0, 0, known.broken_frames, 0.0, reason)
