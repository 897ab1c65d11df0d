"""Matching of the detections of a frame with the tracks."""

from __future__ import annotations

from functools import partial

import pytest
from fixtures import tracking
from fixtures.tracking import BLUE, make_config, make_track

from grounded_sam2.tracking.matching import Matches, match_detections

SIZE_HW = (50, 100)
detection = partial(tracking.detection, size_hw=SIZE_HW)
object_mask = partial(tracking.object_mask, size_hw=SIZE_HW)


def match(detections, tracks, visible, **values) -> Matches:
    return match_detections(detections, tracks, visible, make_config(**values))


def test_without_detections_or_tracks_there_are_no_matches():
    assert match([], [], {}) == Matches()
    assert match([], [make_track(1)], {1: object_mask(0, 0, 10, 10)}) == Matches()
    assert match([detection(0, 0, 10, 10)], [], {}) == Matches(unmatched=(0,))


def test_detections_match_tracks_of_their_class_whose_masks_overlap():
    visible = {1: object_mask(0, 0, 10, 10), 2: object_mask(30, 0, 40, 10)}
    tracks = [make_track(1), make_track(2)]
    detections = [detection(31, 0, 41, 10), detection(0, 1, 10, 11), detection(60, 0, 70, 10)]
    assert match(detections, tracks, visible) == Matches(matched={0: 2, 1: 1}, unmatched=(2,))


def test_matches_have_the_highest_sum_of_overlaps_not_the_best_pair_first():
    """Greedy matching gives the first track to the first detection, and none to the second."""
    visible = {1: object_mask(0, 0, 30, 10), 2: object_mask(8, 0, 38, 10)}
    detections = [detection(1, 0, 31, 10), detection(-0, 0, 27, 10)]
    assert match(detections, [make_track(1), make_track(2)], visible).matched == {0: 2, 1: 1}


def test_a_detection_of_another_class_on_a_track_is_unmatched_unless_classes_are_merged():
    detections, tracks = [detection(0, 0, 10, 10, name="box")], [make_track(1)]
    visible = {1: object_mask(0, 0, 10, 10)}
    assert match(detections, tracks, visible) == Matches(unmatched=(0,))
    across = match(detections, tracks, visible, cleanup__across_classes=True)
    assert across == Matches(duplicates={0: 1})


def test_masks_that_overlap_a_little_have_drifted():
    visible = {1: object_mask(0, 0, 30, 10)}
    a_third = [detection(0, 0, 10, 10)]
    assert match(a_third, [make_track(1)], visible).drifted == {0: 1}
    assert match([detection(25, 0, 35, 10)], [make_track(1)], visible).unmatched == (
        0,
    )  # a seventh


def test_a_detection_of_clearly_different_colors_is_no_drifted_match():
    """The track has spilled over a neighbor. Colors do not count where masks overlap by half."""
    visible = {1: object_mask(0, 0, 30, 10)}
    other = [detection(0, 0, 10, 10, histogram=BLUE)]
    assert match(other, [make_track(1)], visible) == Matches(unmatched=(0,))
    assert match(other, [make_track(1)], visible, min_similarity=0).drifted == {0: 1}
    assert match([detection(0, 0, 29, 10, histogram=BLUE)], [make_track(1)], visible).matched == {
        0: 1
    }


def test_a_second_detection_of_a_track_is_a_duplicate():
    detections = [detection(0, 0, 10, 10), detection(0, 0, 10, 8)]
    assert match(detections, [make_track(1)], {1: object_mask(0, 0, 10, 10)}) == Matches(
        matched={0: 1}, duplicates={1: 1}
    )


def test_a_detection_beside_the_one_of_the_track_is_another_object():
    """The mask of the track has spilled over both."""
    detections = [detection(0, 0, 11, 10), detection(11, 0, 20, 10, name="box")]
    spilled = match(
        detections,
        [make_track(1)],
        {1: object_mask(0, 0, 20, 10)},
        cleanup__across_classes=True,
        cleanup__merge_iou=0.4,
    )
    assert spilled == Matches(matched={0: 1}, unmatched=(1,))


