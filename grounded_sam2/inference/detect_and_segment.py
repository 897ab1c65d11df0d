"""From images to labels: asks the models, and opens no file.

    captions ─ detector ─► boxes ─ segmenter ─► candidates ─ postprocess ─► labels

All captions are asked of all images in one call, and all boxes of all images are segmented in
one call, so that a batch costs each model one pass. Whatever satisfies the Protocols of
`grounded_sam2.models.protocols` can stand in for the models.
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
"""Tasks of `DetectorConfig.task` that ask for an ontology's captions; the others find things by
themselves and name them in the model's own words."""

CandidatesPerImage: TypeAlias = list[tuple[Candidate, ...]]
"""Of each image, in the order that the detector said so."""


def predict_labels(
    images: Sequence[Image],
    detector: Detector,
    segmenter: Segmenter,
    ontology: CaptionOntology | None,
    config: Config,
) -> list[Labels]:
    """Label images.

    Args:
        images: upright RGB, ``(h, w, 3)`` ``uint8``; sizes may differ.
        detector: finds boxes.
        segmenter: turns boxes into masks. Only images with boxes are given to it.
        ontology: captions to ask for, and their classes; ``None`` for tasks without captions,
            where the class is what the model called the thing.
        config: thresholds and clean-up.

    Returns:
        One `Labels` per image, in order; ``[]`` for no images. What is left out, and the order
        of the objects: see `grounded_sam2.inference.postprocess.decide`.

    Raises:
        ConfigError: the task needs an ontology and there is none, or the other way round.
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
    """The captions to ask for; ``[]`` for a task without captions.

    Raises:
        ConfigError: the task needs an ontology and there is none, or the other way round.
    """
    task = config.detector.task
    if task in TASKS_WITH_CAPTIONS and ontology is None:
        raise ConfigError(
            f"detector.task '{task}' asks for captions and there are none; give an ontology, or "
            "choose a task without captions such as 'object_detection'"
        )
    if task not in TASKS_WITH_CAPTIONS and ontology is not None:
        raise ConfigError(
            f"detector.task '{task}' names things in the model's own words and cannot ask for the "
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
    """Ask the models for all that they find.

    Boxes are rounded to hundredths of a pixel, confidence and mask quality to four decimals,
    before anything is decided by them: so that noise of the arithmetic, which differs with the
    other images of a batch, cannot turn a decision.

    Args:
        images: upright RGB, ``(h, w, 3)`` ``uint8``; sizes may differ.
        captions: for each image, the captions to ask of it; none for a task without captions.
        detector: finds boxes.
        segmenter: turns boxes into masks. Only images with boxes are given to it.
        min_confidence: boxes below are forgotten before they cost a mask.

    Returns:
        The candidates of each image, in order; ``[]`` for no images. Boxes without a finite
        extent inside the image are none. Where the segmenter answered with the complement of
        what it was asked for, the candidate has a box and no mask.

    Raises:
        OntologyError: the detector answers with a caption that was not asked.
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
    """The models' part of `detect_and_segment`; what is returned does the rest, in any thread.

    The rest is making compact masks, where the segmenter can put that off
    (`DeferredMaskSegmenter`): the models may go on with other images meanwhile. The images are not
    held.
    """
    if not images:
        return list
    detections = []
    for image, asked_of, boxes in zip(
        images, captions, detector.detect(images, captions), strict=True
    ):
        _check_captions(boxes, asked_of)
        detections.append(_usable(boxes, image.shape[:2], min_confidence))
    asked = [i for i, boxes in enumerate(detections) if len(boxes)]
    boxed = [images[i] for i in asked], [detections[i].boxes_xyxy for i in asked]
    finish: Callable[[], Sequence[SegmentedMasks]]
    if not asked:
        finish = tuple
    elif isinstance(segmenter, DeferredMaskSegmenter):
        finish = segmenter.start_segment_boxes(*boxed)
    else:
        masks = segmenter.segment_boxes(*boxed)
        finish = lambda: masks  # noqa: E731

    def candidates() -> CandidatesPerImage:
        masks = dict(zip(asked, finish(), strict=True))
        return [
            _candidates(boxes, masks[i]) if i in masks else () for i, boxes in enumerate(detections)
        ]

    return candidates


def _check_captions(detected: DetectedBoxes, asked: Sequence[str]) -> None:
    strange = set(detected.captions) - set(asked) if asked else ()
    for caption in sorted(strange):
        raise OntologyError(
            f"the detector answered with caption {caption!r}, and was asked for "
            f"{', '.join(map(repr, asked))}; its boxes must carry the captions as they were asked"
        )


def _usable(
    detected: DetectedBoxes, size_hw: tuple[int, ...], min_confidence: float
) -> DetectedBoxes:
    """Boxes clipped to the image, without those that are too unsure or lie outside it."""
    height, width = size_hw
    boxes = np.asarray(detected.boxes_xyxy, np.float32).reshape(-1, 4)
    boxes = np.clip(boxes, 0, [width, height, width, height]).round(2)
    # NaN fails every comparison, so that boxes which are no numbers go as well.
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
            box_xyxy=_corners(detected.boxes_xyxy[i]),
            mask=None if inverted else mask,
            confidence=None if confidence is None else round(float(confidence[i]), 4),
            mask_quality=None if inverted else round(float(segmented.quality[i]), 4),
        )
        for i, (caption, mask, inverted) in enumerate(
            zip(detected.captions, segmented.masks, segmented.complement, strict=True)
        )
    )


def _corners(box_xyxy: NDArray[np.float32]) -> tuple[float, float, float, float]:
    x_min, y_min, x_max, y_max = (round(float(edge), 2) for edge in box_xyxy)
    return x_min, y_min, x_max, y_max
