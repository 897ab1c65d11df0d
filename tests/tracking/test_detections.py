"""Detections of a frame with the tracker's masks."""

from __future__ import annotations

import pytest
from fixtures.tracking import ONTOLOGY, ScriptedDetector, draw_image, make_config

from grounded_sam2.config import TrackingConfig
from grounded_sam2.testing import FakeTracker
from grounded_sam2.tracking.detections import FrameContext, detect_objects


@pytest.fixture
def detect():
    """Detect objects on an image with a scripted detector."""

    def detected(objects, script, **values):
        image = draw_image(0, objects)
        tracker = FakeTracker()
        detector = ScriptedDetector({0: script})
        encoded = tracker.encode(image)
        config = make_config(**values)
        context = FrameContext(image, encoded, 0, True, {}, detector, tracker, ONTOLOGY, config)
        return detect_objects(context, first_object_id=5)

    return detected


OBJECTS = [("red", 0, 20, 10, 30), ("blue", 20, 20, 30, 30), ("yellow", 40, 20, 50, 30)]


def test_a_detection_keeps_the_object_id_under_which_its_box_was_prompted(detect):
    script = [
        ("red thing", 0.5, (0, 20, 10, 30)),
        ("blue thing", 0.2, (20, 20, 30, 30)),  # not sure enough: never asked for
        ("blue thing", 0.9, (20, 20, 30, 30)),
        ("blue thing", 0.6, (52, 2, 58, 8)),  # nothing there
        ("red thing", 0.7, (40, 20, 50, 30)),
        ("yellow thing", 0.8, (40, 20, 50, 30)),  # the same, under another caption
    ]
    found = detect(OBJECTS, script)
    assert (found.box_count, found.masks.ids) == (5, (5, 6, 7, 8, 9))
    assert [(d.object_id, d.label.caption, d.object_mask.box_xyxy) for d in found.detections] == [
        (6, "blue thing", (20, 20, 30, 30)),
        (9, "yellow thing", (40, 20, 50, 30)),
        (5, "red thing", (0, 20, 10, 30)),
    ]
    assert found.detections[0].prompt().box_xyxy.tolist() == [20, 20, 30, 30]


def test_without_boxes_the_tracker_is_not_prompted(detect):
    found = detect(OBJECTS, [])
    assert (found.detections, found.masks, found.box_count) == ((), None, 0)


def test_the_past_is_as_long_as_the_detector_looked_away_unless_it_is_told():
    assert TrackingConfig(detect_every=7).backward_frame_count == 7
    assert TrackingConfig(detect_every=7, backward_frames=0).backward_frame_count == 0
