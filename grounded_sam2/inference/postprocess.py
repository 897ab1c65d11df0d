"""Postprocessing: from the candidates of an image to its labels.

    candidates ─ captions ─ confidence ─ mask quality ─ fragments ─ clean-up ─► labels

A pure function of candidates, ontology and configuration: the label store keeps the candidates, so
that another threshold, a renamed class or a dropped caption needs no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grounded_sam2.config import Config
from grounded_sam2.inference.cleanup import clean_up
from grounded_sam2.inference.tiling import are_fragments
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.results import Candidate, CandidateStatus, Label, Labels

__all__ = ["Postprocessed", "postprocess"]


@dataclass(frozen=True, slots=True)
class Postprocessed:
    """Labels of one image, and the status of each candidate."""

    labels: Labels
    statuses: tuple[CandidateStatus, ...]
    """One per candidate."""
    candidate_indices: tuple[int, ...]
    """Index of the candidate that each label was made from, in the order of the labels."""


def postprocess(
    candidates: Sequence[Candidate],
    size_hw: tuple[int, int],
    ontology: CaptionOntology | None,
    config: Config,
) -> Postprocessed:
    """Choose the labels of one image among the candidates.

    Args:
        candidates: predictions of the models, in any order.
        size_hw: height and width of the image.
        ontology: captions to keep, and their classes; ``None`` keeps all, with the model's own
            words as classes.
        config: thresholds and clean-up.

    Returns:
        Labels by falling confidence (those without one last), then by class, caption, box and mask;
        none for no candidates.
    """
    classes = None if ontology is None else ontology.to_dict()
    statuses = [_status(candidate, classes, config) for candidate in candidates]
    indices = [index for index, status in enumerate(statuses) if status == "label"]
    if classes is not None:  # ties must not depend on the order in which captions were requested
        order = {caption: number for number, caption in enumerate(classes)}
        indices.sort(key=lambda index: order[candidates[index].caption])
    labels = [_label(candidates[index], classes) for index in indices]
    whole = np.flatnonzero(~are_fragments(labels, size_hw, config.tiling)).tolist()
    indices = [indices[i] for i in whole]
    cleaned = clean_up(Labels(size_hw, tuple(labels[i] for i in whole)), config.cleanup)
    kept = [indices[i] for i in cleaned.kept]
    ordered = sorted(
        zip(cleaned.labels.objects, kept, strict=True), key=lambda each: _sort_key(each[0])
    )
    return Postprocessed(
        Labels(size_hw, tuple(label for label, _ in ordered)),
        tuple(
            "cleaned_up" if status == "label" and index not in kept else status
            for index, status in enumerate(statuses)
        ),
        tuple(index for _, index in ordered),
    )


def _status(
    candidate: Candidate, classes: dict[str, str] | None, config: Config
) -> CandidateStatus:
    confidence, quality = candidate.confidence, candidate.mask_quality
    if classes is not None and candidate.caption not in classes:
        return "not_wanted"
    if confidence is not None and confidence < config.detector.min_confidence:
        return "low_confidence"
    if quality is not None and quality < config.segmenter.min_mask_quality:
        return "low_quality"
    return "label"


def _label(candidate: Candidate, classes: dict[str, str] | None) -> Label:
    return Label(
        class_name=candidate.caption if classes is None else classes[candidate.caption],
        caption=candidate.caption,
        box_xyxy=candidate.box_xyxy,
        mask=candidate.mask,
        confidence=candidate.confidence,
        mask_quality=candidate.mask_quality,
        detected_box_xyxy=candidate.box_xyxy,
        uid=candidate.uid,
    )


def _sort_key(label: Label) -> tuple[object, ...]:
    return (
        label.confidence is None,
        -(label.confidence or 0.0),
        label.class_name,
        label.caption,
        label.box_xyxy,
        b"" if label.mask is None else label.mask.counts,
    )