def test_a_lost_track_returns_as_a_detection_with_its_colors():
    lost = [
        make_track(1, last_box=(20, 20, 30, 30)),
        make_track(2, last_box=(21, 20, 31, 30), histogram=BLUE),
    ]
    found = [detection(20, 20, 30, 30, histogram=BLUE)]
    assert match(found, lost[:1], {}).unmatched == (0,)
    assert match(found, lost[:1], {}, min_similarity=0).returned == {0: 1}
    assert match(found, lost, {}).returned == {0: 2}


@pytest.mark.parametrize(
    ("box", "returns"),
    [
        ((20, 20, 30, 30), True),
        ((35, 20, 45, 30), True),  # one and a half sizes away
        ((41, 20, 51, 30), False),  # more than two
        ((15, 15, 34, 34), True),  # less than four times as large
        ((15, 15, 36, 36), False),
        ((23, 23, 27, 27), True),  # it comes out from behind another object
    ],
)
def test_a_lost_track_returns_near_its_last_box_and_not_much_larger(box, returns):
    found = match([detection(*box)], [make_track(1, last_box=(20, 20, 30, 30))], {})
    assert (found.returned, found.unmatched) == (({0: 1}, ()) if returns else ({}, (0,)))


def test_a_track_that_was_lost_as_a_sliver_returns_whole():
    whole = make_track(1, last_box=(10, 10, 30, 30))
    sliver = whole.after_frame((28, 10, 30, 12))
    small = make_track(1, last_box=(28, 10, 30, 12))
    assert match([detection(45, 10, 65, 30)], [sliver], {}).returned == {0: 1}
    assert match([detection(45, 10, 65, 30)], [small], {}).unmatched == (0,)


def test_a_lost_track_returns_under_another_class_only_if_classes_are_merged():
    detections, tracks = (
        [detection(20, 20, 30, 30, name="box")],
        [make_track(1, last_box=(20, 20, 30, 30))],
    )
    assert match(detections, tracks, {}).unmatched == (0,)
    assert match(detections, tracks, {}, cleanup__across_classes=True).returned == {0: 1}
    detections.append(detection(22, 20, 32, 30))
    across = match(detections, tracks, {}, cleanup__across_classes=True)
    assert (across.returned, across.unmatched) == ({1: 1}, (0,)), "its own class first"


def test_a_detection_on_a_visible_track_is_not_a_lost_one_that_returns():
    tracks, visible = (
        [make_track(1, last_box=(20, 20, 30, 30)), make_track(2)],
        {2: object_mask(24, 20, 34, 30)},
    )
    detections = [detection(25, 20, 35, 30, name="box")]
    assert match(detections, tracks, visible, cleanup__across_classes=True).duplicates == {0: 2}
    twice = [detection(24, 20, 34, 30), detection(25, 20, 35, 30)]
    assert match(twice, tracks, visible) == Matches(matched={0: 2}, duplicates={1: 2})


def test_the_nearest_lost_track_returns():
    lost = [make_track(1, last_box=(20, 20, 30, 30)), make_track(2, last_box=(28, 20, 38, 30))]
    assert match([detection(27, 20, 37, 30)], lost, {}).returned == {0: 2}


def test_a_lost_track_needs_its_class_a_last_box_and_reid_by_place_to_return():
    found = [detection(20, 20, 30, 30)]
    assert match(found, [make_track(1, last_box=(20, 20, 30, 30), name="box")], {}).unmatched == (
        0,
    )
    assert match(found, [make_track(1)], {}).unmatched == (0,)
    lost = [make_track(1, last_box=(20, 20, 30, 30))]
    assert match(found, lost, {}, reid_by="memory").unmatched == (0,)
    assert match(found, lost, {}, reid_distance=0).unmatched == (0,)
