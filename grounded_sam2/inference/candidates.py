"""Checks of what a model returns, the same for every model: captions, boxes, thresholds, rounding.

Boxes are rounded to hundredths of a pixel, confidence and mask quality to four decimals, before any
threshold is applied: numerical noise, which depends on the other images of a batch, must not change
the outcome. Checking twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.errors import GeometryError, OntologyError
from grounded_sam2.results import Candidate, DetectedBoxes

__all__ = ["rounded_box", "valid_boxes", "valid_candidates"]


def valid_boxes(
    detected: DetectedBoxes,
    requested: Sequence[str],
    size_hw: tuple[int, int],
    min_confidence: float,
) -> DetectedBoxes:
    """Boxes of one image, clipped to it and rounded, without those outside it, without a finite
    extent, or of low confidence.

    Args:
        detected: as the detector returned them.
        requested: captions that it was given; none if it names objects in its own words.
        size_hw: height and width of the image.
        min_confidence: boxes below are dropped; boxes without confidence never are.

    Raises:
        OntologyError: the detector returned a caption that was not requested.
    """
    _check_captions(detected.captions, requested)
    boxes, keep = _rounded_boxes(detected.boxes_xyxy, size_hw)
    confidence: NDArray[np.float32] | None = None
    if detected.confidence is not None:
        exact = np.asarray(detected.confidence, np.float64).round(4)
        keep &= exact >= min_confidence
        confidence = exact[keep].astype(np.float32)
    captions = tuple(detected.captions[i] for i in np.flatnonzero(keep))
    return DetectedBoxes(boxes[keep], captions, confidence)


def valid_candidates(
    candidates: Iterable[Candidate],
    requested: Sequence[str],
    size_hw: tuple[int, int],
    min_confidence: float,
) -> tuple[Candidate, ...]:
    """Candidates of one image, checked as `valid_boxes` checks boxes, in their order.

    Raises:
        OntologyError: the model returned a caption that was not requested.
        GeometryError: it returned a mask of another size than the image's.
    """
    found = tuple(candidates)
    if not found:
        return ()
    _check_captions([candidate.caption for candidate in found], requested)
    boxes, keep = _rounded_boxes(np.array([candidate.box_xyxy for candidate in found]), size_hw)
    valid = []
    for candidate, box, has_extent in zip(found, boxes, keep.tolist(), strict=True):
        confidence, mask, quality = candidate.confidence, candidate.mask, candidate.mask_quality
        if confidence is not None:
            confidence = round(float(confidence), 4)
        # NaN fails every comparison, so that candidates with NaN are dropped as well.
        if not (has_extent and (confidence is None or confidence >= min_confidence)):
            continue
        if mask is not None and mask.size_hw != size_hw:
            raise GeometryError(
                f"the detector returned a mask of {mask.size_hw[0]}×{mask.size_hw[1]} pixels for "
                f"an image of {size_hw[0]}×{size_hw[1]}; it must return masks of the image's size"
            )
        valid.append(
            replace(
                candidate,
                box_xyxy=rounded_box(box),
                confidence=confidence,
                mask_quality=None if quality is None else round(float(quality), 4),
            )
        )
    return tuple(valid)


def rounded_box(box_xyxy: NDArray[np.float32]) -> tuple[float, float, float, float]:
    """A box in hundredths of a pixel, as the store keeps it."""
    x_min, y_min, x_max, y_max = (round(float(edge), 2) for edge in box_xyxy)
    return x_min, y_min, x_max, y_max


def _rounded_boxes(
    boxes_xyxy: NDArray[np.floating], size_hw: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Boxes clipped to the image and rounded, ``(n, 4)``, and which have an extent, ``(n,)``."""
    height, width = size_hw
    boxes = np.asarray(boxes_xyxy, np.float32).reshape(-1, 4)
    boxes = np.clip(boxes, 0, [width, height, width, height]).round(2).astype(np.float32)
    # NaN fails every comparison, so boxes with NaN have no extent.
    return boxes, (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def _check_captions(captions: Sequence[str], requested: Sequence[str]) -> None:
    unknown = set(captions) - set(requested) if requested else ()
    for caption in sorted(unknown):
        raise OntologyError(
            f"the detector returned caption {caption!r}, but was given "
            f"{', '.join(map(repr, requested))}; it must return captions exactly as given"
        )
