"""The last frames: their labels wait for what later frames say of them.

A new thing is followed back through them, and a track that turns out to be a mistake takes its
labels back. Both reach only so far, so that a frame which has waited long enough is given away, and
the memory does not grow with the video. Of the last few, what the tracker has seen is kept as well.

Until a frame is given away, ``track_id`` of its labels is the track's identity; then identities are
counted from 1 in the order in which they are given away, so that mistakes leave no gaps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from grounded_sam2.config import CleanupConfig
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.inference.cleanup import clean_up
from grounded_sam2.models.protocols import FrameFeatures
from grounded_sam2.results import Label, Labels, TrackedFrame
from grounded_sam2.tracking.tracks import Track

__all__ = ["Waiting", "Window", "finished", "identity_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """A frame that was processed and may still change."""

    position: int
    """Its place in the sequence of frames that are processed, from 0."""
    index: int
    time: float
    size_hw: tuple[int, int]
    begins_scene: bool
    labels: tuple[Label, ...]
    """As the tracker gave them; ``track_id`` is the identity."""
    encoded: FrameFeatures | None = None
    """What the tracker sees; ``None`` where it is not needed any more, or not there again yet."""


class Window:
    """The frames that wait, oldest first.

    Args:
        frames: how many of the last frames wait.
        encoded: of how many of these what the tracker sees is kept.
        waiting: to begin with.
    """

    def __init__(self, frames: int, encoded: int, waiting: Iterable[Waiting] = ()) -> None:
        self._frames = frames
        self._encoded = encoded
        self.waiting = deque(waiting)

    def push(self, frame: Waiting) -> None:
        """Add the frame that was just processed."""
        self.waiting.append(frame)
        too_old = len(self.waiting) - 1 - self._encoded
        if too_old >= 0:
            self.waiting[too_old] = replace(self.waiting[too_old], encoded=None)

    def backwards(self) -> Iterator[int]:
        """Places of the frames that the tracker can still look at, newest first."""
        for place in range(len(self.waiting) - 1, -1, -1):
            if self.waiting[place].encoded is None:
                return
            yield place

    def masks(self, place: int) -> dict[int, Rle]:
        """Where the tracks are on a frame, by identity."""
        labels = self.waiting[place].labels
        return {identity_of(label): label.mask for label in labels if label.mask is not None}

    def lacking(self) -> list[int]:
        """Places of the frames whose images are needed again, oldest first."""
        first = max(len(self.waiting) - self._encoded, 0)
        return [
            place
            for place in range(first, len(self.waiting))
            if self.waiting[place].encoded is None
        ]

    def show_again(self, place: int, encoded: FrameFeatures) -> None:
        """Let the tracker see a frame again."""
        self.waiting[place] = replace(self.waiting[place], encoded=encoded)

    def relabel(self, place: int, labels: Sequence[Label]) -> None:
        """Give a frame other labels."""
        self.waiting[place] = replace(self.waiting[place], labels=tuple(labels))

    def take_back(self, identities: Collection[int]) -> None:
        """Remove the labels of tracks that were mistakes."""
        if not identities:
            return
        for place, frame in enumerate(self.waiting):
            kept = tuple(label for label in frame.labels if label.track_id not in identities)
            if len(kept) < len(frame.labels):
                self.waiting[place] = replace(frame, labels=kept)

    def rename(self, track: Track) -> None:
        """Give the labels of a track its class, which a detection has changed.

        Those of another class become carried backwards from that detection: what was detected on
        their frames was not this.
        """
        for place, frame in enumerate(self.waiting):
            labels = tuple(
                replace(
                    label,
                    class_name=track.class_name,
                    caption=track.caption,
                    confidence=track.confidence,
                    detected_box_xyxy=None,
                    track_origin="backwards",
                )
                if label.track_id == track.identity and label.class_name != track.class_name
                else label
                for label in frame.labels
            )
            self.waiting[place] = replace(frame, labels=labels)

    def identities(self) -> set[int]:
        """All that have labels here."""
        return {identity_of(label) for frame in self.waiting for label in frame.labels}

    def release(self, *, everything: bool = False) -> Iterator[Waiting]:
        """Remove the frames that have waited long enough."""
        while len(self.waiting) > (0 if everything else self._frames):
            yield self.waiting.popleft()


def finished(frame: Waiting, config: CleanupConfig, track_id: Callable[[int], int]) -> TrackedFrame:
    """A frame as it is given away: cleaned up as images are, objects by track id.

    Args:
        frame: as it waited.
        config: what to clean.
        track_id: the id of an identity; asked for rising ones.
    """
    cleaned = clean_up(Labels(frame.size_hw, frame.labels), config).labels
    objects = [
        replace(
            label,
            track_id=track_id(identity_of(label)),
            box_xyxy=label.box_xyxy if config.boxes_from_masks else _box(label),
        )
        for label in sorted(cleaned.objects, key=identity_of)
    ]
    objects.sort(key=identity_of)  # an older identity may have been given away later
    return TrackedFrame(frame.index, frame.time, Labels(frame.size_hw, tuple(objects)))


def identity_of(label: Label) -> int:
    """The track that a label belongs to."""
    assert label.track_id is not None, "labels of videos belong to tracks"
    return label.track_id


def _box(label: Label) -> tuple[float, float, float, float]:
    """Where no detector was asked, the only box there is belongs to the mask as it is now."""
    if label.detected_box_xyxy is None and label.mask is not None:
        return label.mask.bbox_xyxy
    return label.box_xyxy
