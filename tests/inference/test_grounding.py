"""Any grounder: what it returns is checked and rounded as the boxes of a detector are."""

from __future__ import annotations

import math

import numpy as np
import pytest

from grounded_sam2.config import Config
from grounded_sam2.errors import GeometryError, OntologyError
from grounded_sam2.geometry.rle import encode
from grounded_sam2.inference.detect_and_segment import BoxesOfGrounder
from grounded_sam2.inference.grounding import ground_images, predict_labels, start_ground_images
from grounded_sam2.models.protocols import DeferredGrounder, Grounder
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.results import Candidate

ONTOLOGY = CaptionOntology({"red thing": "ball"})
IMAGE = np.zeros((40, 60, 3), np.uint8)


def mask(size_hw=(40, 60)):
    pixels = np.zeros((1, *size_hw), bool)
    pixels[0, 5:15, 5:15] = True
    return encode(pixels)[0]


def candidate(box=(5, 5, 15, 15), *, caption="red thing", confidence=0.9, quality=None, of=None):
    return Candidate(caption, box, of or mask(), confidence, quality)


class Scripted:
    """Returns the same candidates for every image."""

    def __init__(self, *candidates):
        self.candidates = candidates

    def ground(self, images, captions):
        return [self.candidates for _ in images]


class Deferred(Scripted):
    """Finishes in the returned function."""

    def start_ground(self, images, captions):
        count = len(images)
        return lambda: [self.candidates] * count


def ground(*candidates, min_confidence=0.3, captions=("red thing",)):
    [found] = ground_images(
        [IMAGE], [captions], Scripted(*candidates), min_confidence=min_confidence
    )
    return found


def test_fakes_satisfy_the_protocols():
    assert isinstance(Scripted(), Grounder)
    assert not isinstance(Scripted(), DeferredGrounder)
    assert isinstance(Deferred(), DeferredGrounder)


def test_no_images_are_no_call():
    assert ground_images([], [], None, min_confidence=0) == []


def test_boxes_are_clipped_and_numbers_rounded():
    [found] = ground(candidate((-3, 5.123, 15, 99), confidence=0.87654321, quality=0.12345))
    assert found.box_xyxy == (0.0, 5.12, 15.0, 40.0)
    assert (found.confidence, found.mask_quality) == (0.8765, 0.1235)
    assert found.mask == mask()


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (70, 5, 80, 9), (math.nan, 5, 9, 9), (9, 5, 5, 9)])
def test_boxes_without_an_extent_in_the_image_are_dropped(box):
    assert ground(candidate(box)) == ()


def test_the_threshold_applies_to_rounded_confidence():
    found = ground(*(candidate(confidence=value) for value in (0.29996, 0.2999, math.nan, None)))
    assert [each.confidence for each in found] == [0.3, None]


def test_a_caption_that_was_not_requested_is_an_error():
    with pytest.raises(OntologyError, match=r"'blue thing', but was given 'red thing'"):
        ground(candidate(caption="blue thing"))
    [own] = ground(candidate(caption="blue thing"), captions=())
    assert own.caption == "blue thing"


def test_a_mask_of_another_size_is_an_error():
    with pytest.raises(GeometryError, match="mask of 30×60 pixels for an image of 40×60"):
        ground(candidate(of=mask((30, 60))))


def test_checking_twice_changes_nothing():
    once = ground(candidate((1.2349, 5.5551, 14.9951, 20.005), confidence=0.30005, quality=0.5))
    assert ground(*once) == once


def test_the_deferred_part_runs_in_the_returned_function():
    finish = start_ground_images(
        [IMAGE, IMAGE], [["red thing"]] * 2, Deferred(candidate()), min_confidence=0
    )
    assert [len(found) for found in finish()] == [1, 1]


def test_labels_of_a_grounder():
    [labels] = predict_labels([IMAGE], Scripted(candidate()), ONTOLOGY, Config())
    [label] = labels.objects
    assert (label.class_name, label.mask, label.mask_quality) == ("ball", mask(), None)


def test_the_boxes_of_a_grounder_are_a_detector():
    grounder = Scripted(candidate(confidence=0.5), candidate((1, 1, 4, 4), confidence=None))
    [found] = BoxesOfGrounder(grounder).detect([IMAGE], [["red thing"]])
    assert found.boxes_xyxy.tolist() == [[5, 5, 15, 15], [1, 1, 4, 4]]
    assert found.confidence is not None
    assert found.confidence.tolist() == [0.5, 1.0]
    [found] = BoxesOfGrounder(Scripted()).detect([IMAGE], [["red thing"]])
    assert (found.boxes_xyxy.shape, found.captions, found.confidence) == ((0, 4), (), None)
