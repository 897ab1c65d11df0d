"""Detections of a frame, with the tracker's masks."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.config import TrackingConfig
from grounded_sam2.testing import FakeTracker, FakeTrackerState
from grounded_sam2.tracking.detections import find, sights
from grounded_sam2.tracking.frame_context import Now


@pytest.fixture
def look(studio):
    """Look at an image with things on it, the detector saying what it is told."""

    def looked(things, told, **values):
        image = studio.draw_image(0, things)
        tracker = FakeTracker()
        detector = studio.ToldDetector({0: told})
        encoded = tracker.encode(image)
        config = studio.options(**values)
        now = Now(image, encoded, 0, True, {}, detector, tracker, studio.ontology, config)
        return find(now, first_number=5)

    return looked


THINGS = [("red", 0, 20, 10, 30), ("blue", 20, 20, 30, 30), ("yellow", 40, 20, 50, 30)]


def test_each_thing_keeps_the_number_under_which_its_mask_was_asked_for(look):
    told = [
        ("red thing", 0.5, (0, 20, 10, 30)),
        ("blue thing", 0.2, (20, 20, 30, 30)),  # not sure enough: never asked for
        ("blue thing", 0.9, (20, 20, 30, 30)),
        ("blue thing", 0.6, (52, 2, 58, 8)),  # nothing there
        ("red thing", 0.7, (40, 20, 50, 30)),
        ("yellow thing", 0.8, (40, 20, 50, 30)),  # the same, under another caption
    ]
    found = look(THINGS, told)
    assert (found.asked, found.answers.ids) == (5, (5, 6, 7, 8, 9))
    assert [(t.number, t.label.caption, t.sight.box_xyxy) for t in found.things] == [
        (6, "blue thing", (20, 20, 30, 30)),
        (9, "yellow thing", (40, 20, 50, 30)),
        (5, "red thing", (0, 20, 10, 30)),
    ]
    assert found.things[0].prompt().box_xyxy.tolist() == [20, 20, 30, 30]


def test_where_nothing_is_found_the_tracker_is_not_asked(look):
    found = look(THINGS, [])
    assert (found.things, found.answers, found.asked) == ((), None, 0)


def test_what_has_no_pixel_or_a_score_of_nought_is_not_there():
    tracker = FakeTracker()
    image = np.zeros((10, 10, 3), np.uint8)
    image[2:4, 2:4] = 255
    there = {1: (255 << 16 | 255 << 8 | 255, 0.0, 0.0), 2: (7, 0.0, 0.0)}
    answers = tracker.propagate(tracker.encode(image), FakeTrackerState(there), 0)
    assert list(sights(answers)) == [1]
    answers.score[0] = 0
    assert sights(answers) == {}


def test_the_past_is_as_long_as_the_detector_looked_away_unless_it_is_told():
    assert TrackingConfig(detect_every=7).fill_frames == 7
    assert TrackingConfig(detect_every=7, fill_backwards=0).fill_frames == 0
