"""Detection and segmentation of images in memory: captions to boxes, boxes to masks.

    captions ─ detector ─► boxes ─ segmenter ─► candidates ─ postprocess ─► labels

All captions of all images are detected in one call, and all boxes of all images are segmented in
one call, so that a batch costs each model one pass. The models are whatever satisfies the Protocols
of `grounded_sam2.models.protocols`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.config import Config
from grounded_sam2.errors import ConfigError, OntologyError
from grounded_sam2.inference.postprocess import postprocess
from grounded_sam2.models.protocols import DeferredMaskSegmenter, Detector, Segmenter
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.results import Candidate, DetectedBoxes, Image, Labels, SegmentedMasks

__all__ = [
    "TASKS_WITH_CAPTIONS",
    "CandidatesPerImage",
    "detect_and_segment",
    "predict_labels",
    "requested_captions",
    "start_detect_and_segment",
]

TASKS_WITH_CAPTIONS = ("open_vocabulary_detection", "phrase_grounding")
"""Tasks of `DetectorConfig.task` that detect the captions of an ontology; the others detect objects
of the model's own choice, and name them in its own words."""

CandidatesPerImage: TypeAlias = list[tuple[Candidate, ...]]
"""For each image, its candidates in the order of the detector's boxes."""


def predict_labels(
    images: Sequence[Image],
    detector: Detector,
    segmenter: Segmenter,
    ontology: CaptionOntology | None,
    config: Config,
) -> list[Labels]:
    """Detect, segment and postprocess: return the labels of images.

    Args:
        images: upright RGB, ``(h, w, 3)`` ``uint8``; sizes may differ.
        detector: finds boxes.
        segmenter: turns boxes into masks. Only images with boxes are given to it.
        ontology: captions to detect, and their classes; ``None`` for tasks without captions, where
            the class is the model's own name of the object.
        config: thresholds and clean-up.

    Returns:
        One `Labels` per image, in order; ``[]`` for no images. For what is dropped, and the order
        of the objects, see `grounded_sam2.inference.postprocess.postprocess`.

    Raises:
        ConfigError: the task needs an ontology and none is given, or the reverse.
        OntologyError: the detector returned a caption that was not requested.
    """
    captions = requested_captions(ontology, config)
    found = detect_and_segment(
        images,
        [captions] * len(images),
        detector,
        segmenter,
        min_confidence=config.detector.min_confidence,
    )
    return [
        postprocess(candidates, image.shape[:2], ontology, config).labels
        for image, candidates in zip(images, found, strict=True)
    ]


def requested_captions(ontology: CaptionOntology | None, config: Config) -> list[str]:
    """Return the captions to detect; ``[]`` for a task without captions.

    Raises:
        ConfigError: the task needs an ontology and none is given, or the reverse.
    """
    task = config.detector.task
    if task in TASKS_WITH_CAPTIONS and ontology is None:
        raise ConfigError(
            f"detector.task '{task}' needs captions and there are none; give an ontology, or "
            "choose a task without captions such as 'object_detection'"
        )
    if task not in TASKS_WITH_CAPTIONS and ontology is not None:
        raise ConfigError(
            f"detector.task '{task}' names objects in the model's own words and cannot detect the "
            f"captions of an ontology; give none, or choose '{TASKS_WITH_CAPTIONS[0]}'"
        )
    return ontology.prompts() if ontology is not None else []


def detect_and_segment(
    images: Sequence[Image],
    captions: Sequence[Sequence[str]],
    detector: Detector,
    segmenter: Segmenter,
    *,
    min_confidence: float,
) -> CandidatesPerImage:
    """Detect captions in images and segment the boxes.

    Boxes are rounded to hundredths of a pixel, confidence and mask quality to four decimals, before
    any threshold is applied: numerical noise, which depends on the other images of a batch, must
    not change the outcome.

    Args:
        images: upright RGB, ``(h, w, 3)`` ``uint8``; sizes may differ.
        captions: for each image, the captions to detect in it; none for a task without captions.
        detector: finds boxes.
        segmenter: turns boxes into masks. Only images with boxes are given to it.
        min_confidence: boxes below are dropped before they cost a mask.

    Returns:
        The candidates of each image, in order; ``[]`` for no images. Boxes without a finite extent
        inside the image are dropped. Where the mask is the complement of what the box shows, the
        candidate has a box and no mask.

    Raises:
        OntologyError: the detector returned a caption that was not requested.
    """
    return start_detect_and_segment(
        images, captions, detector, segmenter, min_confidence=min_confidence
    )()


