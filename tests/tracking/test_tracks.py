"""State of a track, its updates and its labels."""

from __future__ import annotations

import pytest
from fixtures.tracking import BLUE, RED, object_mask

from grounded_sam2.config import TrackingConfig
from grounded_sam2.results import Label
from grounded_sam2.tracking.color_histogram import ColorHistogram
from grounded_sam2.tracking.detections import Detection
from grounded_sam2.tracking.tracks import Track

OPTIONS = TrackingConfig(min_hits=3, high_confidence=0.5)


def label(confidence: float | None, name: str = "ball") -> Label:
    return Label(name, f"a {name}", (0, 0, 1, 1), None, confidence, None)


def start(
    object_id: int, label: Label, histogram: ColorHistogram, options: TrackingConfig
) -> Track:
    return Track.from_detection(
        Detection(object_id, label, object_mask(0, 0, 1, 1), histogram), options
    )


@pytest.mark.parametrize(
    ("confidence", "confirmed"), [(0.49, False), (0.5, True), (None, True)]
)  # fmt: skip
def test_a_high_confidence_detection_confirms_a_track(confidence, confirmed):
    assert start(1, label(confidence), RED, OPTIONS).is_confirmed is confirmed


def test_low_confidence_detections_confirm_a_track_after_min_hits():
    track = start(1, label(0.4), RED, OPTIONS)
    assert start(1, label(0.4), RED, TrackingConfig(min_hits=1)).is_confirmed
    second = track.with_detection(label(0.4), OPTIONS)
    assert not second.is_confirmed
    assert second.with_detection(label(0.4), OPTIONS).is_confirmed
    assert second.with_detection(label(0.4), OPTIONS).hits == 3
    assert second.reidentified_as(track, OPTIONS).is_confirmed


def test_the_class_is_the_one_with_the_highest_summed_confidence_the_first_of_equals():
    track = start(1, label(0.6), RED, OPTIONS)
    equal = track.with_detection(label(0.6, "box"), OPTIONS)
    assert (equal.class_name, equal.confidence, equal.caption) == ("ball", 0.6, "a ball")
    more = equal.with_detection(label(0.1, "box"), OPTIONS)
    assert (more.class_name, more.confidence, more.caption) == ("box", 0.1, "a box")
    assert more.class_scores == (("ball", 0.6), ("box", 0.7))


def test_detections_without_confidence_are_counted():
    track = start(1, label(None), RED, OPTIONS).with_detection(label(None, "box"), OPTIONS)
    assert track.class_name == "ball"
    assert track.with_detection(label(None, "box"), OPTIONS).class_name == "box"


def test_an_absent_track_counts_its_frames_and_keeps_its_last_box():
    track = (
        start(1, label(0.9), RED, OPTIONS)
        .after_frame((1, 2, 3, 4))
        .after_frame(None)
        .after_frame(None)
    )
    assert (track.frames_absent, track.last_box_xyxy) == (2, (1, 2, 3, 4))
    assert track.after_frame((5, 6, 7, 8)).frames_absent == 0


def test_a_reidentified_track_has_the_identity_of_the_older_one_and_its_own_object_id():
    older = start(1, label(0.9), RED, OPTIONS)
    track = start(5, label(0.4), RED, OPTIONS).reidentified_as(older, OPTIONS)
    assert (track.object_id, track.identity, track.is_confirmed) == (5, 1, True)
    assert track.class_scores == (("ball", 1.3),)


def test_a_reidentified_track_has_the_class_with_the_highest_confidence_of_both():
    older = start(1, label(0.9), RED, OPTIONS).after_frame((0, 0, 8, 8)).after_frame((0, 0, 1, 4))
    low = start(5, label(0.4, "box"), RED, OPTIONS).reidentified_as(older, OPTIONS)
    assert (low.class_name, low.caption, low.confidence) == ("ball", "a ball", 0.9)
    assert low.max_side == 8, "an object that comes out from behind another is a sliver at first"
    high = start(5, label(0.95, "box"), RED, OPTIONS).reidentified_as(older, OPTIONS)
    assert (high.class_name, high.caption, high.confidence) == ("box", "a box", 0.95)
    assert high.class_scores == (("ball", 0.9), ("box", 0.95))


def test_a_histogram_changes_slowly():
    track = start(1, label(0.9), RED, OPTIONS)
    once = track.with_histogram(BLUE)
    assert 0 < once.histogram.similarity(BLUE) < once.histogram.similarity(RED) < 1
    for _ in range(20):
        once = once.with_histogram(BLUE)
    assert once.histogram.similarity(BLUE) > 0.99


def test_similarity_is_0_below_the_threshold_and_1_without_one():
    track = start(1, label(0.9), RED, OPTIONS)
    assert track.similarity(RED, OPTIONS) == pytest.approx(1)
    assert track.similarity(BLUE, OPTIONS) == 0
    mixed = RED.blend(BLUE, 0.9)
    assert track.similarity(mixed, TrackingConfig(min_similarity=0.2)) == RED.similarity(mixed)
    assert track.similarity(mixed, TrackingConfig(min_similarity=0.5)) == 0
    assert track.similarity(BLUE, TrackingConfig(min_similarity=0)) == 1


def test_a_reidentified_track_has_the_histogram_of_the_older_one():
    older = start(1, label(0.9), RED, OPTIONS)
    assert start(5, label(0.9), BLUE, OPTIONS).reidentified_as(older, OPTIONS).histogram == RED


def test_a_visible_track_needs_less_similarity_than_one_that_returns():
    there = start(1, label(0.9), RED, OPTIONS).after_frame((0, 0, 8, 8))
    mixed = RED.blend(BLUE, 0.5)
    nearly = TrackingConfig(min_similarity=round(RED.similarity(mixed) / 0.9, 3))
    assert there.accepts_propagated(mixed, nearly)
    assert not there.after_frame(None).accepts_propagated(mixed, nearly)
    assert there.after_frame(None).accepts_propagated(RED, nearly)
    assert not there.accepts_propagated(BLUE, nearly)
    assert there.accepts_propagated(BLUE, TrackingConfig(min_similarity=0))
