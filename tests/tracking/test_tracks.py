"""What happens to a track."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.config import TrackingConfig
from grounded_sam2.geometry.rle import rectangle
from grounded_sam2.results import Label
from grounded_sam2.tracking.color_histogram import Appearance
from grounded_sam2.tracking.tracks import Track

OPTIONS = TrackingConfig(min_hits=3, high_confidence=0.5)


def plain(*color: int) -> Appearance:
    return Appearance.of(np.full((8, 8, 3), color, np.uint8), rectangle((0, 0, 8, 8), (8, 8)))


RED, BLUE = plain(200, 20, 20), plain(20, 20, 200)


def label(confidence: float | None, name: str = "ball") -> Label:
    return Label(name, f"a {name}", (0, 0, 1, 1), None, confidence, None)


@pytest.mark.parametrize(
    ("confidence", "confirmed"), [(0.49, False), (0.5, True), (None, True)]
)  # fmt: skip
def test_a_sure_detection_needs_no_second_one(confidence, confirmed):
    assert Track.begun(1, label(confidence), RED, OPTIONS).is_confirmed is confirmed


def test_unsure_ones_need_as_many_as_asked():
    track = Track.begun(1, label(0.4), RED, OPTIONS)
    assert Track.begun(1, label(0.4), RED, TrackingConfig(min_hits=1)).is_confirmed
    second = track.detected(label(0.4), OPTIONS)
    assert not second.is_confirmed
    assert second.detected(label(0.4), OPTIONS).is_confirmed
    assert second.detected(label(0.4), OPTIONS).hits == 3
    assert second.continuing(track, OPTIONS).is_confirmed


def test_the_class_is_the_one_with_most_confidence_and_the_first_of_equals():
    track = Track.begun(1, label(0.6), RED, OPTIONS)
    equal = track.detected(label(0.6, "box"), OPTIONS)
    assert (equal.class_name, equal.confidence, equal.caption) == ("ball", 0.6, "a ball")
    more = equal.detected(label(0.1, "box"), OPTIONS)
    assert (more.class_name, more.confidence, more.caption) == ("box", 0.1, "a box")
    assert more.votes == (("ball", 0.6), ("box", 0.7))


def test_without_confidence_detections_are_counted():
    track = Track.begun(1, label(None), RED, OPTIONS).detected(label(None, "box"), OPTIONS)
    assert track.class_name == "ball"
    assert track.detected(label(None, "box"), OPTIONS).class_name == "box"


def test_a_track_is_gone_from_frame_to_frame_and_keeps_its_place():
    track = Track.begun(1, label(0.9), RED, OPTIONS).seen((1, 2, 3, 4)).seen(None).seen(None)
    assert (track.gone, track.place_xyxy) == (2, (1, 2, 3, 4))
    assert track.seen((5, 6, 7, 8)).gone == 0


def test_it_takes_the_identity_of_an_older_one_and_keeps_its_number():
    older = Track.begun(1, label(0.9), RED, OPTIONS)
    track = Track.begun(5, label(0.4), RED, OPTIONS).continuing(older, OPTIONS)
    assert (track.number, track.identity, track.is_confirmed) == (5, 1, True)
    assert track.votes == (("ball", 1.3),)


def test_its_class_is_then_the_one_that_detections_of_both_were_surest_of():
    older = Track.begun(1, label(0.9), RED, OPTIONS).seen((0, 0, 8, 8)).seen((0, 0, 1, 4))
    unsure = Track.begun(5, label(0.4, "box"), RED, OPTIONS).continuing(older, OPTIONS)
    assert (unsure.class_name, unsure.caption, unsure.confidence) == ("ball", "a ball", 0.9)
    assert unsure.size == 8, "what comes from behind something is a sliver at first"
    sure = Track.begun(5, label(0.95, "box"), RED, OPTIONS).continuing(older, OPTIONS)
    assert (sure.class_name, sure.caption, sure.confidence) == ("box", "a box", 0.95)
    assert sure.votes == (("ball", 0.9), ("box", 0.95))


def test_what_a_track_looks_like_changes_slowly():
    track = Track.begun(1, label(0.9), RED, OPTIONS)
    once = track.looking(BLUE)
    assert 0 < once.appearance.likeness(BLUE) < once.appearance.likeness(RED) < 1
    for _ in range(20):
        once = once.looking(BLUE)
    assert once.appearance.likeness(BLUE) > 0.99


def test_too_little_likeness_is_none_and_0_asks_for_none():
    track = Track.begun(1, label(0.9), RED, OPTIONS)
    assert track.likeness(RED, OPTIONS) == pytest.approx(1)
    assert track.likeness(BLUE, OPTIONS) == 0
    mixed = RED.mixed(BLUE, 0.9)
    assert track.likeness(mixed, TrackingConfig(min_similarity=0.2)) == RED.likeness(mixed)
    assert track.likeness(mixed, TrackingConfig(min_similarity=0.5)) == 0
    assert track.likeness(BLUE, TrackingConfig(min_similarity=0)) == 1


def test_what_turned_out_to_be_an_older_track_looks_like_that():
    older = Track.begun(1, label(0.9), RED, OPTIONS)
    assert Track.begun(5, label(0.9), BLUE, OPTIONS).continuing(older, OPTIONS).appearance == RED


def test_less_likeness_is_asked_of_what_stays_than_of_what_comes_back():
    there = Track.begun(1, label(0.9), RED, OPTIONS).seen((0, 0, 8, 8))
    mixed = RED.mixed(BLUE, 0.5)
    nearly = TrackingConfig(min_similarity=round(RED.likeness(mixed) / 0.9, 3))
    assert there.may_look(mixed, nearly)
    assert not there.seen(None).may_look(mixed, nearly)
    assert there.seen(None).may_look(RED, nearly)
    assert not there.may_look(BLUE, nearly)
    assert there.may_look(BLUE, TrackingConfig(min_similarity=0))
