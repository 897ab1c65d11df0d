"""What is known of a thing that is being followed: a value, and what happens to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt

from grounded_sam2.config import TrackingConfig
from grounded_sam2.results import Label
from grounded_sam2.tracking.color_histogram import Appearance

__all__ = ["Box", "Track", "is_sure"]

Box = tuple[float, float, float, float]

_NEWS = 0.2
"""Share of the last detection in what a track looks like: light changes, and things turn."""
_STAYING = 0.85
"""Share of the likeness that is asked for, where a thing was there a frame before."""


@dataclass(frozen=True, slots=True)
class Track:
    """One thing that is being followed."""

    number: int
    """Its id with the tracker."""
    identity: int
    """The `number` of the track that it turned out to be; its own, unless it did."""
    class_name: str
    caption: str
    """Of the last detection; so is the confidence."""
    confidence: float | None
    appearance: Appearance
    """What its detections looked like, the last ones most."""
    votes: tuple[tuple[str, float], ...]
    """Confidence that detections have given to each class, summed; the first class first."""
    hits: int
    """Detections, as far as they matter."""
    is_confirmed: bool
    """It was detected surely or often enough; the labels of others may still be taken back."""
    misses: int = 0
    """Looks of the detector in a row that did not find it while its mask was doubtful."""
    gone: int = 0
    """Frames in a row without a trace; 0 while it is there."""
    place_xyxy: Box | None = None
    """Where it was last, in this scene."""
    size: float = 0.0
    """Side of a square like its box at its largest, in this scene: what goes behind something or
    out of the image is a sliver when it is seen last."""

    @classmethod
    def begun(
        cls, number: int, label: Label, appearance: Appearance, config: TrackingConfig
    ) -> Track:
        """The track of a first detection."""
        return cls(
            number,
            number,
            label.class_name,
            label.caption,
            label.confidence,
            appearance,
            votes=((label.class_name, _weight(label.confidence)),),
            hits=1,
            is_confirmed=config.min_hits == 1 or is_sure(label.confidence, config),
        )

    def detected(self, label: Label, config: TrackingConfig) -> Track:
        """After the detector has found it again, perhaps under another class.

        The class is that to which detections have given the most confidence; where there are
        equals, the first. What is carried on is the last detection of it.
        """
        votes = dict(self.votes)
        given = votes.get(label.class_name, 0.0) + _weight(label.confidence)
        votes[label.class_name] = round(given, 4)
        hits = min(self.hits + 1, config.min_hits)
        after = replace(
            self,
            votes=tuple(votes.items()),
            hits=hits,
            is_confirmed=self.is_confirmed
            or hits >= config.min_hits
            or is_sure(label.confidence, config),
            misses=0,
        )
        if max(votes, key=votes.__getitem__) != label.class_name:
            return after
        return replace(
            after,
            class_name=label.class_name,
            caption=label.caption,
            confidence=label.confidence,
        )

    def continuing(self, older: Track, config: TrackingConfig) -> Track:
        """After it has turned out to be an older track."""
        hits = min(self.hits + older.hits, config.min_hits)
        votes = dict(older.votes)
        for class_name, given in self.votes:
            votes[class_name] = round(votes.get(class_name, 0.0) + given, 4)
        last = self if max(votes, key=votes.__getitem__) == self.class_name else older
        return replace(
            self,
            identity=older.identity,
            class_name=last.class_name,
            caption=last.caption,
            confidence=last.confidence,
            votes=tuple(votes.items()),
            hits=hits,
            is_confirmed=self.is_confirmed or older.is_confirmed or hits >= config.min_hits,
            size=max(self.size, older.size),
            appearance=older.appearance,
        )

    def likeness(self, appearance: Appearance, config: TrackingConfig) -> float:
        """How much something looks like it: 0 for too little, 1 where no likeness is asked for."""
        if not config.min_similarity:
            return 1.0
        likeness = self.appearance.likeness(appearance)
        return likeness if likeness >= config.min_similarity else 0.0

    def may_look(self, appearance: Appearance, config: TrackingConfig) -> bool:
        """Whether what the tracker takes for it looks enough like it.

        Less is asked of what was there a frame before than of what comes back: on the edge, it
        would come and go.
        """
        least = config.min_similarity * (1 if self.gone else _STAYING)
        return not least or self.appearance.likeness(appearance) >= least

    def looking(self, appearance: Appearance) -> Track:
        """After a frame on which it was detected has shown what it looks like."""
        return replace(self, appearance=self.appearance.mixed(appearance, _NEWS))

    def seen(self, place_xyxy: Box | None) -> Track:
        """After a frame: where it was, or ``None`` for without a trace."""
        if place_xyxy is None:
            return replace(self, gone=self.gone + 1)
        left, top, right, bottom = place_xyxy
        size = max(self.size, sqrt((right - left) * (bottom - top)))
        return replace(self, gone=0, place_xyxy=place_xyxy, size=size)

    def elsewhere(self) -> Track:
        """In another scene, where places mean nothing."""
        return replace(self, place_xyxy=None, size=0.0)


def is_sure(confidence: float | None, config: TrackingConfig) -> bool:
    """Whether a detection is believed alone. One without a confidence is: nothing speaks against
    it."""
    return confidence is None or confidence >= config.high_confidence


def _weight(confidence: float | None) -> float:
    return 1.0 if confidence is None else confidence
