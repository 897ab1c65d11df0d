"""Postprocessing: the status of each candidate, and the labels of an image."""

from __future__ import annotations

import pytest

from grounded_sam2.config import Config
from grounded_sam2.geometry.rle import rectangle
from grounded_sam2.inference.postprocess import Postprocessed, postprocess
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.results import Candidate, Labels

SIZE_HW = (40, 60)
ONTOLOGY = CaptionOntology({"red thing": "ball", "blue thing": "box"})
CONFIG = Config().with_options({"detector.min_confidence": 0.3, "segmenter.min_mask_quality": 0.5})


def candidate(
    left: int = 0,
    *,
    caption: str = "red thing",
    confidence: float | None = 0.9,
    quality: float | None = 0.8,
    has_mask: bool = True,
) -> Candidate:
    box = left, 0, left + 10, 10
    mask = rectangle(box, SIZE_HW) if has_mask else None
    return Candidate(caption, tuple(map(float, box)), mask, confidence, quality)


def processed(*candidates: Candidate, ontology=ONTOLOGY, config=CONFIG) -> Postprocessed:
    return postprocess(candidates, SIZE_HW, ontology, config)


def test_no_candidates_have_no_labels():
    assert processed() == Postprocessed(Labels(SIZE_HW), (), ())


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({}, "label"),
        ({"caption": "green thing"}, "not_wanted"),
        ({"confidence": 0.3}, "label"),
        ({"confidence": 0.2999}, "low_confidence"),
        ({"confidence": None}, "label"),
        ({"quality": 0.5}, "label"),
        ({"quality": 0.4999}, "low_quality"),
        ({"quality": None, "has_mask": False}, "label"),
        ({"caption": "green thing", "confidence": 0.1, "quality": 0.1}, "not_wanted"),
        ({"confidence": 0.1, "quality": 0.1}, "low_confidence"),
    ],
    ids=str,
)
def test_a_candidate_has_the_status_of_the_first_criterion_that_it_fails(values, status):
    result = processed(candidate(**values))
    assert result.statuses == (status,)
    assert len(result.labels) == (status == "label")


def test_a_duplicate_is_cleaned_up():
    result = processed(candidate(confidence=0.5), candidate(20), candidate(confidence=0.6))
    assert result.statuses == ("cleaned_up", "label", "label")
    assert result.candidate_indices == (1, 2)


def test_labels_are_ordered_by_confidence_then_class_then_caption_then_box():
    candidates = [
        candidate(0, confidence=None),
        candidate(15, caption="blue thing"),
        candidate(45),
        candidate(30),
        candidate(30, caption="blue thing", confidence=0.95),
    ]
    result = processed(*candidates)
    assert result.candidate_indices == (4, 3, 2, 1, 0)
    assert [label.class_name for label in result.labels.objects] == [
        *("box", "ball", "ball", "box", "ball")
    ]
    reverse = processed(*candidates[::-1])
    assert reverse.labels == result.labels
    assert reverse.candidate_indices == (0, 1, 2, 3, 4)


def test_of_equal_duplicates_the_one_of_the_first_caption_in_the_ontology_stays():
    ontology = CaptionOntology({"red thing": "ball", "red disc": "ball"})
    disc, thing = candidate(caption="red disc"), candidate(caption="red thing")
    for candidates in [(disc, thing), (thing, disc)]:
        [label] = processed(*candidates, ontology=ontology).labels.objects
        assert label.caption == "red thing"


def test_without_an_ontology_the_caption_is_the_class():
    [label] = processed(candidate(caption="green thing"), ontology=None).labels.objects
    assert (label.class_name, label.caption) == ("green thing", "green thing")


def test_the_detectors_box_is_kept_beside_the_box_of_the_mask():
    wide = Candidate("red thing", (0.0, 0.0, 20.0, 20.0), rectangle((0, 0, 10, 10), SIZE_HW), 1, 1)
    [label] = processed(wide).labels.objects
    assert label.box_xyxy == (0, 0, 10, 10)
    assert label.detected_box_xyxy == (0, 0, 20, 20)
