"""Text to tracks: frames of a video go in one by one, labeled frames come out in order.

    every frame:        encode ─► propagate ─────────────────────────────► remember ─► wait
    now and then also:    └► detect ─► match ─► correct, begin, end ─► follow back ─┘

A frame waits until no later one can change it, `ClipTracker.delay` frames at most. Nothing else is
kept of the past: the memory depends on the number of objects, not of frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from grounded_sam2.config import Config
from grounded_sam2.errors import SourceError
from grounded_sam2.inference.detect_and_segment import requested_captions
from grounded_sam2.models.protocols import (
    AnyTracker,
    Detector,
    FrameFeatures,
    FrameMasks,
    TrackerState,
)
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.results import Label, TrackedFrame, VideoFrame
from grounded_sam2.tracking import shot_detection
from grounded_sam2.tracking.backward_propagation import write_back
from grounded_sam2.tracking.detection_step import Look, look
from grounded_sam2.tracking.detections import find
from grounded_sam2.tracking.frame_context import Now
from grounded_sam2.tracking.labels import carried_label, detected_label
from grounded_sam2.tracking.propagated import Carried
from grounded_sam2.tracking.saved_state import ClipState
from grounded_sam2.tracking.window import Waiting, Window, finished

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
    """Label the frames of a video, one thing under one id.

    Args:
        frames: of one video, in order; each is let go of when the next is taken.
        detector: finds boxes on some of them.
        tracker: turns boxes into masks, and carries them to the other frames.
        ontology: captions to ask for, and their classes; ``None`` for tasks without captions.
        config: see `TrackingConfig`; thresholds and clean-up are those of images.
        resume: where to go on; `frames` then begin at `ClipState.feed_from`.

    Yields:
        Every frame once, in order, some frames late: see `ClipTracker.delay`. Of those that were
        given away before the saved state, none again.

    Raises:
        ConfigError: the task needs an ontology and there is none, or the other way round.
        OntologyError: the detector answers with a caption that was not asked.
        SourceError: the frames do not go on where the saved state ends.
    """
    clip = ClipTracker(detector, tracker, ontology, config, resume=resume)
    for frame in frames:
        yield from clip.feed(frame)
    yield from clip.finish()


class ClipTracker:
    """The tracks of one video, between two of its frames.

    Args:
        detector: finds boxes.
        tracker: turns boxes into masks, and carries them to other frames.
        ontology: captions to ask for, and their classes; ``None`` for tasks without captions.
        config: see `TrackingConfig`; thresholds and clean-up are those of images.
        resume: where to go on.

    Raises:
        ConfigError: the task needs an ontology and there is none, or the other way round.
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
        requested_captions(ontology, config)  # wrong from the start, not at the first look
        self._detector = detector
        self._tracker = tracker
        self._ontology = ontology
        self._config = config
        options = config.tracking
        self.delay = options.fill_frames + (options.min_hits - 1) * options.detect_every
        """Frames that wait: so many are given away only after later ones were fed."""
        known = resume or ClipState()
        self._position = known.position
        self._since_look = known.since_look
        self._next_number = known.next_number
        self._next_track_id = known.next_track_id
        self._track_ids = dict(known.track_ids)
        self._thumbnail = known.thumbnail
        self._tracks = known.tracks
        self._next_index = known.next_index
        self._window = Window(self.delay, options.fill_frames, known.waiting)
        self._state: TrackerState = tracker.load(resume.state) if resume else tracker.empty_state()

    def feed(self, frame: VideoFrame) -> list[TrackedFrame]:
        """Take the next frame, and give away those that need to wait no longer.

        Raises:
            OntologyError: the detector answers with a caption that was not asked.
            SourceError: it does not follow on the frame before, or on the saved state.
        """
        encoded = self._tracker.encode(frame.image)
        if lacking := self._window.lacking():
            self._see_again(lacking[0], frame, encoded)
            return []
        if frame.index < self._next_index:
            raise SourceError(
                f"frame {frame.index} of the video: frame {self._next_index} or a later one is "
                "next; give frames in order, and go on with those from `ClipState.feed_from`"
            )
        begins_scene = self._is_cut(frame)
        now = Now(
            frame.image,
            encoded,
            self._position,
            begins_scene,
            {} if begins_scene or not self._window.waiting else self._window.masks(-1),
            self._detector,
            self._tracker,
            self._ontology,
            self._config,
        )
        labels = self._settle(self._track(now), now)
        waiting = Waiting(
            self._position, frame.index, frame.time, frame.size_hw, begins_scene, labels, encoded
        )
        self._window.push(waiting)
        self._position += 1
        self._next_index = frame.index + 1
        return self._give_away()

    def finish(self) -> list[TrackedFrame]:
        """Give away the frames that still wait, after the last one of the video.

        Tracks that had no time to be confirmed are believed.
        """
        return self._give_away(everything=True)

    def state(self) -> ClipState:
        """All that is known now. Going on from there gives what going on from here would."""
        waiting = tuple(replace(frame, encoded=None) for frame in self._window.waiting)
        needed = waiting[max(len(waiting) - self._config.tracking.fill_frames, 0) :]
        return ClipState(
            feed_from=needed[0].index if needed else self._next_index,
            position=self._position,
            since_look=self._since_look,
            next_number=self._next_number,
            next_track_id=self._next_track_id,
            track_ids=dict(self._track_ids),
            thumbnail=self._thumbnail,
            tracks=self._tracks,
            waiting=waiting,
            state=self._tracker.save(self._state),
        )

    def _see_again(self, place: int, frame: VideoFrame, encoded: FrameFeatures) -> None:
        expected = self._window.waiting[place].index
        if frame.index != expected:
            raise SourceError(
                f"frame {frame.index} of the video: the run that is continued had frame "
                f"{expected} there; give the same video, stride and range, from that frame on"
            )
        self._window.show_again(place, encoded)

    def _is_cut(self, frame: VideoFrame) -> bool:
        before, self._thumbnail = self._thumbnail, shot_detection.thumbnail(frame.image)
        if before is None:
            return True
        return (
            shot_detection.difference(before, self._thumbnail)
            > self._config.tracking.cut_difference
        )

    def _track(self, now: Now) -> Look:
        """Find all tracks on a frame, and new ones where the detector is to look."""
        tracks = self._tracks
        if now.begins_scene:
            tracks = tuple(track.elsewhere() for track in tracks)
        claimed: FrameMasks = self._tracker.propagate(now.encoded, self._state, now.position)
        carried = Carried.to(claimed, tracks, now)
        self._since_look += 1
        if not now.begins_scene and self._since_look < self._config.tracking.detect_every:
            return Look(carried.answers, carried.seen, tracks)
        self._since_look = 0
        found = find(now, first_number=self._next_number)
        self._next_number += found.asked
        looked = look(found, carried, self._state, self._window, now)
        for track in looked.renamed:
            self._window.rename(track)
        self._window.take_back({track.identity for track in looked.mistaken})
        for track in sorted(looked.tracks, key=lambda track: track.identity):  # older ones first
            trail = looked.trails.get(track.number, ())
            write_back(self._window, track, trail, looked.displaced, self._config)
        return looked

    def _settle(self, looked: Look, now: Now) -> tuple[Label, ...]:
        """End what ends, and let the tracker remember the frame: its labels."""
        after = [
            track.seen(looked.seen[track.number].box_xyxy if track.number in looked.seen else None)
            for track in looked.tracks
        ]
        most_gone = self._config.tracking.max_gone
        self._tracks = tuple(track for track in after if track.gone <= most_gone)
        never_confirmed = [t for t in after if t.gone > most_gone and not t.is_confirmed]
        self._window.take_back({track.identity for track in (*looked.mistaken, *never_confirmed)})
        numbers = {track.number for track in self._tracks}
        self._state = self._tracker.update_state(
            now.encoded,
            self._state.select(numbers),
            now.position,
            looked.answers.select(numbers),
            prompted=looked.prompted,
        )
        labels: list[Label | None] = []
        for track in self._tracks:
            if track.number in looked.sighted:
                thing = looked.sighted[track.number]
                labels.append(detected_label(track, looked.seen[track.number], thing, self._config))
            elif track.number in looked.seen:
                seen = looked.seen[track.number]
                labels.append(carried_label(track, seen, "forwards", self._config))
        return tuple(label for label in labels if label is not None)

    def _give_away(self, *, everything: bool = False) -> list[TrackedFrame]:
        given = [
            finished(frame, self._config.cleanup, self._track_id)
            for frame in self._window.release(everything=everything)
        ]
        if len(self._track_ids) > len(self._tracks):  # some may never be needed again
            alive = self._window.identities() | {track.identity for track in self._tracks}
            self._track_ids = {i: n for i, n in self._track_ids.items() if i in alive}
        return given

    def _track_id(self, identity: int) -> int:
        if identity not in self._track_ids:
            self._track_ids[identity] = self._next_track_id
            self._next_track_id += 1
        return self._track_ids[identity]
