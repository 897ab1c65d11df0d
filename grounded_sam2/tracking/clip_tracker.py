"""Tracking by captions: frames of a video go in one by one, labeled frames come out in order.

    every frame:             encode ─► propagate ────────────► update tracker state ─► pending
    every `detect_every`th:    └► detect ─► update tracks ─► label backward ─┘

A frame stays pending until no later one can change it, `ClipTracker.delay` frames at most. Nothing
else is kept of earlier frames: memory depends on the number of objects, not of frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from grounded_sam2.config import Config
from grounded_sam2.errors import SourceError
from grounded_sam2.inference.grounding import requested_captions
from grounded_sam2.models.protocols import (
    AnyTracker,
    Detector,
    FrameFeatures,
    FrameMasks,
    TrackerState,
)
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.results import Label, TrackedFrame, VideoFrame
from grounded_sam2.tracking.backward_propagation import label_backward
from grounded_sam2.tracking.detection_step import FrameTracks, update_tracks
from grounded_sam2.tracking.detections import FrameContext, detect_objects
from grounded_sam2.tracking.propagated_masks import PropagatedMasks
from grounded_sam2.tracking.saved_state import ClipState
from grounded_sam2.tracking.shot_detection import color_difference, thumbnail
from grounded_sam2.tracking.window import FrameWindow, PendingFrame, finalize

__all__ = ["ClipTracker", "track_frames"]


def track_frames(
    frames: Iterable[VideoFrame],
    detector: Detector,
    tracker: AnyTracker,
    ontology: CaptionOntology | None,
    config: Config,
    *,
    resume: ClipState | None = None,
) -> Iterator[TrackedFrame]:
    """Label the frames of a video, each object under one track id.

    Args:
        frames: of one video, in order; a frame is freed when the next one is taken.
        detector: finds boxes on some of them.
        tracker: turns boxes into masks, and propagates these to the other frames.
        ontology: captions to request, and their classes; ``None`` for tasks without captions.
        config: see `TrackingConfig`; thresholds and clean-up are those of images.
        resume: state to continue from; `frames` then begin at `ClipState.feed_from`.

    Yields:
        Every frame once, in order, some frames late: see `ClipTracker.delay`. Frames that were
        released before the saved state are not repeated.

    Raises:
        ConfigError: the task needs an ontology and none is given, or the reverse.
        OntologyError: the detector returned a caption that was not requested.
        SourceError: the frames do not continue from the saved state.
    """
    clip = ClipTracker(detector, tracker, ontology, config, resume=resume)
    for frame in frames:
        yield from clip.feed(frame)
    yield from clip.finish()


class ClipTracker:
    """Tracker of one video that is fed frame by frame.

    Args:
        detector: finds boxes.
        tracker: turns boxes into masks, and propagates these to other frames.
        ontology: captions to request, and their classes; ``None`` for tasks without captions.
        config: see `TrackingConfig`; thresholds and clean-up are those of images.
        resume: state to continue from.

    Raises:
        ConfigError: the task needs an ontology and none is given, or the reverse.
    """

    def __init__(
        self,
        detector: Detector,
        tracker: AnyTracker,
        ontology: CaptionOntology | None,
        config: Config,
        *,
        resume: ClipState | None = None,
    ) -> None:
        requested_captions(ontology, config)  # raise at once, not at the first detection step
        self._detector = detector
        self._tracker = tracker
        self._ontology = ontology
        self._config = config
        options = config.tracking
        self.delay = options.backward_frame_count + (options.min_hits - 1) * options.detect_every
        """Number of pending frames: a frame is released after so many later ones were fed."""
        start = resume or ClipState()
        self._position = start.position
        self._frames_since_detection = start.frames_since_detection
        self._next_object_id = start.next_object_id
        self._next_track_id = start.next_track_id
        self._track_ids = dict(start.track_ids)
        self._thumbnail = start.thumbnail
        self._tracks = start.tracks
        self._next_index = start.next_index
        self._window = FrameWindow(self.delay, options.backward_frame_count, start.pending)
        self._state: TrackerState = (
            tracker.load(resume.tracker_state) if resume else tracker.empty_state()
        )

    def feed(self, frame: VideoFrame) -> list[TrackedFrame]:
        """Process the next frame, and return the frames that it releases.

        Raises:
            OntologyError: the detector returned a caption that was not requested.
            SourceError: the frame does not follow the one before, or the saved state.
        """
        features = self._tracker.encode(frame.image)
        if missing := self._window.missing_features():
            self._restore_features(missing[0], frame, features)
            return []
        if frame.index < self._next_index:
            raise SourceError(
                f"frame {frame.index} of the video: expected frame {self._next_index} or a later "
                "one; feed frames in order, and resume with those from `ClipState.feed_from`"
            )
        begins_scene = self._begins_scene(frame)
        context = FrameContext(
            frame.image,
            features,
            self._position,
            begins_scene,
            {} if begins_scene or not self._window.pending else self._window.masks(-1),
            self._detector,
            self._tracker,
            self._ontology,
            self._config,
        )
        labels = self._update_state(self._track(context), context)
        self._window.push(
            PendingFrame(
                self._position,
                frame.index,
                frame.time,
                frame.size_hw,
                begins_scene,
                labels,
                features,
            )
        )
        self._position += 1
        self._next_index = frame.index + 1
        return self._release()

    def finish(self) -> list[TrackedFrame]:
        """Return all pending frames, after the last frame of the video.

        Tentative tracks that had no time to be confirmed keep their labels.
        """
        return self._release(everything=True)

    def state(self) -> ClipState:
        """Return the present state: resuming from it gives what continuing from here would."""
        pending = tuple(replace(frame, features=None) for frame in self._window.pending)
        needed = pending[max(len(pending) - self._config.tracking.backward_frame_count, 0) :]
        return ClipState(
            feed_from=needed[0].index if needed else self._next_index,
            position=self._position,
            frames_since_detection=self._frames_since_detection,
            next_object_id=self._next_object_id,
            next_track_id=self._next_track_id,
            track_ids=dict(self._track_ids),
            thumbnail=self._thumbnail,
            tracks=self._tracks,
            pending=pending,
            tracker_state=self._tracker.save(self._state),
        )

    def _restore_features(self, index: int, frame: VideoFrame, features: FrameFeatures) -> None:
        expected = self._window.pending[index].index
        if frame.index != expected:
            raise SourceError(
                f"frame {frame.index} of the video: the resumed run had frame {expected} there; "
                "give the same video, stride and range, from that frame on"
            )
        self._window.restore_features(index, features)

    def _begins_scene(self, frame: VideoFrame) -> bool:
        before, self._thumbnail = self._thumbnail, thumbnail(frame.image)
        if before is None:
            return True
        return color_difference(before, self._thumbnail) > self._config.tracking.shot_threshold

    def _track(self, context: FrameContext) -> FrameTracks:
        """Propagate all tracks to a frame, and update them with its detections where it has any."""
        tracks = self._tracks
        if context.begins_scene:
            tracks = tuple(track.in_new_scene() for track in tracks)
        raw_masks: FrameMasks = self._tracker.propagate(
            context.features, self._state, context.position
        )
        propagated = PropagatedMasks.from_tracker(raw_masks, tracks, context)
        self._frames_since_detection += 1
        detect_every = self._config.tracking.detect_every
        if not context.begins_scene and self._frames_since_detection < detect_every:
            return FrameTracks(propagated.masks, propagated.visible, tracks)
        self._frames_since_detection = 0
        found = detect_objects(context, first_object_id=self._next_object_id)
        self._next_object_id += found.box_count
        updated = update_tracks(found, propagated, self._state, self._window, context)
        for track in updated.reclassified:
            self._window.reclassify(track)
        self._window.remove_tracks({track.identity for track in updated.false_positives})
        for track in sorted(updated.tracks, key=lambda track: track.identity):  # oldest first
            tracklet = updated.tracklets.get(track.object_id, ())
            label_backward(self._window, track, tracklet, updated.displaced, self._config)
        return updated

    def _update_state(self, frame: FrameTracks, context: FrameContext) -> tuple[Label, ...]:
        """End lost tracks, update the tracker's state with the frame, and return its labels."""
        visible, config = frame.visible, self._config
        after = [
            track.after_frame(found.box_xyxy if (found := visible.get(track.object_id)) else None)
            for track in frame.tracks
        ]
        max_age = config.tracking.max_age
        self._tracks = tuple(track for track in after if track.frames_absent <= max_age)
        unconfirmed = [t for t in after if t.frames_absent > max_age and not t.is_confirmed]
        self._window.remove_tracks(
            {track.identity for track in (*frame.false_positives, *unconfirmed)}
        )
        object_ids = {track.object_id for track in self._tracks}
        self._state = self._tracker.update_state(
            context.features,
            self._state.select(object_ids),
            context.position,
            frame.masks.select(object_ids),
            prompted=frame.prompted,
        )
        labels: list[Label | None] = []
        for track in self._tracks:
            found = visible.get(track.object_id)
            if found is None:
                continue
            if track.object_id in frame.detected:
                detection = frame.detected[track.object_id]
                labels.append(track.detected_label(found, detection, config))
            else:
                labels.append(track.propagated_label(found, "forwards", config))
        return tuple(label for label in labels if label is not None)

    def _release(self, *, everything: bool = False) -> list[TrackedFrame]:
        released = [
            finalize(frame, self._config.cleanup, self._track_id)
            for frame in self._window.release(everything=everything)
        ]
        if len(self._track_ids) > len(self._tracks):  # some may never be needed again
            alive = self._window.identities() | {track.identity for track in self._tracks}
            self._track_ids = {i: n for i, n in self._track_ids.items() if i in alive}
        return released

    def _track_id(self, identity: int) -> int:
        if identity not in self._track_ids:
            self._track_ids[identity] = self._next_track_id
            self._next_track_id += 1
        return self._track_ids[identity]
