"""Colours tell things apart that masks do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from grounded_sam2.geometry import rle
from grounded_sam2.geometry.rle import rectangle
from grounded_sam2.testing import FakeTracker
from grounded_sam2.tracking.color_histogram import Appearance

SIZE_HW = (40, 60)
WHOLE = rectangle((0, 0, 60, 40), SIZE_HW)
RED_BOX, YELLOW_BOX = (5, 5, 15, 15), (15, 5, 25, 15)


def plain(*color: int) -> np.ndarray:
    return np.full((*SIZE_HW, 3), color, np.uint8)


def striped(*colors: tuple[int, int, int]) -> np.ndarray:
    image = plain(0, 0, 0)
    for number, color in enumerate(colors):
        image[:, number :: len(colors)] = color
    return image


RED, BLUE = (200, 20, 20), (20, 20, 200)


class TestAppearance:
    def test_one_color_is_alike_and_two_are_not(self) -> None:
        red, blue = (Appearance.of(plain(*color), WHOLE) for color in (RED, BLUE))
        assert red.likeness(red) == pytest.approx(1)
        assert red.likeness(blue) == 0

    def test_less_light_changes_less_than_another_color(self) -> None:
        before = Appearance.of(plain(200, 60, 40), WHOLE)
        likeness = [
            before.likeness(Appearance.of(plain(*color), WHOLE))
            for color in [(180, 54, 36), (100, 30, 20), (60, 200, 40)]
        ]
        assert likeness == sorted(likeness, reverse=True)
        assert likeness[0] > 0.9
        assert likeness[1] > 0.5
        assert likeness[2] == 0

    def test_black_grey_and_white_differ_by_their_brightness(self) -> None:
        black, white = (Appearance.of(plain(*3 * [level]), WHOLE) for level in (10, 250))
        assert black.likeness(white) < 0.1

    def test_shares_count(self) -> None:
        half = Appearance.of(striped(RED, BLUE), WHOLE)
        more = Appearance.of(striped(RED, RED, BLUE), WHOLE)
        red = Appearance.of(plain(*RED), WHOLE)
        assert half.likeness(red) == pytest.approx(np.sqrt(0.5), abs=0.03)
        assert half.likeness(red) < more.likeness(red) < 1

    def test_only_the_mask_is_looked_at(self) -> None:
        image = plain(*BLUE)
        image[7:20, 11:31] = RED
        dense = np.zeros((1, *SIZE_HW), np.bool_)
        dense[0, 7:20, 11:31] = True
        dense[0, 9:12, 14:18] = False
        [mask] = rle.encode(dense)
        assert Appearance.of(image, mask) == Appearance.of(plain(*RED), WHOLE)

    def test_one_pixel_is_enough(self) -> None:
        image = plain(*BLUE)
        image[39, 59] = RED
        corner = rectangle((59, 39, 60, 40), SIZE_HW)
        assert Appearance.of(image, corner) == Appearance.of(plain(*RED), WHOLE)

    def test_of_a_large_mask_all_parts_count(self) -> None:
        image = np.zeros((400, 600, 3), np.uint8)
        image[:, :300], image[:, 300:] = RED, BLUE
        whole = Appearance.of(image, rectangle((0, 0, 600, 400), (400, 600)))
        assert whole.likeness(Appearance.of(striped(RED, BLUE), WHOLE)) == pytest.approx(
            1, abs=0.01
        )

    def test_a_mixture_has_both_colors(self) -> None:
        red, blue = (Appearance.of(plain(*color), WHOLE) for color in (RED, BLUE))
        mixed = red.mixed(blue, 0.5)
        assert mixed.likeness(Appearance.of(striped(RED, BLUE), WHOLE)) == pytest.approx(
            1, abs=0.01
        )
        assert red.mixed(blue, 0) == red


def both(index: int):
    return [("red", *RED_BOX), ("yellow", *YELLOW_BOX)]


def test_what_two_tracks_claim_is_the_ones_whose_colors_it_has(studio):
    spilled = {i: {"red": (5, 5, 20, 15)} for i in range(3, 9)}
    clip = studio.clip(9, both)
    tracked = studio.track(clip, tracker=studio.DriftingTracker(spilled))
    assert studio.boxes(tracked, 1) == dict.fromkeys(range(9), RED_BOX)
    assert studio.boxes(tracked, 2) == dict.fromkeys(range(9), YELLOW_BOX)
    without = studio.track(clip, tracker=studio.DriftingTracker(spilled), min_similarity=0)
    assert studio.boxes(without, 2)[5] == (20, 5, 25, 15), "the first keeps what both claim"


def red_leaves(index: int):
    return [("yellow", 40, 20, 50, 30), *([("red", *RED_BOX)] if index < 4 else [])]


def test_a_track_that_jumps_to_another_thing_is_gone(studio):
    """The tracker takes the one that is left for the one that has gone, in the gap of its mask."""
    jumped = {i: {"red": (40, 20, 50, 30), "yellow": None} for i in range(4, 9)}
    clip = studio.clip(9, red_leaves)
    tracked = studio.track(clip, tracker=studio.DriftingTracker(jumped))
    assert list(studio.boxes(tracked, 1)) == [0, 1, 2, 3]
    without = studio.track(clip, tracker=studio.DriftingTracker(jumped), min_similarity=0)
    assert studio.boxes(without, 1)[6] == (40, 20, 50, 30)


def test_a_track_that_creeps_away_is_gone_and_is_found_again(studio):
    """It touches where it was on every frame."""
    crept = {i: {"red": (5 + 2 * i, 5, 15 + 2 * i, 15)} for i in range(1, 11)}
    clip = studio.clip(12, lambda _: [("red", *RED_BOX)])
    tracked = studio.track(clip, tracker=studio.DriftingTracker(crept), fill_backwards=0)
    assert studio.story(tracked) == {1: "dffff.....df"}, "a fifth of it is not enough"
    assert studio.boxes(tracked, 1)[10] == RED_BOX
    without = studio.track(clip, tracker=studio.DriftingTracker(crept), min_similarity=0)
    assert studio.boxes(without, 1)[10] == (25, 5, 35, 15)


def test_the_frames_before_do_not_make_one_of_two_that_look_unlike(studio):
    """A thing is found where a lost one was, and the masks on the way back are those of its
    labels."""

    class Lost(FakeTracker):
        def propagate(self, encoded, state, frame, *, reverse=False):
            answers = super().propagate(encoded, state, frame, reverse=reverse)
            if reverse:
                return replace(
                    answers, found=tuple(rectangle(RED_BOX, SIZE_HW) for _ in answers.ids)
                )
            return answers

    def changing(index: int):
        return [("red" if index < 10 else "yellow", *RED_BOX)]

    tracked = studio.track(studio.clip(12, changing), tracker=Lost(), cut_difference=1)
    assert studio.story(tracked)[1].startswith("dfffffffff.")
    assert studio.story(tracked)[2].endswith("df")


def test_where_no_likeness_is_asked_for_no_mask_is_looked_at(studio, monkeypatch):
    looked: list[int] = []
    of = Appearance.of.__func__
    monkeypatch.setattr(
        Appearance, "of", classmethod(lambda cls, *given: looked.append(1) or of(cls, *given))
    )
    studio.track(studio.clip(9, both), min_similarity=0)
    assert len(looked) == 2, "the two detections of the first frame"
    studio.track(studio.clip(9, both))
    assert len(looked) == 6 + 2 * 8, "and what is followed of them"


def test_a_track_looks_like_what_is_followed_and_not_like_all_that_its_box_asked_for(studio):
    """The mask of the second box holds the first thing as well, until the two are kept apart."""
    blue_box = 45, 5, 55, 15

    class Greedy(FakeTracker):
        def prompt(self, encoded, prompts, state=None, frame=None, *, reverse=False):
            answers = super().prompt(encoded, prompts, state, frame, reverse=reverse)
            both = rectangle((5, 5, 55, 15), SIZE_HW)
            found = tuple(both if mask.area == 100 else mask for mask in answers.found)
            return replace(answers, found=found)

    clip = studio.clip(4, lambda _: [("red", 5, 5, 45, 15), ("blue", *blue_box)])
    tracked = studio.track(clip, tracker=Greedy(), exclusive="all", min_similarity=0.8)
    assert studio.boxes(tracked, 2) == dict.fromkeys(range(4), blue_box)
