"""Pending frames: the last frames of a video, whose labels later frames may still change.

A new track is propagated backward through them, and a track that turns out to be a false positive
loses its labels on them. The window is bounded, so memory does not grow with the length of the
video. For the last few frames, the tracker's features are kept as well.

On pending frames, ``track_id`` of a label is the track's identity. When frames are released,
identities are renumbered from 1 in the order of their release, so that removed tracks leave no
gaps.
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

__all__ = ["FrameWindow", "PendingFrame", "finalize", "identity_of"]


@dataclass(frozen=True, slots=True, eq=False)
class PendingFrame:
    """A processed frame whose labels may still change."""

    position: int
    """Position in the sequence of processed frames, from 0."""
    index: int
    """`VideoFrame.index`."""
    time: float
    """`VideoFrame.time`."""
    size_hw: tuple[int, int]
    begins_scene: bool
    labels: tuple[Label, ...]
    """Before clean-up; ``track_id`` is the track's identity."""
    features: FrameFeatures | None = None
    """The image as encoded by the tracker; ``None`` where it is too old to be needed, or was not
    encoded again yet after tracking was resumed."""


class FrameWindow:
    """The pending frames, oldest first.

    Args:
        max_frames: number of frames that stay pending.
        max_features: number of the last of these whose features are kept.
        pending: initial frames.
    """

    def __init__(
        self, max_frames: int, max_features: int, pending: Iterable[PendingFrame] = ()
    ) -> None:
        self._max_frames = max_frames
        self._max_features = max_features
        self.pending = deque(pending)

    def push(self, frame: PendingFrame) -> None:
        """Add the frame that was just processed."""
        self.pending.append(frame)
        too_old = len(self.pending) - 1 - self._max_features
        if too_old >= 0:
            self.pending[too_old] = replace(self.pending[too_old], features=None)

    def backward_indices(self) -> Iterator[int]:
        """Indices of the frames whose features are kept, newest first."""
        for index in range(len(self.pending) - 1, -1, -1):
            if self.pending[index].features is None:
                return
            yield index

    def masks(self, index: int) -> dict[int, Rle]:
        """Masks of the tracks on a frame, by identity."""
        labels = self.pending[index].labels
        return {identity_of(label): label.mask for label in labels if label.mask is not None}

    def missing_features(self) -> list[int]:
        """Indices of the frames whose images must be encoded again, oldest first."""
        first = max(len(self.pending) - self._max_features, 0)
        return [
            index
            for index in range(first, len(self.pending))
            if self.pending[index].features is None
        ]

    def restore_features(self, index: int, features: FrameFeatures) -> None:
        """Set the features of a frame that was encoded again."""
        self.pending[index] = replace(self.pending[index], features=features)

    def relabel(self, index: int, labels: Sequence[Label]) -> None:
        """Replace the labels of a frame."""
        self.pending[index] = replace(self.pending[index], labels=tuple(labels))

    def remove_tracks(self, identities: Collection[int]) -> None:
        """Remove the labels of tracks that were false positives."""
        if not identities:
            return
        for index, frame in enumerate(self.pending):
            kept = tuple(label for label in frame.labels if label.track_id not in identities)
            if len(kept) < len(frame.labels):
                self.pending[index] = replace(frame, labels=kept)

    def reclassify(self, track: Track) -> None:
        """Give the labels of a track the class to which a detection has changed it.

        Labels of another class become labels propagated backwards from that detection: what was
        detected on their frames was another class.
        """
        for index, frame in enumerate(self.pending):
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
            self.pending[index] = replace(frame, labels=labels)

    def identities(self) -> set[int]:
        """Identities of all tracks that have a label on a pending frame."""
        return {identity_of(label) for frame in self.pending for label in frame.labels}

    def release(self, *, everything: bool = False) -> Iterator[PendingFrame]:
        """Remove and yield the frames that no later frame can change, or all frames."""
        while len(self.pending) > (0 if everything else self._max_frames):
            yield self.pending.popleft()


def finalize(
    frame: PendingFrame, config: CleanupConfig, track_id: Callable[[int], int]
) -> TrackedFrame:
    """Return a frame as it is released: cleaned up as images are, objects by rising track id.

    Args:
        frame: as it was pending.
        config: what to clean.
        track_id: returns the final id of an identity; called with rising identities.
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
    objects.sort(key=identity_of)  # an older identity may have been released later
    return TrackedFrame(frame.index, frame.time, Labels(frame.size_hw, tuple(objects)))


def identity_of(label: Label) -> int:
    """Identity of the track that a label belongs to."""
    assert label.track_id is not None, "labels of videos belong to tracks"
    return label.track_id


def _box(label: Label) -> tuple[float, float, float, float]:
    """The detector's box; on a frame without a detection, the box of the cleaned mask."""
    if label.detected_box_xyxy is None and label.mask is not None:
        return label.mask.bbox_xyxy
    return label.box_xyxy
