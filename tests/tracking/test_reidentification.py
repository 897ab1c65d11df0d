"""Re-identification of objects that were absent or lost."""

from __future__ import annotations

import pytest
from fixtures.tracking import (
    RED_BOX,
    ScriptedDetector,
    ScriptedTracker,
    draw_image,
    make_clip,
    origins,
    static_red,
    track_clip,
)

from grounded_sam2.results import VideoFrame
from grounded_sam2.testing import FakeTracker


def test_an_object_that_leaves_and_returns_keeps_its_track_id():
    tracked = track_clip(make_clip(40, lambda i: static_red(i) if not 12 <= i < 33 else []))
    assert origins(tracked) == {1: "d" + 9 * "f" + "df" + 21 * "." + "fffffff"}


def test_an_object_that_returns_after_max_gone_frames_is_another_track():
    objects = make_clip(40, lambda i: static_red(i) if not 12 <= i < 33 else [])
    tracked = track_clip(objects, max_gone=20)
    assert origins(tracked) == {
        1: "d" + 9 * "f" + "df" + 28 * ".",
    }
    tracked = track_clip([*objects, *make_clip(45, static_red)[40:]], max_gone=20)
    assert origins(tracked)[2] == 33 * "." + 7 * "b" + "dffff"


def test_an_occluded_object_is_absent_and_returns_under_its_track_id():
    def objects(index):
        return [("red", 5 + index, 10, 15 + index, 20), ("blue", 22, 5, 40, 30)]

    tracked = track_clip(make_clip(50, objects))
    red, blue = origins(tracked).values()
    assert blue.count(".") == 0
    hidden = [i for i, letter in enumerate(red) if letter == "."]
    assert hidden == list(range(16, 27))  # clean-up removes a visible part of one column


def test_an_object_may_return_under_a_class_of_higher_confidence():
    """It was classified as something else as it entered."""
    script = {
        0: [("blue thing", 0.6, RED_BOX)],
        10: [("red thing", 0.9, RED_BOX)],
    }
    tracked = track_clip(
        make_clip(14, lambda index: static_red(index) if index not in range(4, 10) else []),
        ScriptedDetector(script),
        ScriptedTracker({i: {"red": None} for i in range(4, 11)}),
        cleanup__across_classes=True,
    )
    found = [[(o.track_id, o.class_name) for o in frame.labels.objects] for frame in tracked]
    assert found[0] == [(1, "ball")], "the frame was still pending"
    assert found[10] == found[13] == [(1, "ball")]


class Forgetful(FakeTracker):
    """Never finds an object again once it was absent, unless it is prompted with it."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = set()

    def propagate(self, encoded, state, frame, *, reverse=False):
        masks = super().propagate(encoded, state, frame, reverse=reverse)
        if not reverse:
            absent = [i for i, m in zip(masks.ids, masks.found, strict=True) if not m.area]
            self.lost.update(absent)
        masks.score[[i in self.lost for i in masks.ids]] = -5
        return masks

    def prompt(self, encoded, prompts, state=None, frame=None, *, reverse=False):
        self.lost -= set(prompts)
        return super().prompt(encoded, prompts, state, frame, reverse=reverse)


def absent_for_a_while(index):
    return static_red(index) if not 12 <= index < 25 else []


def test_a_detection_near_a_lost_track_brings_it_back():
    tracked = track_clip(make_clip(35, absent_for_a_while), tracker=Forgetful())
    assert origins(tracked) == {1: "d" + 9 * "f" + "df" + 13 * "." + "bbbbb" + "dffff"}


@pytest.mark.parametrize(
    "other", [("red", 45, 5, 55, 15), ("red", 5, 5, 45, 35), ("blue", *RED_BOX)],
    ids=["far away", "much larger", "another class"],
)  # fmt: skip
def test_a_detection_elsewhere_or_unlike_it_is_another_track(other):
    def objects(index):
        return [other] if index >= 25 else absent_for_a_while(index)

    tracked = track_clip(make_clip(35, objects), tracker=Forgetful(), fill_backwards=0)
    assert origins(tracked) == {
        1: "d" + 9 * "f" + "df" + 23 * ".",
        2: 30 * "." + "dffff",
    }


def test_with_reid_by_memory_only_the_tracker_brings_a_track_back():
    clip = make_clip(35, absent_for_a_while)
    tracked = track_clip(clip, tracker=Forgetful(), reid_by="memory")
    assert origins(tracked)[2] == 25 * "." + 5 * "b" + "dffff"


def test_a_position_in_another_scene_brings_no_track_back():
    frames = [
        VideoFrame(i, i / 10, draw_image(i, absent_for_a_while(i), scene=int(i >= 25)))
        for i in range(35)
    ]
    tracked = track_clip(frames, tracker=Forgetful())
    assert list(origins(tracked)) == [1, 2]
