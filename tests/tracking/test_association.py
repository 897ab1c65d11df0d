"""What the frames before tell of a look: who a thing was, and where."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from grounded_sam2.geometry import rle
from grounded_sam2.results import VideoFrame
from grounded_sam2.testing import FakeTracker

RED_BOX = (5, 5, 15, 15)


def still(index: int):
    return [("red", *RED_BOX)]


@pytest.fixture
def drifting(studio):
    """A tracker that drifts on its way forwards, and not on its way back."""

    class DriftingForwards(studio.DriftingTracker):
        def propagate(self, encoded, state, frame, *, reverse=False):
            if reverse:
                return FakeTracker.propagate(self, encoded, state, frame, reverse=True)
            return super().propagate(encoded, state, frame)

    return DriftingForwards


def test_a_corrected_track_is_corrected_back_to_where_it_was_right(studio, drifting):
    drift = {i: {"red": (5, 5, 40, 15)} for i in range(6, 11)}
    tracked = studio.track(studio.clip(14, still), tracker=drifting(drift))
    assert studio.boxes(tracked, 1) == dict.fromkeys(range(14), RED_BOX)
    assert studio.story(tracked) == {1: "dfffff" + "bbbb" + "dfff"}


def test_no_farther_than_the_past_is_filled(studio, drifting):
    drift = {i: {"red": (5, 5, 40, 15)} for i in range(2, 11)}
    tracked = studio.track(studio.clip(14, still), tracker=drifting(drift), fill_backwards=3)
    assert studio.story(tracked) == {1: "d" + 6 * "f" + "bbb" + "dfff"}
    assert studio.boxes(tracked, 1)[6] == (5, 5, 40, 15)


def test_nor_than_where_the_detector_has_seen_it(studio, drifting):
    drift = {i: {"red": (5, 5, 40, 15)} for i in range(5, 11)}
    told = {10: [("red thing", 0.4, RED_BOX)]}  # not sure: corrects nothing
    drift |= {i: {"red": (5, 5, 22, 15)} for i in range(10, 21)}
    tracked = studio.track(
        studio.clip(22, still), studio.ToldDetector(told), drifting(drift), fill_backwards=20
    )
    assert studio.story(tracked) == {1: "d" + 9 * "f" + "d" + 9 * "b" + "df"}


def test_two_that_have_spilled_over_each_other_are_both_corrected(studio, drifting):
    def things(_):
        return [("red", *RED_BOX), ("yellow", 15, 5, 25, 15)]

    spilled = {i: {"red": (5, 5, 20, 15)} for i in range(3, 11)}  # the first keeps what both claim
    tracked = studio.track(studio.clip(12, things), tracker=drifting(spilled))
    assert studio.boxes(tracked, 1) == dict.fromkeys(range(12), RED_BOX)
    assert studio.boxes(tracked, 2) == dict.fromkeys(range(12), (15, 5, 25, 15))


@pytest.mark.parametrize(
    ("left", "kept"), [((50, 30, 52, 32), True), ((40, 20, 50, 30), False)], ids=["crumb", "whole"]
)
def test_a_thing_whose_track_has_shrunk_to_a_crumb_keeps_its_id(studio, drifting, left, kept):
    drift = {i: {"red": left} for i in range(6, 11)}
    tracked = studio.track(studio.clip(11, still), tracker=drifting(drift), min_similarity=0)
    if kept:
        assert studio.story(tracked) == {1: "dfffff" + "bbbb" + "d"}
        assert studio.boxes(tracked, 1) == dict.fromkeys(range(11), RED_BOX)
    else:  # it may be another one of its class, which the detector has missed
        assert studio.story(tracked) == {1: "d" + 10 * "f", 2: "......" + "bbbb" + "d"}


def test_of_two_things_in_one_mask_the_one_that_was_there_before_keeps_the_id(studio, drifting):
    def things(index):
        return [*still(index), *([("yellow", 25, 5, 40, 15)] if index >= 7 else [])]

    spilled = {i: {"red": (10, 5, 40, 15)} for i in range(7, 11)}  # half of it on the yellow one
    tracked = studio.track(studio.clip(13, things), tracker=drifting(spilled))
    assert studio.boxes(tracked, 1) == dict.fromkeys(range(13), RED_BOX)
    assert studio.boxes(tracked, 2) == dict.fromkeys(range(7, 13), (25, 5, 40, 15))
    assert studio.story(tracked)[1] == "dffffff" + "bbb" + "dff"


class Halving(FakeTracker):
    """Takes the upper and the lower half of a thing for two, on its way forwards."""

    def propagate(self, encoded, state, frame, *, reverse=False):
        answers = super().propagate(encoded, state, frame, reverse=reverse)
        if reverse:
            return answers
        found = []
        for number, mask in zip(answers.ids, answers.found, strict=True):
            half = mask.decode()
            half[15:] &= number != 1
            half[:15] &= number != 2
            found.append(rle.encode(half[None])[0])
        return replace(answers, found=tuple(found))


def joined_at_five(index):
    """A thing behind another one, which leaves."""
    return [("red", 5, 5, 15, 25)] + ([("blue", 0, 10, 60, 20)] if index < 5 else [])


def test_what_was_first_taken_for_two_things_is_one(studio):
    tracked = studio.track(studio.clip(11, joined_at_five), tracker=Halving())
    story = studio.story(tracked)
    assert story[1] == "dffff" + "bbbbb" + "d"
    assert list(studio.boxes(tracked, 1).values())[5:] == 6 * [(5, 5, 15, 25)]
    [other] = (
        i
        for i, boxes in ((i, studio.boxes(tracked, i)) for i in story)
        if i != 1 and boxes[0] == (5, 20, 15, 25)
    )
    assert story[other] == "dffff" + 6 * "."


@pytest.mark.parametrize(("quality", "stays"), [(0.8, True), (0.4, False)])
def test_a_track_that_has_taken_a_part_of_another_thing_gives_it_back(studio, quality, stays):
    """Unless it is sure of its own: then it may be a thing in front of the other."""

    class Thieving(FakeTracker):
        def propagate(self, encoded, state, frame, *, reverse=False):
            answers = super().propagate(encoded, state, frame, reverse=reverse)
            if reverse or frame < 15:
                return answers
            found, score, qualities = list(answers.found), answers.score.copy(), answers.quality
            for row, number in enumerate(answers.ids):
                mask = np.zeros((40, 60), np.bool_)
                mask[5:15, 5 if number == 1 else 10 : 10 if number == 1 else 15] = True
                found[row] = rle.encode(mask[None])[0]
                score[row] = 5
                if number == 2:
                    qualities = np.where(np.arange(len(qualities)) == row, quality, qualities)
            return replace(answers, found=tuple(found), score=score, quality=qualities)

    def things(index):
        return [*still(index), *([("yellow", 40, 20, 50, 30)] if index < 15 else [])]

    tracked = studio.track(studio.clip(21, things), tracker=Thieving(), min_similarity=0)
    first = studio.boxes(tracked, 1)
    assert [first[i] for i in (15, 20)] == 2 * [(5, 5, 10, 15) if stays else RED_BOX]
    assert (20 in studio.boxes(tracked, 2)) is stays
    assert (15 in studio.boxes(tracked, 2)) is stays


def test_what_was_seen_often_as_two_is_two(studio):
    """A box around two things of a class does not make one of them."""
    twice = [("red thing", 0.9, (5, 5, 15, 15)), ("red thing", 0.9, (5, 15, 15, 25))]
    told = {10: twice, 20: [("red thing", 0.9, (5, 5, 15, 25))]}
    tracked = studio.track(
        studio.clip(23, joined_at_five), studio.ToldDetector(told), tracker=Halving()
    )
    pieces = [i for i in studio.story(tracked) if 21 in studio.boxes(tracked, i)]
    assert [studio.boxes(tracked, i)[21] for i in pieces] == [(5, 5, 15, 15), (5, 15, 15, 25)]


def test_a_thing_with_an_unlike_past_is_another_one(studio, drifting):
    """Half of it is where a lost thing was, on a single frame."""

    class Losing(drifting):
        def propagate(self, encoded, state, frame, *, reverse=False):
            answers = super().propagate(encoded, state, frame, reverse=reverse)
            if not reverse and frame >= 9:
                answers.score[[i == 1 for i in answers.ids]] = -5
            return answers

    drift = {i: {"red": (40, 20, 50, 30)} for i in range(1, 10)}
    tracked = studio.track(
        studio.clip(13, still), tracker=Losing(drift), reid_by="memory", min_similarity=0
    )
    assert studio.story(tracked) == {1: "d" + 8 * "f" + "....", 2: "." + 9 * "b" + "dff"}
    assert np.array_equal(studio.boxes(tracked, 2)[1], RED_BOX)


class Boxed(FakeTracker):
    """Takes the whole of a box for the thing that it is shown."""

    def prompt(self, encoded, prompts, state=None, frame=None, *, reverse=False):
        answers = super().prompt(encoded, prompts, state, frame, reverse=reverse)
        boxes = [tuple(int(side) for side in each.box_xyxy) for each in prompts.values()]
        return replace(answers, found=tuple(rle.rectangle(box, (40, 60)) for box in boxes))


@pytest.mark.parametrize(
    ("part", "is_thing"),
    [((3, 5, 10, 15), False), ((15, 5, 25, 15), True)],
    ids=["in the midst of a thing", "beside it"],
)
def test_nothing_begins_in_the_midst_of_a_thing(studio, part, is_thing):
    def things(index):
        return [*still(index), *([("yellow", *part)] if is_thing and index >= 10 else [])]

    told = {10: [("red thing", 0.9, RED_BOX), ("yellow thing", 0.8, part)]}
    clip = studio.clip(12, things)
    tracked = studio.track(clip, studio.ToldDetector(told), Boxed())
    assert (2 in studio.story(tracked)) is is_thing
    assert studio.boxes(tracked, 1)[10] == RED_BOX
    live = studio.track(clip, studio.ToldDetector(told), Boxed(), fill_backwards=0)
    assert 2 in studio.story(live), "nobody knows whether it was there before"


@pytest.mark.parametrize(
    ("before", "min_similarity", "is_thing"),
    [((4, 5, 9, 15), 0.5, False), ((0, 20, 7, 30), 0.5, True), ((4, 5, 9, 15), 0, True)],
    ids=["a part all along", "it came from elsewhere", "nobody knows what it looks like"],
)
def test_a_part_that_is_followed_back_inside_its_thing_is_none(
    studio, before, min_similarity, is_thing
):
    part = (3, 5, 10, 15)

    class FollowedBack(Boxed):
        def propagate(self, encoded, state, frame, *, reverse=False):
            answers = super().propagate(encoded, state, frame, reverse=reverse)
            if not reverse:
                return answers
            if frame < 7:
                return answers.mark_absent(answers.ids)
            return replace(
                answers, found=tuple(rle.rectangle(before, (40, 60)) for _ in answers.ids)
            )

    told = {10: [("red thing", 0.9, RED_BOX), ("red thing", 0.8, part)]}
    clip = studio.clip(12, still)
    tracked = studio.track(
        clip, studio.ToldDetector(told), FollowedBack(), min_similarity=min_similarity
    )
    assert (2 in studio.story(tracked)) is is_thing
    assert list(studio.boxes(tracked, 1)) == list(range(12))


@pytest.mark.parametrize("entering", [1, 5, 9, 10, 11, 19])
def test_a_thing_is_labeled_from_the_very_frame_on_which_it_enters(studio, entering):
    def things(index):
        late = [("blue", 30, 20, 40, 30)] if index >= entering else []
        return [*still(index), *late]

    tracked = studio.track(studio.clip(30, things))
    assert list(studio.boxes(tracked, 2)) == list(range(entering, 30))
    found = -(-entering // 10) * 10
    assert studio.story(tracked)[2][:found].strip(".") == "b" * (found - entering)
    first = tracked[entering].labels.objects[1]
    assert (first.class_name, first.caption, first.confidence) == ("box", "blue thing", 0.9)


def test_the_past_is_filled_no_farther_than_asked(studio):
    def things(index):
        return [("red", *RED_BOX)]

    told = {0: [], 10: []}
    filled = {
        frames: studio.story(
            studio.track(studio.clip(25, things), studio.ToldDetector(told), fill_backwards=frames)
        )[1]
        for frames in (0, 3, 15, 100)
    }
    assert filled[0] == "." * 20 + "dffff"
    assert filled[3] == "." * 17 + "bbbdffff"
    assert filled[15] == "." * 5 + "b" * 15 + "dffff"
    assert filled[100] == "b" * 20 + "dffff"


def test_a_thing_that_was_lost_in_sight_is_found_by_looking_back(studio):
    lost = {i: {"red": None} for i in range(6, 40)}

    class Losing(studio.DriftingTracker):
        def propagate(self, encoded, state, frame, *, reverse=False):
            if reverse or 1 not in state.ids:
                return FakeTracker.propagate(self, encoded, state, frame, reverse=reverse)
            return super().propagate(encoded, state, frame)

    clip = studio.clip(25, still)
    tracked = studio.track(clip, tracker=Losing(lost), reid_by="memory")
    assert studio.story(tracked) == {1: "dfffff" + "bbbb" + "dfffffffffdffff"}


def test_what_was_found_but_not_known_goes_back_to_where_it_was_labeled_before(studio):
    """A confident detection of another class, on a thing that one has: both were asked for."""
    told = {10: [("red thing", 0.9, RED_BOX), ("blue thing", 0.9, RED_BOX)]}
    tracked = studio.track(studio.clip(12, still), studio.ToldDetector(told))
    assert studio.story(tracked) == {1: "dfffffffffdf", 2: "bbbbbbbbbbdf"}
    tracked = studio.track(
        studio.clip(12, still), studio.ToldDetector(told), cleanup__across_classes=True
    )
    assert studio.story(tracked) == {1: "dfffffffffdf"}


def test_a_thing_is_not_followed_back_beyond_a_cut(studio):
    frames = [
        VideoFrame(i, i / 10, studio.draw_image(i, still(i), scene=int(i >= 4))) for i in range(15)
    ]
    told = {0: [], 4: []}
    tracked = studio.track(frames, studio.ToldDetector(told), fill_backwards=20)
    assert studio.story(tracked) == {1: 4 * "." + 10 * "b" + "d"}
