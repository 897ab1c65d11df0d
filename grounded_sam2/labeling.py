"""From pictures to labels: asks the models, and opens no file.

    captions ─ detector ─► boxes ─ segmenter ─► masks ─ clean-up ─► labels

All captions are asked of all pictures in one call, and all boxes of all pictures are segmented in
one call, so that a batch costs each model one pass. Whatever satisfies the Protocols of
`grounded_sam2.models.protocols` can stand in for the models.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.cleanup import clean_up
from grounded_sam2.config import Config
from grounded_sam2.errors import ConfigError
from grounded_sam2.models.protocols import Detector, Segmenter
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.results import DetectedBoxes, Image, Label, Labels, SegmentedMasks

__all__ = ["TASKS_WITH_CAPTIONS", "label_images"]

TASKS_WITH_CAPTIONS = ("open_vocabulary_detection", "phrase_grounding")
"""Tasks of `DetectorConfig.task` that ask for an ontology's captions; the others find things by
themselves and name them in the model's own words."""


def label_images(
    images: Sequence[Image],
    detector: Detector,
    segmenter: Segmenter,
    ontology: CaptionOntology | None,
    config: Config,
) -> list[Labels]:
    """Label pictures.

    Boxes are rounded to hundredths of a pixel, confidence and mask quality to four decimals,
    before anything is decided by them: so that noise of the arithmetic, which differs with the
    other pictures of a batch, cannot turn a decision.

    Dropped are detections below ``config.detector.min_confidence``, without a finite extent
    inside the picture, with a mask below ``config.segmenter.min_mask_quality``, and what clean-up
    removes. Where the segmenter answered with the complement of what it was
    asked for, the object keeps its box and has no mask.

    Args:
        images: upright RGB, ``(h, w, 3)`` ``uint8``; sizes may differ.
        detector: finds boxes.
        segmenter: turns boxes into masks. Only pictures with boxes are given to it.
        ontology: captions to ask for, and their classes; ``None`` for tasks without captions,
            where the class is what the model called the thing.
        config: thresholds and clean-up.

    Returns:
        One `Labels` per picture, in order; ``[]`` for no pictures. Objects come by falling
        confidence (those without any last), then by class, caption, box and mask.

    Raises:
        ConfigError: the task needs an ontology and there is none, or the other way round.
    """
    _check_task(ontology, config)
    if not images:
        return []
    captions = ontology.prompts() if ontology is not None else []
    detections = [
        _usable(boxes, image.shape[:2], config.detector.min_confidence)
        for image, boxes in zip(
            images, detector.detect(images, [captions] * len(images)), strict=True
        )
    ]
    asked = [i for i, boxes in enumerate(detections) if len(boxes)]
    answers: dict[int, SegmentedMasks] = {}
    if asked:
        masks = segmenter.segment_boxes(
            [images[i] for i in asked], [detections[i].boxes_xyxy for i in asked]
        )
        answers = dict(zip(asked, masks, strict=True))
    labeled = []
    for i, (image, boxes) in enumerate(zip(images, detections, strict=True)):
        height, width = image.shape[:2]
        objects = _objects(boxes, answers[i], ontology, config) if i in answers else ()
        cleaned = clean_up(Labels((height, width), tuple(objects)), config.cleanup)
        ordered = tuple(sorted(cleaned.objects, key=_order))
        labeled.append(Labels(cleaned.size_hw, ordered))
    return labeled


def _check_task(ontology: CaptionOntology | None, config: Config) -> None:
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


def _usable(
    detected: DetectedBoxes, size_hw: tuple[int, ...], min_confidence: float
) -> DetectedBoxes:
    """Boxes clipped to the picture, without those that are too unsure or lie outside it."""
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


def _objects(
    detected: DetectedBoxes,
    segmented: SegmentedMasks,
    ontology: CaptionOntology | None,
    config: Config,
) -> list[Label]:
    objects = []
    for i, (caption, mask) in enumerate(zip(detected.captions, segmented.masks, strict=True)):
        x_min, y_min, x_max, y_max = (round(float(edge), 2) for edge in detected.boxes_xyxy[i])
        quality = round(float(segmented.quality[i]), 4)
        inverted = bool(segmented.complement[i])
        if not inverted and quality < config.segmenter.min_mask_quality:
            continue
        objects.append(
            Label(
                class_name=caption if ontology is None else ontology.caption_to_class(caption),
                caption=caption,
                box_xyxy=(x_min, y_min, x_max, y_max),
                mask=None if inverted else mask,
                confidence=(
                    None if detected.confidence is None else round(float(detected.confidence[i]), 4)
                ),
                mask_quality=None if inverted else quality,
            )
        )
    return objects


def _order(label: Label) -> tuple[object, ...]:
    return (
        label.confidence is None,
        -(label.confidence or 0.0),
        label.class_name,
        label.caption,
        label.box_xyxy,
        b"" if label.mask is None else label.mask.counts,
    )
