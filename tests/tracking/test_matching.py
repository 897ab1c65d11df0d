"""Which detection is which track."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.geometry.rle import rectangle
from grounded_sam2.results import Label
from grounded_sam2.tracking.color_histogram import Appearance
from grounded_sam2.tracking.detections import Sight, Sighting
from grounded_sam2.tracking.matching import Matches, match
from grounded_sam2.tracking.tracks import Track

SIZE_HW = (50, 100)


def sight(left: int, top: int, right: int, bottom: int) -> Sight:
    box = float(left), float(top), float(right), float(bottom)
    return Sight(rectangle((left, top, right, bottom), SIZE_HW), box, 0.9)


def plain(*color: int) -> Appearance:
    image = np.full((*SIZE_HW, 3), color, np.uint8)
    return Appearance.of(image, rectangle((0, 0, 5, 5), SIZE_HW))


RED, BLUE = plain(200, 20, 20), plain(20, 20, 200)


def thing(*box: int, name: str = "ball", looks: Appearance = RED) -> Sighting:
    seen = sight(*box)
    return Sighting(99, Label(name, name, seen.box_xyxy, seen.mask, 0.9, 0.9), seen, looks)


def track(number: int, place=None, name: str = "ball", looks: Appearance = RED) -> Track:
    lost = Track(number, number, name, name, 0.9, looks, ((name, 0.9),), 1, True)
    return lost if place is None else lost.seen(place)


@pytest.fixture
def matched(studio):
    def of(things, tracks, seen, **values) -> Matches:
        return match(things, tracks, seen, studio.options(**values))

    return of


def test_nothing_with_nothing(matched):
    assert matched([], [], {}) == Matches()
    assert matched([], [track(1)], {1: sight(0, 0, 10, 10)}) == Matches()
    assert matched([thing(0, 0, 10, 10)], [], {}) == Matches(new=(0,))


def test_one_class_and_masks_that_agree_are_the_same(matched):
    seen = {1: sight(0, 0, 10, 10), 2: sight(30, 0, 40, 10)}
    tracks = [track(1), track(2)]
    things = [thing(31, 0, 41, 10), thing(0, 1, 10, 11), thing(60, 0, 70, 10)]
    assert matched(things, tracks, seen) == Matches(same={0: 2, 1: 1}, new=(2,))


def test_the_sum_decides_and_not_the_best_pair(matched):
    """Greedy pairing gives the first track to the first thing, and leaves the second alone."""
    seen = {1: sight(0, 0, 30, 10), 2: sight(8, 0, 38, 10)}
    things = [thing(1, 0, 31, 10), thing(-0, 0, 27, 10)]
    assert matched(things, [track(1), track(2)], seen).same == {0: 2, 1: 1}


def test_another_class_on_the_same_place_is_new_unless_a_thing_has_one_class(matched):
    things, tracks = [thing(0, 0, 10, 10, name="box")], [track(1)]
    seen = {1: sight(0, 0, 10, 10)}
    assert matched(things, tracks, seen) == Matches(new=(0,))
    across = matched(things, tracks, seen, cleanup__across_classes=True)
    assert across == Matches(known={0: 1})


def test_masks_that_agree_a_little_have_drifted(matched):
    seen = {1: sight(0, 0, 30, 10)}
    assert matched([thing(0, 0, 10, 10)], [track(1)], seen).drifted == {0: 1}  # a third
    assert matched([thing(25, 0, 35, 10)], [track(1)], seen).new == (0,)  # a seventh


def test_what_looks_clearly_different_has_not_drifted(matched):
    """The track has spilled over a neighbor; the two that share most of a mask may look unlike."""
    seen = {1: sight(0, 0, 30, 10)}
    other = [thing(0, 0, 10, 10, looks=BLUE)]
    assert matched(other, [track(1)], seen) == Matches(new=(0,))
    assert matched(other, [track(1)], seen, min_similarity=0).drifted == {0: 1}
    assert matched([thing(0, 0, 29, 10, looks=BLUE)], [track(1)], seen).same == {0: 1}


def test_a_second_detection_of_a_thing_is_known(matched):
    things = [thing(0, 0, 10, 10), thing(0, 0, 10, 8)]
    assert matched(things, [track(1)], {1: sight(0, 0, 10, 10)}) == Matches(
        same={0: 1}, known={1: 1}
    )


def test_what_lies_beside_the_detection_of_a_track_is_another_thing(matched):
    """The mask of the track has spilled over both."""
    things = [thing(0, 0, 11, 10), thing(11, 0, 20, 10, name="box")]
    spilled = matched(
        things,
        [track(1)],
        {1: sight(0, 0, 20, 10)},
        cleanup__across_classes=True,
        cleanup__merge_iou=0.4,
    )
    assert spilled == Matches(same={0: 1}, new=(1,))


def test_what_returns_looks_like_what_was_lost(matched):
    lost = [track(1, place=(20, 20, 30, 30)), track(2, place=(21, 20, 31, 30), looks=BLUE)]
    found = [thing(20, 20, 30, 30, looks=BLUE)]
    assert matched(found, lost[:1], {}).new == (0,)
    assert matched(found, lost[:1], {}, min_similarity=0).returned == {0: 1}
    assert matched(found, lost, {}).returned == {0: 2}


@pytest.mark.parametrize(
    ("box", "returns"),
    [
        ((20, 20, 30, 30), True),
        ((35, 20, 45, 30), True),  # one and a half sizes away
        ((41, 20, 51, 30), False),  # more than two
        ((15, 15, 34, 34), True),  # less than four times as large
        ((15, 15, 36, 36), False),
        ((23, 23, 27, 27), True),  # it comes from behind something
    ],
)
def test_what_was_lost_returns_near_its_place_and_hardly_larger(matched, box, returns):
    found = matched([thing(*box)], [track(1, place=(20, 20, 30, 30))], {})
    assert (found.returned, found.new) == (({0: 1}, ()) if returns else ({}, (0,)))


def test_what_was_lost_as_a_sliver_returns_whole(matched):
    whole = track(1, place=(10, 10, 30, 30))
    sliver = whole.seen((28, 10, 30, 12))
    assert matched([thing(45, 10, 65, 30)], [sliver], {}).returned == {0: 1}
    assert matched([thing(45, 10, 65, 30)], [track(1, place=(28, 10, 30, 12))], {}).new == (0,)


def test_what_returns_may_be_taken_for_another_class_where_a_thing_has_one(matched):
    things, tracks = [thing(20, 20, 30, 30, name="box")], [track(1, place=(20, 20, 30, 30))]
    assert matched(things, tracks, {}).new == (0,)
    assert matched(things, tracks, {}, cleanup__across_classes=True).returned == {0: 1}
    things.append(thing(22, 20, 32, 30))
    across = matched(things, tracks, {}, cleanup__across_classes=True)
    assert (across.returned, across.new) == ({1: 1}, (0,)), "its own class first"


def test_what_lies_on_a_track_that_is_there_is_no_other_one_that_returns(matched):
    tracks, seen = [track(1, place=(20, 20, 30, 30)), track(2)], {2: sight(24, 20, 34, 30)}
    things = [thing(25, 20, 35, 30, name="box")]
    assert matched(things, tracks, seen, cleanup__across_classes=True).known == {0: 2}
    twice = [thing(24, 20, 34, 30), thing(25, 20, 35, 30)]
    assert matched(twice, tracks, seen) == Matches(same={0: 2}, known={1: 2})


def test_the_nearest_returns(matched):
    lost = [track(1, place=(20, 20, 30, 30)), track(2, place=(28, 20, 38, 30))]
    assert matched([thing(27, 20, 37, 30)], lost, {}).returned == {0: 2}


def test_what_returns_is_of_its_class_has_a_place_and_is_asked_for(matched):
    found = [thing(20, 20, 30, 30)]
    assert matched(found, [track(1, place=(20, 20, 30, 30), name="box")], {}).new == (0,)
    assert matched(found, [track(1)], {}).new == (0,)
    lost = [track(1, place=(20, 20, 30, 30))]
    assert matched(found, lost, {}, reid_by="memory").new == (0,)
    assert matched(found, lost, {}, reid_distance=0).new == (0,)