def start_detect_and_segment(
    images: Sequence[Image],
    captions: Sequence[Sequence[str]],
    detector: Detector,
    segmenter: Segmenter,
    *,
    min_confidence: float,
) -> Callable[[], CandidatesPerImage]:
    """Run the models' part of `detect_and_segment`; the returned function does the rest.

    The rest is encoding compact masks, where the segmenter can defer that
    (`DeferredMaskSegmenter`). It may run in any thread, while the models process other images. The
    images are not kept.
    """
    if not images:
        return list
    detections = []
    for image, requested, boxes in zip(
        images, captions, detector.detect(images, captions), strict=True
    ):
        _check_captions(boxes, requested)
        detections.append(_valid_boxes(boxes, image.shape[:2], min_confidence))
    with_boxes = [i for i, boxes in enumerate(detections) if len(boxes)]
    arguments = [images[i] for i in with_boxes], [detections[i].boxes_xyxy for i in with_boxes]
    finish: Callable[[], Sequence[SegmentedMasks]]
    if not with_boxes:
        finish = tuple
    elif isinstance(segmenter, DeferredMaskSegmenter):
        finish = segmenter.start_segment_boxes(*arguments)
    else:
        masks = segmenter.segment_boxes(*arguments)
        finish = lambda: masks  # noqa: E731

    def finish_candidates() -> CandidatesPerImage:
        masks = dict(zip(with_boxes, finish(), strict=True))
        return [
            _candidates(boxes, masks[i]) if i in masks else () for i, boxes in enumerate(detections)
        ]

    return finish_candidates


def _check_captions(detected: DetectedBoxes, requested: Sequence[str]) -> None:
    unknown = set(detected.captions) - set(requested) if requested else ()
    for caption in sorted(unknown):
        raise OntologyError(
            f"the detector returned caption {caption!r}, but was given "
            f"{', '.join(map(repr, requested))}; it must return captions exactly as given"
        )


def _valid_boxes(
    detected: DetectedBoxes, size_hw: tuple[int, ...], min_confidence: float
) -> DetectedBoxes:
    """Boxes clipped to the image, without those of low confidence or outside it."""
    height, width = size_hw
    boxes = np.asarray(detected.boxes_xyxy, np.float32).reshape(-1, 4)
    boxes = np.clip(boxes, 0, [width, height, width, height]).round(2)
    # NaN fails every comparison, so boxes with NaN are dropped as well.
    keep = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    confidence: NDArray[np.float32] | None = None
    if detected.confidence is not None:
        exact = np.asarray(detected.confidence, np.float64).round(4)
        keep &= exact >= min_confidence
        confidence = exact[keep].astype(np.float32)
    captions = tuple(detected.captions[i] for i in np.flatnonzero(keep))
    return DetectedBoxes(boxes[keep].astype(np.float32), captions, confidence)


def _candidates(detected: DetectedBoxes, segmented: SegmentedMasks) -> tuple[Candidate, ...]:
    confidence = detected.confidence
    return tuple(
        Candidate(
            caption=caption,
            box_xyxy=_rounded(detected.boxes_xyxy[i]),
            mask=None if inverted else mask,
            confidence=None if confidence is None else round(float(confidence[i]), 4),
            mask_quality=None if inverted else round(float(segmented.quality[i]), 4),
        )
        for i, (caption, mask, inverted) in enumerate(
            zip(detected.captions, segmented.masks, segmented.complement, strict=True)
        )
    )


def _rounded(box_xyxy: NDArray[np.float32]) -> tuple[float, float, float, float]:
    x_min, y_min, x_max, y_max = (round(float(edge), 2) for edge in box_xyxy)
    return x_min, y_min, x_max, y_max
