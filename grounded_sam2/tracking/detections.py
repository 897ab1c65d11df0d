"""Detections of one frame with the tracker's masks, cleaned up like the labels of images.

    captions ─ detector ─► boxes ─ tracker.prompt ─► candidates ─ postprocess ─► detections

The tracker takes the place of the segmenter, so that frames and images are postprocessed by the
same functions. Its masks are kept: a new object enters the tracker's state without a second
inference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.config import Config
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.inference.detect_and_segment import DetectThenSegment
from grounded_sam2.inference.grounding import ground_images, requested_captions
from grounded_sam2.inference.postprocess import postprocess
from grounded_sam2.models.protocols import (
    AnyTracker,
    Detector,
    FrameFeatures,
    FrameMasks,
    TrackPrompt,
)
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.results import Image, Label, SegmentedMasks
from grounded_sam2.tracking.color_histogram import ColorHistogram
from grounded_sam2.tracking.object_masks import ObjectMask, visible_objects

__all__ = ["Detection", "FrameContext", "FrameDetections", "detect_objects"]


@dataclass(frozen=True, slots=True, eq=False)
class FrameContext:
    """Per-frame context: image, features, position, models, ontology and configuration."""

    image: Image
    features: FrameFeatures
    """The image as the tracker has encoded it."""
    position: int
    """Position in the sequence of processed frames, from 0."""
    begins_scene: bool
    previous_masks: Mapping[int, Rle]
    """Masks on the frame before, by track identity; empty on the first frame of a scene, and where
    no frame is pending."""
    detector: Detector
    tracker: AnyTracker
    ontology: CaptionOntology | None
    """Captions and classes; ``None`` for tasks without captions."""
    config: Config


@dataclass(frozen=True, slots=True)
class Detection:
    """One object that the detector found on a frame."""

    object_id: int
    """Id under which the tracker was prompted with the box."""
    label: Label
    object_mask: ObjectMask
    """The tracker's mask for the box."""
    histogram: ColorHistogram
    """Colors inside that mask."""

    def prompt(self) -> TrackPrompt:
        """The detector's box as a prompt for the tracker."""
        return TrackPrompt(box_xyxy=np.array(self.label.detected_box_xyxy, np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class FrameDetections:
    """All detections of a frame, by falling confidence."""

    detections: tuple[Detection, ...]
    masks: FrameMasks | None
    """The tracker's masks for all boxes, including those that were dropped by postprocessing;
    ``None`` if the detector returned no box."""
    box_count: int
    """Number of boxes that the tracker was prompted with."""


def detect_objects(context: FrameContext, *, first_object_id: int) -> FrameDetections:
    """Detect all captions on a frame, and segment the boxes with the tracker.

    Args:
        context: the frame.
        first_object_id: object id of the first box; the others get the ids that follow.

    Raises:
        OntologyError: the detector returned a caption that was not requested.
    """
    config, segmenter = context.config, _TrackerSegmenter(context, first_object_id)
    threshold = config.detector.min_confidence
    [candidates] = ground_images(
        [context.image],
        [requested_captions(context.ontology, config)],
        DetectThenSegment(context.detector, segmenter, threshold),
        min_confidence=threshold,
    )
    if segmenter.masks is None:
        return FrameDetections((), None, 0)
    result = postprocess(candidates, context.features.size_hw, context.ontology, config)
    visible = segmenter.visible
    detections = [
        Detection(
            object_id,
            label,
            visible[object_id],
            ColorHistogram.from_mask(context.image, visible[object_id].mask),
        )
        for index, label in zip(result.candidate_indices, result.labels.objects, strict=True)
        if (object_id := first_object_id + index) in visible
    ]
    return FrameDetections(tuple(detections), segmenter.masks, len(candidates))


class _TrackerSegmenter:
    """The tracker as a `Segmenter` of the one image that it has encoded."""

    def __init__(self, context: FrameContext, first_object_id: int) -> None:
        self._context = context
        self._first_object_id = first_object_id
        self.masks: FrameMasks | None = None
        self.visible: dict[int, ObjectMask] = {}

    def segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[NDArray[np.float32]]
    ) -> list[SegmentedMasks]:
        """See `grounded_sam2.models.protocols.Segmenter`."""
        [boxes] = boxes_xyxy
        prompts = {
            self._first_object_id + i: TrackPrompt(box_xyxy=box) for i, box in enumerate(boxes)
        }
        self.masks = masks = self._context.tracker.prompt(self._context.features, prompts)
        rles = masks.to_rles()
        self.visible = visible_objects(masks, rles)
        return [SegmentedMasks(rles, masks.quality, np.zeros(len(rles), np.bool_))]
