"""What the detector finds on a frame, with the tracker's masks, as clean as labels of images.

    captions ─ detector ─► boxes ─ tracker.prompt ─► candidates ─ postprocess ─► sightings

The tracker stands in for the segmenter of images, so that everything else is done by the same
functions, and what it said is kept: an object that is new is remembered without being asked again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.geometry import rle
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.inference.detect_and_segment import detect_and_segment, requested_captions
from grounded_sam2.inference.postprocess import postprocess
from grounded_sam2.models.protocols import FrameMasks, TrackPrompt
from grounded_sam2.results import Image, Label, SegmentedMasks
from grounded_sam2.tracking.color_histogram import Appearance
from grounded_sam2.tracking.frame_context import Now

__all__ = ["Sight", "Sighting", "Sightings", "find", "sights"]


@dataclass(frozen=True, slots=True)
class Sight:
    """An object that the tracker sees on a frame."""

    mask: Rle
    box_xyxy: tuple[float, float, float, float]
    """Tight around the mask."""
    quality: float
    """Predicted IoU, to four decimals."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One thing that the detector found on a frame."""

    number: int
    """The id under which the tracker was asked for its mask."""
    label: Label
    sight: Sight
    appearance: Appearance

    def prompt(self) -> TrackPrompt:
        """What shows it to the tracker."""
        return TrackPrompt(box_xyxy=np.array(self.label.detected_box_xyxy, np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class Sightings:
    """All that the detector found on a frame; by falling confidence."""

    things: tuple[Sighting, ...]
    answers: FrameMasks | None
    """What the tracker said of all boxes, also of those that became nothing; ``None`` for none."""
    asked: int
    """How many boxes."""


def find(now: Now, *, first_number: int) -> Sightings:
    """Look for all captions on a frame.

    Args:
        now: the frame.
        first_number: boxes are given to the tracker under this id and the next ones.

    Raises:
        OntologyError: the detector answers with a caption that was not asked.
    """
    config, asking = now.config, _Asking(now, first_number)
    [candidates] = detect_and_segment(
        [now.image],
        [requested_captions(now.ontology, config)],
        now.detector,
        asking,
        min_confidence=config.detector.min_confidence,
    )
    if asking.answers is None:
        return Sightings((), None, 0)
    decision = postprocess(candidates, now.encoded.size_hw, now.ontology, config)
    seen = asking.seen
    things = [
        Sighting(number, label, seen[number], Appearance.of(now.image, seen[number].mask))
        for place, label in zip(decision.candidate_indices, decision.labels.objects, strict=True)
        if (number := first_number + place) in seen
    ]
    return Sightings(tuple(things), asking.answers, len(candidates))


def sights(answers: FrameMasks) -> dict[int, Sight]:
    """The objects that are there, by id. Those with a score of 0 or less, or no pixel, are not."""
    return _sights(answers, answers.to_rles())


def _sights(answers: FrameMasks, masks: Sequence[Rle]) -> dict[int, Sight]:
    boxes = rle.bounding_boxes(masks).tolist()
    return {
        number: Sight(mask, (left, top, right, bottom), round(float(quality), 4))
        for number, mask, (left, top, right, bottom), quality, score in zip(
            answers.ids, masks, boxes, answers.quality, answers.score, strict=True
        )
        if score > 0 and right > left
    }


class _Asking:
    """The tracker as a segmenter of the one image that it has encoded."""

    def __init__(self, now: Now, first_number: int) -> None:
        self._now = now
        self._first = first_number
        self.answers: FrameMasks | None = None
        self.seen: dict[int, Sight] = {}

    def segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[NDArray[np.float32]]
    ) -> list[SegmentedMasks]:
        [boxes] = boxes_xyxy
        prompts = {self._first + i: TrackPrompt(box_xyxy=box) for i, box in enumerate(boxes)}
        self.answers = answers = self._now.tracker.prompt(self._now.encoded, prompts)
        masks = answers.to_rles()
        self.seen = _sights(answers, masks)
        return [SegmentedMasks(masks, answers.quality, np.zeros(len(masks), np.bool_))]
