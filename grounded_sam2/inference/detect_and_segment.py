"""A grounder made of a detector and a segmenter: captions to boxes, boxes to masks.

    captions ─ detector ─► boxes ─ segmenter ─► candidates

All captions of all images are detected in one call, and all boxes of all images are segmented in
one call, so that a batch costs each model one pass. The models are whatever satisfies the Protocols
of `grounded_sam2.models.protocols`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from grounded_sam2.inference.candidates import rounded_box, valid_boxes
from grounded_sam2.models.protocols import DeferredMaskSegmenter, Detector, Grounder, Segmenter
from grounded_sam2.results import Candidate, DetectedBoxes, Image, SegmentedMasks

__all__ = ["BoxesOfGrounder", "DetectThenSegment"]


@dataclass(frozen=True, slots=True)
class DetectThenSegment:
    """A detector, and a segmenter for its boxes, as one
    `grounded_sam2.models.protocols.DeferredGrounder`."""

    detector: Detector
    segmenter: Segmenter
    """Turns boxes into masks. Only images with boxes are given to it."""
    min_confidence: float = 0.0
    """Boxes below are dropped before they cost a mask."""

    def ground(
        self, images: Sequence[Image], captions: Sequence[Sequence[str]]
    ) -> list[tuple[Candidate, ...]]:
        """See `grounded_sam2.models.protocols.Grounder`.

        Candidates are in the order of the detector's boxes. Where the mask is the complement of
        what the box shows, the candidate has a box and no mask.

        Raises:
            OntologyError: the detector returned a caption that was not requested.
        """
        return self.start_ground(images, captions)()

    def start_ground(
        self, images: Sequence[Image], captions: Sequence[Sequence[str]]
    ) -> Callable[[], list[tuple[Candidate, ...]]]:
        """See `grounded_sam2.models.protocols.DeferredGrounder`.

        What is left for the returned function is encoding compact masks, where the segmenter can
        defer that (`DeferredMaskSegmenter`).
        """
        detections = [
            valid_boxes(boxes, requested, (image.shape[0], image.shape[1]), self.min_confidence)
            for image, requested, boxes in zip(
                images, captions, self.detector.detect(images, captions), strict=True
            )
        ]
        with_boxes = [i for i, boxes in enumerate(detections) if len(boxes)]
        arguments = [images[i] for i in with_boxes], [detections[i].boxes_xyxy for i in with_boxes]
        finish: Callable[[], Sequence[SegmentedMasks]]
        if not with_boxes:
            finish = tuple
        elif isinstance(self.segmenter, DeferredMaskSegmenter):
            finish = self.segmenter.start_segment_boxes(*arguments)
        else:
            masks = self.segmenter.segment_boxes(*arguments)
            finish = lambda: masks  # noqa: E731
        del arguments  # its images, which the returned function would keep

        def finish_candidates() -> list[tuple[Candidate, ...]]:
            masks = dict(zip(with_boxes, finish(), strict=True))
            return [
                _candidates(boxes, masks[i]) if i in masks else ()
                for i, boxes in enumerate(detections)
            ]

        return finish_candidates


@dataclass(frozen=True, slots=True)
class BoxesOfGrounder:
    """The boxes of a grounder's candidates, without their masks: a `Detector`.

    For videos, where the tracker predicts the masks: its memory is made of its own.
    """

    grounder: Grounder

    def detect(
        self, images: Sequence[Image], captions: Sequence[Sequence[str]]
    ) -> list[DetectedBoxes]:
        """See `grounded_sam2.models.protocols.Detector`. A candidate without confidence counts as
        certain among others that have one."""
        return [_boxes_of(found) for found in self.grounder.ground(images, captions)]


def _boxes_of(candidates: Sequence[Candidate]) -> DetectedBoxes:
    confidence = [candidate.confidence for candidate in candidates]
    return DetectedBoxes(
        np.array([candidate.box_xyxy for candidate in candidates], np.float32).reshape(-1, 4),
        tuple(candidate.caption for candidate in candidates),
        None
        if all(value is None for value in confidence)
        else np.array([1.0 if value is None else value for value in confidence], np.float32),
    )


def _candidates(detected: DetectedBoxes, segmented: SegmentedMasks) -> tuple[Candidate, ...]:
    confidence = detected.confidence
    return tuple(
        Candidate(
            caption=caption,
            box_xyxy=rounded_box(detected.boxes_xyxy[i]),
            mask=None if inverted else mask,
            confidence=None if confidence is None else round(float(confidence[i]), 4),
            mask_quality=None if inverted else round(float(segmented.quality[i]), 4),
        )
        for i, (caption, mask, inverted) in enumerate(
            zip(detected.captions, segmented.masks, segmented.complement, strict=True)
        )
    )
