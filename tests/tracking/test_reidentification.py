"""What was away and is back: under which id, and from which frame on."""

from __future__ import annotations

import pytest

from grounded_sam2.results import VideoFrame
from grounded_sam2.testing import FakeTracker

RED_BOX = (5, 5, 15, 15)


def still(index: int):
    return [("red", *RED_BOX)]


def test_a_thing_that_leaves_and_returns_keeps_its_id(studio):
    tracked = studio.track(studio.clip(40, lambda i: still(i) if not 12 <= i < 33 else []))
    assert studio.story(tracked) == {1: "d" + 9 * "f" + "df" + 21 * "." + "fffffff"}


def test_a_thing_that_returns_too_late_is_another_one(studio):
    things = studio.clip(40, lambda i: still(i) if not 12 <= i < 33 else [])
    tracked = studio.track(things, max_gone=20)
    assert studio.story(tracked) == {
        1: "d" + 9 * "f" + "df" + 28 * ".",
    }
    tracked = studio.track([*things, *studio.clip(45, still)[40:]], max_gone=20)
    assert studio.story(tracked)[2] == 33 * "." + 7 * "b" + "dffff"


def test_what_hides_behind_another_thing_is_absent_there_and_comes_back(studio):
    def things(index):
        return [("red", 5 + index, 10, 15 + index, 20), ("blue", 22, 5, 40, 30)]

    tracked = studio.track(studio.clip(50, things))
    red, blue = studio.story(tracked).values()
    assert blue.count(".") == 0
    hidden = [i for i, letter in enumerate(red) if letter == "."]
    assert hidden == list(range(16, 27))  # one column of it is a speck


def test_a_thing_may_come_back_under_a_class_that_outweighs_its_first(studio):
    """What was taken for something else as it came in."""
    told = {
        0: [("blue thing", 0.6, RED_BOX)],
        10: [("red thing", 0.9, RED_BOX)],
    }
    tracked = studio.track(
        studio.clip(14, lambda index: still(index) if index not in range(4, 10) else []),
        studio.ToldDetector(told),
        studio.DriftingTracker({i: {"red": None} for i in range(4, 11)}),
        cleanup__across_classes=True,
    )
    found = [[(o.track_id, o.class_name) for o in frame.labels.objects] for frame in tracked]
    assert found[0] == [(1, "ball")], "it still waited"
    assert found[10] == found[13] == [(1, "ball")]


class Forgetful(FakeTracker):
    """Does not know a thing again once it was gone, unless it is shown to it."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = set()

    def propagate(self, encoded, state, frame, *, reverse=False):
        answers = super().propagate(encoded, state, frame, reverse=reverse)
        if not reverse:
            gone = [i for i, m in zip(answers.ids, answers.found, strict=True) if not m.area]
            self.lost.update(gone)
        answers.score[[i in self.lost for i in answers.ids]] = -5
        return answers

    def prompt(self, encoded, prompts, state=None, frame=None, *, reverse=False):
        self.lost -= set(prompts)
        return super().prompt(encoded, prompts, state, frame, reverse=reverse)


def gone_for_a_while(index):
    return still(index) if not 12 <= index < 25 else []


def test_a_detection_near_where_a_thing_was_lost_brings_it_back(studio):
    tracked = studio.track(studio.clip(35, gone_for_a_while), tracker=Forgetful())
    assert studio.story(tracked) == {1: "d" + 9 * "f" + "df" + 13 * "." + "bbbbb" + "dffff"}


@pytest.mark.parametrize(
    "other", [("red", 45, 5, 55, 15), ("red", 5, 5, 45, 35), ("blue", *RED_BOX)],
    ids=["far away", "much larger", "another class"],
)  # fmt: skip
def test_elsewhere_otherwise_it_is_another_thing(studio, other):
    def things(index):
        return [other] if index >= 25 else gone_for_a_while(index)

    tracked = studio.track(studio.clip(35, things), tracker=Forgetful(), fill_backwards=0)
    assert studio.story(tracked) == {
        1: "d" + 9 * "f" + "df" + 23 * ".",
        2: 30 * "." + "dffff",
    }


def test_only_the_tracker_brings_back_if_asked(studio):
    clip = studio.clip(35, gone_for_a_while)
    tracked = studio.track(clip, tracker=Forgetful(), reid_by="memory")
    assert studio.story(tracked)[2] == 25 * "." + 5 * "b" + "dffff"


def test_places_of_another_scene_bring_nothing_back(studio):
    frames = [
        VideoFrame(i, i / 10, studio.draw_image(i, gone_for_a_while(i), scene=int(i >= 25)))
        for i in range(35)
    ]
    tracked = studio.track(frames, tracker=Forgetful())
    assert list(studio.story(tracked)) == [1, 2]


@pytest.mark.parametrize("exclusive", ["class", "none"])
def test_nothing_comes_back_to_where_another_was_a_frame_before(studio, exclusive):
    """The tracker loses one of two for a frame, and takes the other, lost before, for it."""
    yellow_box = 40, 20, 50, 30
    said = {i: {"red": None} for i in range(3, 6)}
    said[6] = {"red": yellow_box, "yellow": None}
    clip = studio.clip(9, lambda index: [*still(index), ("yellow", *yellow_box)])
    tracker = studio.DriftingTracker(said)
    tracked = studio.track(clip, tracker=tracker, exclusive=exclusive, min_similarity=0)
    red, yellow = studio.boxes(tracked, 1), studio.boxes(tracked, 2)
    assert list(yellow) == [0, 1, 2, 3, 4, 5, 7, 8]
    if exclusive == "class":
        assert list(red) == [0, 1, 2, 7, 8]
    else:  # things may share pixels, and so places
        assert red[6] == yellow_box
