"""Re-identification of objects that were absent or lost."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fixtures.tracking import (
    BLUE,
    RED_BOX,
    SIZE_HW,
    ScriptedDetector,
    ScriptedTracker,
    detection,
    draw_image,
    make_clip,
    make_config,
    make_track,
    object_mask,
    origins,
    pending_frame,
    static_red,
    track_clip,
)

from grounded_sam2.geometry.rle import rectangle
from grounded_sam2.results import VideoFrame
from grounded_sam2.testing import FakeTracker
from grounded_sam2.tracking.reidentification import Reidentification, match_tracklets
from grounded_sam2.tracking.window import FrameWindow


def test_an_object_that_leaves_and_returns_keeps_its_track_id():
    tracked = track_clip(make_clip(40, lambda i: static_red(i) if not 12 <= i < 33 else []))
    assert origins(tracked) == {1: "d" + 9 * "f" + "df" + 21 * "." + "fffffff"}


def test_an_object_that_returns_after_max_gone_frames_is_another_track():
    objects = make_clip(40, lambda i: static_red(i) if not 12 <= i < 33 else [])
    tracked = track_clip(objects, max_age=20)
    assert origins(tracked) == {
        1: "d" + 9 * "f" + "df" + 28 * ".",
    }
    tracked = track_clip([*objects, *make_clip(45, static_red)[40:]], max_age=20)
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
            absent = [i for i, m in zip(masks.ids, masks.rles, strict=True) if not m.area]
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

    tracked = track_clip(make_clip(35, objects), tracker=Forgetful(), backward_frames=0)
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


class TestMatchTracklets:
    """Matching of detections with tracks by their masks on the frames before."""

    BOX = (10, 10, 20, 20)
    NEAR = (14, 10, 24, 20)

    def matched(self, detections, tracklets, tracks, before=(), *, visible=None, **options):
        """Object ids of tracks by object id of the detection. `tracklets` are boxes, and `before`
        the labels' boxes by identity, from the newest frame back."""
        values = options.pop("values", {})
        frames = [pending_frame(9 - i, boxes) for i, boxes in enumerate(before)][::-1]
        newest = len(frames) - 1
        found = match_tracklets(
            detections,
            {
                object_id: tuple((newest - i, object_mask(*box)) for i, box in enumerate(boxes))
                for object_id, boxes in tracklets.items()
            },
            tracks,
            visible or {},
            FrameWindow(9, 9, frames),
            make_config(**values),
            **options,
        )
        return {object_id: track.object_id for object_id, track in found.items()}

    def test_without_detections_or_tracks_nothing_is_matched(self):
        assert self.matched([], {}, [make_track(1)]) == {}
        assert self.matched([detection(*self.BOX)], {}, []) == {}

    def test_a_detection_continues_the_lost_track_that_its_tracklet_overlaps(self):
        found = [detection(*self.BOX, object_id=5)]
        before = [{1: self.BOX}, {1: self.BOX}]
        assert self.matched(found, {5: [self.BOX] * 2}, [make_track(1)], before) == {5: 1}

    def test_a_detection_without_a_tracklet_continues_no_lost_track(self):
        found = [detection(*self.BOX, object_id=5)]
        assert self.matched(found, {5: []}, [make_track(1)], [{1: self.BOX}]) == {}

    def test_a_track_that_left_the_image_before_these_frames_is_not_continued(self):
        found = [detection(*self.BOX, object_id=5)]
        assert self.matched(found, {5: [self.BOX]}, [make_track(1)], [{2: self.BOX}]) == {}

    @pytest.mark.parametrize(
        ("before", "is_one"),
        [
            ([BOX, (18, 10, 28, 20)], True),  # IoU 1 and 1 / 9
            ([(14, 10, 24, 20), (14, 10, 24, 20)], False),  # IoU 3 / 7 at most
            ([BOX, *[(40, 10, 50, 20)] * 4], True),  # IoU 1 / 5 in the mean
            ([BOX, *[(40, 10, 50, 20)] * 5], False),
        ],
        ids=["one frame in full", "never by half", "a fifth in the mean", "less in the mean"],
    )
    def test_the_masks_overlap_by_half_once_and_by_a_fifth_in_the_mean(self, before, is_one):
        found = [detection(*self.BOX, object_id=5)]
        labels = [{1: box} for box in before]
        matches = self.matched(found, {5: [self.BOX] * len(before)}, [make_track(1)], labels)
        assert matches == ({5: 1} if is_one else {})

    def test_of_two_lost_tracks_alike_the_one_with_more_overlap_is_continued(self):
        found = [detection(*self.BOX, object_id=5)]
        tracks, near = [make_track(1), make_track(2)], (12, 10, 22, 20)
        before = [{1: near, 2: self.BOX}, {1: near, 2: self.BOX}]
        assert self.matched(found, {5: [self.BOX] * 2}, tracks, before) == {5: 2}

    def test_two_detections_continue_two_tracks_with_the_highest_sum(self):
        """The first overlaps the second track most, but the other detection has only that one."""
        near = (12, 10, 22, 20)
        found = [detection(*self.BOX, object_id=5), detection(*near, object_id=6)]
        before = [{1: self.BOX, 2: near}]
        tracklets = {5: [near], 6: [(15, 10, 25, 20)]}
        tracks = [make_track(1), make_track(2)]
        assert self.matched(found, tracklets, tracks, before) == {5: 1, 6: 2}

    def test_a_track_of_another_class_or_other_colors_is_not_continued(self):
        found, before = [detection(*self.BOX, object_id=5)], [{1: self.BOX}]
        tracklets = {5: [self.BOX]}
        other_class = [make_track(1, name="box")]
        assert self.matched(found, tracklets, other_class, before) == {}
        merged = {"cleanup__across_classes": True}
        assert self.matched(found, tracklets, other_class, before, values=merged) == {5: 1}
        blue = [make_track(1, histogram=BLUE)]
        assert self.matched(found, tracklets, blue, before) == {}
        any_color = {"min_similarity": 0}
        assert self.matched(found, tracklets, blue, before, values=any_color) == {5: 1}

    def test_a_visible_track_is_continued_only_if_it_has_lost_its_object(self):
        found, before = [detection(*self.BOX, object_id=5)], [{1: self.BOX}] * 3

        def is_continued(*box, quality=0.9, **options) -> bool:
            visible = {1: object_mask(*box, quality=quality)}
            return bool(
                self.matched(
                    found,
                    {5: [self.BOX] * 3},
                    [make_track(1)],
                    before,
                    visible=visible,
                    **options,
                )
            )

        elsewhere = (40, 20, 50, 30)
        assert not is_continued(*elsewhere)
        assert is_continued(*elsewhere, quality=0.4), "of low quality"
        assert is_continued(40, 20, 42, 30), "a remnant of its mask"
        assert not is_continued(40, 20, 43, 30), "three tenths of its mask"
        assert is_continued(*elsewhere, fragments={1}), "a fragment"
        assert is_continued(*elsewhere, matched={7: 1}), "doubtful"

    def test_the_match_of_this_frame_counts_without_a_tracklet(self):
        found = [detection(*self.BOX, object_id=5)]
        visible = {1: object_mask(*self.NEAR)}
        tracks = [make_track(1)]
        assert self.matched(found, {}, tracks, visible=visible) == {}
        assert self.matched(found, {}, tracks, visible=visible, matched={5: 1}) == {5: 1}


def test_a_reidentification_allows_what_it_does_not_contradict():
    found = Reidentification({}, {5: make_track(1)})
    five, six = detection(0, 0, 9, 9, object_id=5), detection(0, 0, 9, 9, object_id=6)
    assert found.allows(five, 1)
    assert not found.allows(six, 1), "the track is another detection's"
    assert not found.allows(five, 2), "the detection is another track's"
    assert found.allows(six, 2)


def test_lost_objects_of_different_colors_are_different_tracks():
    """The tracklet of the second object overlaps all labels of the first."""

    class FixedBackward(FakeTracker):
        def propagate(self, encoded, state, frame, *, reverse=False):
            masks = super().propagate(encoded, state, frame, reverse=reverse)
            if not reverse:
                return masks
            return replace(masks, rles=tuple(rectangle(RED_BOX, SIZE_HW) for _ in masks.ids))

    def changing(index: int):
        return [("red" if index < 10 else "yellow", *RED_BOX)]

    tracked = track_clip(make_clip(12, changing), tracker=FixedBackward(), shot_threshold=1)
    assert origins(tracked)[1].startswith("dfffffffff.")
    assert origins(tracked)[2].endswith("df")
