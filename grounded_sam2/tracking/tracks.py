"""State of one track: an immutable value, its updates, and the labels made from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt

from grounded_sam2.config import Config, TrackingConfig
from grounded_sam2.results import Label, TrackOrigin
from grounded_sam2.tracking.color_histogram import ColorHistogram
from grounded_sam2.tracking.detections import Detection
from grounded_sam2.tracking.object_masks import ObjectMask

__all__ = ["Box", "Track", "is_high_confidence"]

Box = tuple[float, float, float, float]

_HISTOGRAM_UPDATE = 0.2
"""Weight of the last detection in a track's histogram: light changes, and objects turn."""
_VISIBLE_SIMILARITY = 0.85
"""Share of `TrackingConfig.min_similarity` required of an object that was visible one frame ago."""


@dataclass(frozen=True, slots=True)
class Track:
    """State of one tracked object."""

    object_id: int
    """Id of the object in the tracker's state."""
    identity: int
    """`object_id` of the older track that this one was re-identified as; otherwise its own."""
    class_name: str
    caption: str
    """Caption of the last detection of this class; `confidence` is that detection's as well."""
    confidence: float | None
    histogram: ColorHistogram
    """Running mean of the color histograms of the frames with a detection."""
    class_scores: tuple[tuple[str, float], ...]
    """Summed confidence of the detections of each class; the first class first."""
    hits: int
    """Number of detections, counted up to `TrackingConfig.min_hits`."""
    is_confirmed: bool
    """A high-confidence detection or enough detections were made; the labels of a tentative track
    may still be removed."""
    misses: int = 0
    """Consecutive detection steps that did not find the track while its mask was of low quality."""
    frames_absent: int = 0
    """Consecutive frames without a mask; 0 while the object is visible."""
    last_box_xyxy: Box | None = None
    """Box on the last frame of this scene on which the object was visible."""
    max_side: float = 0.0
    """Side of a square with the area of the largest box in this scene: an object that moves behind
    another one, or out of the image, is a sliver on the last frame."""

    @classmethod
    def from_detection(cls, detection: Detection, options: TrackingConfig) -> Track:
        """Start a track with its first detection."""
        label = detection.label
        return cls(
            detection.object_id,
            detection.object_id,
            label.class_name,
            label.caption,
            label.confidence,
            detection.histogram,
            class_scores=((label.class_name, _score(label.confidence)),),
            hits=1,
            is_confirmed=options.min_hits == 1 or is_high_confidence(label.confidence, options),
        )

    def with_detection(self, label: Label, options: TrackingConfig) -> Track:
        """Return the track after another detection, perhaps of another class.

        The class is the one with the highest summed confidence, the first one of equals. Caption
        and confidence are those of the last detection of that class.
        """
        scores = dict(self.class_scores)
        score = scores.get(label.class_name, 0.0) + _score(label.confidence)
        scores[label.class_name] = round(score, 4)
        hits = min(self.hits + 1, options.min_hits)
        updated = replace(
            self,
            class_scores=tuple(scores.items()),
            hits=hits,
            is_confirmed=self.is_confirmed
            or hits >= options.min_hits
            or is_high_confidence(label.confidence, options),
            misses=0,
        )
        if max(scores, key=scores.__getitem__) != label.class_name:
            return updated
        return replace(
            updated,
            class_name=label.class_name,
            caption=label.caption,
            confidence=label.confidence,
        )

    def reidentified_as(self, older: Track, options: TrackingConfig) -> Track:
        """Return this track as the continuation of an older one: identity, scores and hits of both,
        histogram of the older."""
        hits = min(self.hits + older.hits, options.min_hits)
        scores = dict(older.class_scores)
        for class_name, score in self.class_scores:
            scores[class_name] = round(scores.get(class_name, 0.0) + score, 4)
        source = self if max(scores, key=scores.__getitem__) == self.class_name else older
        return replace(
            self,
            identity=older.identity,
            class_name=source.class_name,
            caption=source.caption,
            confidence=source.confidence,
            class_scores=tuple(scores.items()),
            hits=hits,
            is_confirmed=self.is_confirmed or older.is_confirmed or hits >= options.min_hits,
            max_side=max(self.max_side, older.max_side),
            histogram=older.histogram,
        )

    def similarity(self, histogram: ColorHistogram, options: TrackingConfig) -> float:
        """Color similarity to the track: 0 below `TrackingConfig.min_similarity`, 1 for any colors
        if that is 0."""
        if not options.min_similarity:
            return 1.0
        similarity = self.histogram.similarity(histogram)
        return similarity if similarity >= options.min_similarity else 0.0

    def accepts_propagated(self, histogram: ColorHistogram, options: TrackingConfig) -> bool:
        """Whether a propagated mask has the colors of the track.

        The limit is lower for an object that was visible a frame before than for one that comes
        back: with a single limit, an object near it would flicker.
        """
        limit = options.min_similarity * (1 if self.frames_absent else _VISIBLE_SIMILARITY)
        return not limit or self.histogram.similarity(histogram) >= limit

    def with_histogram(self, histogram: ColorHistogram) -> Track:
        """Return the track with the colors of another frame blended into its histogram."""
        return replace(self, histogram=self.histogram.blend(histogram, _HISTOGRAM_UPDATE))

    def after_frame(self, box_xyxy: Box | None) -> Track:
        """Return the track after a frame: with its box there, or ``None`` if it was absent."""
        if box_xyxy is None:
            return replace(self, frames_absent=self.frames_absent + 1)
        left, top, right, bottom = box_xyxy
        max_side = max(self.max_side, sqrt((right - left) * (bottom - top)))
        return replace(self, frames_absent=0, last_box_xyxy=box_xyxy, max_side=max_side)

    def in_new_scene(self) -> Track:
        """Return the track without its position and size, which mean nothing in another scene."""
        return replace(self, last_box_xyxy=None, max_side=0.0)

    def detected_label(
        self, object_mask: ObjectMask, detection: Detection, config: Config
    ) -> Label | None:
        """Label of a frame with a detection: the tracker's mask, the detector's box.

        ``None`` if the mask's quality is below `SegmenterConfig.min_mask_quality`.
        """
        label = replace(
            detection.label,
            class_name=self.class_name,
            mask=object_mask.mask,
            mask_quality=object_mask.quality,
            track_id=self.identity,
            track_origin="detected",
        )
        if config.cleanup.boxes_from_masks:
            label = replace(label, box_xyxy=object_mask.box_xyxy)
        return _if_good(label, object_mask, config)

    def propagated_label(
        self, object_mask: ObjectMask, origin: TrackOrigin, config: Config
    ) -> Label | None:
        """Label of a frame without a detection: caption and confidence of the track's last one.

        ``None`` if the mask's quality is below `SegmenterConfig.min_mask_quality`.
        """
        label = Label(
            class_name=self.class_name,
            caption=self.caption,
            box_xyxy=object_mask.box_xyxy,
            mask=object_mask.mask,
            confidence=self.confidence,
            mask_quality=object_mask.quality,
            track_id=self.identity,
            track_origin=origin,
        )
        return _if_good(label, object_mask, config)


def is_high_confidence(confidence: float | None, options: TrackingConfig) -> bool:
    """Whether one detection alone confirms a track. One without a confidence does: its detector
    gives nothing to doubt it by."""
    return confidence is None or confidence >= options.high_confidence


def _score(confidence: float | None) -> float:
    return 1.0 if confidence is None else confidence


def _if_good(label: Label, object_mask: ObjectMask, config: Config) -> Label | None:
    return label if object_mask.quality >= config.segmenter.min_mask_quality else None
