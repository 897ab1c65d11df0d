"""Backward propagation: labels of a track on the frames before its detection."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fixtures.tracking import (
    RED_BOX,
    ForwardScriptedTracker,
    ScriptedDetector,
    ScriptedTracker,
    boxes_of,
    draw_image,
    make_clip,
    origins,
    static_red,
    track_clip,
)

from grounded_sam2.geometry import rle
from grounded_sam2.results import VideoFrame
from grounded_sam2.testing import FakeTracker


def test_a_corrected_track_is_relabeled_back_to_the_frame_where_its_mask_was_right():
    drift = {i: {"red": (5, 5, 40, 15)} for i in range(6, 11)}
    tracked = track_clip(make_clip(14, static_red), tracker=ForwardScriptedTracker(drift))
    assert boxes_of(tracked, 1) == dict.fromkeys(range(14), RED_BOX)
    assert origins(tracked) == {1: "dfffff" + "bbbb" + "dfff"}


def test_relabeling_reaches_back_no_farther_than_fill_backwards():
    drift = {i: {"red": (5, 5, 40, 15)} for i in range(2, 11)}
    tracked = track_clip(
        make_clip(14, static_red), tracker=ForwardScriptedTracker(drift), backward_frames=3
    )
    assert origins(tracked) == {1: "d" + 6 * "f" + "bbb" + "dfff"}
    assert boxes_of(tracked, 1)[6] == (5, 5, 40, 15)


def test_relabeling_stops_at_a_detected_label():
    drift = {i: {"red": (5, 5, 40, 15)} for i in range(5, 11)}
    script = {10: [("red thing", 0.4, RED_BOX)]}  # low confidence: corrects nothing
    drift |= {i: {"red": (5, 5, 22, 15)} for i in range(10, 21)}
    tracked = track_clip(
        make_clip(22, static_red),
        ScriptedDetector(script),
        ForwardScriptedTracker(drift),
        backward_frames=20,
    )
    assert origins(tracked) == {1: "d" + 9 * "f" + "d" + 9 * "b" + "df"}


def test_two_tracks_that_have_spilled_over_each_other_are_both_corrected():
    def objects(_):
        return [("red", *RED_BOX), ("yellow", 15, 5, 25, 15)]

    spilled = {
        i: {"red": (5, 5, 20, 15)} for i in range(3, 11)
    }  # the first keeps what both masks cover
    tracked = track_clip(make_clip(12, objects), tracker=ForwardScriptedTracker(spilled))
    assert boxes_of(tracked, 1) == dict.fromkeys(range(12), RED_BOX)
    assert boxes_of(tracked, 2) == dict.fromkeys(range(12), (15, 5, 25, 15))


@pytest.mark.parametrize(
    ("left", "kept"),
    [((50, 30, 52, 32), True), ((40, 20, 50, 30), False)],
    ids=["remnant", "whole"],
)
def test_an_object_whose_mask_has_shrunk_to_a_remnant_keeps_its_id(left, kept):
    drift = {i: {"red": left} for i in range(6, 11)}
    tracked = track_clip(
        make_clip(11, static_red), tracker=ForwardScriptedTracker(drift), min_similarity=0
    )
    if kept:
        assert origins(tracked) == {1: "dfffff" + "bbbb" + "d"}
        assert boxes_of(tracked, 1) == dict.fromkeys(range(11), RED_BOX)
    else:  # the mask may be of another ball that the detector has missed
        assert origins(tracked) == {1: "d" + 10 * "f", 2: "......" + "bbbb" + "d"}


def test_of_two_objects_in_one_mask_the_older_one_keeps_the_id():
    def objects(index):
        return [*static_red(index), *([("yellow", 25, 5, 40, 15)] if index >= 7 else [])]

    spilled = {
        i: {"red": (10, 5, 40, 15)} for i in range(7, 11)
    }  # half of it covers the yellow object
    tracked = track_clip(make_clip(13, objects), tracker=ForwardScriptedTracker(spilled))
    assert boxes_of(tracked, 1) == dict.fromkeys(range(13), RED_BOX)
    assert boxes_of(tracked, 2) == dict.fromkeys(range(7, 13), (25, 5, 40, 15))
    assert origins(tracked)[1] == "dffffff" + "bbb" + "dff"


class HalvingTracker(FakeTracker):
    """Tracks the upper half of an object as object 1, the lower half as object 2, forwards."""

    def propagate(self, encoded, state, frame, *, reverse=False):
        masks = super().propagate(encoded, state, frame, reverse=reverse)
        if reverse:
            return masks
        found = []
        for number, mask in zip(masks.ids, masks.rles, strict=True):
            half = mask.decode()
            half[15:] &= number != 1
            half[:15] &= number != 2
            found.append(rle.encode(half[None])[0])
        return replace(masks, rles=tuple(found))


def joined_at_five(index):
    """An object behind another one that leaves."""
    return [("red", 5, 5, 15, 25)] + ([("blue", 0, 10, 60, 20)] if index < 5 else [])


def test_two_tracks_that_turn_out_to_be_fragments_of_one_object_become_one():
    tracked = track_clip(make_clip(11, joined_at_five), tracker=HalvingTracker())
    story = origins(tracked)
    assert story[1] == "dffff" + "bbbbb" + "d"
    assert list(boxes_of(tracked, 1).values())[5:] == 6 * [(5, 5, 15, 25)]
    [other] = (
        i
        for i, boxes in ((i, boxes_of(tracked, i)) for i in story)
        if i != 1 and boxes[0] == (5, 20, 15, 25)
    )
    assert story[other] == "dffff" + 6 * "."


@pytest.mark.parametrize(("quality", "stays"), [(0.8, True), (0.4, False)])
def test_a_low_quality_track_that_covers_part_of_another_object_ends(quality, stays):
    """With a good mask it stays: it may be an object in front of the other."""

    class Intruding(FakeTracker):
        def propagate(self, encoded, state, frame, *, reverse=False):
            masks = super().propagate(encoded, state, frame, reverse=reverse)
            if reverse or frame < 15:
                return masks
            found, score, qualities = list(masks.rles), masks.score.copy(), masks.quality
            for row, number in enumerate(masks.ids):
                mask = np.zeros((40, 60), np.bool_)
                mask[5:15, 5 if number == 1 else 10 : 10 if number == 1 else 15] = True
                found[row] = rle.encode(mask[None])[0]
                score[row] = 5
                if number == 2:
                    qualities = np.where(np.arange(len(qualities)) == row, quality, qualities)
            return replace(masks, rles=tuple(found), score=score, quality=qualities)

    def objects(index):
        return [*static_red(index), *([("yellow", 40, 20, 50, 30)] if index < 15 else [])]

    tracked = track_clip(make_clip(21, objects), tracker=Intruding(), min_similarity=0)
    first = boxes_of(tracked, 1)
    assert [first[i] for i in (15, 20)] == 2 * [(5, 5, 10, 15) if stays else RED_BOX]
    assert (20 in boxes_of(tracked, 2)) is stays
    assert (15 in boxes_of(tracked, 2)) is stays


def test_two_tracks_with_enough_hits_stay_two():
    """A single box around two objects of a class does not merge them."""
    twice = [("red thing", 0.9, (5, 5, 15, 15)), ("red thing", 0.9, (5, 15, 15, 25))]
    script = {10: twice, 20: [("red thing", 0.9, (5, 5, 15, 25))]}
    tracked = track_clip(
        make_clip(23, joined_at_five), ScriptedDetector(script), tracker=HalvingTracker()
    )
    pieces = [i for i in origins(tracked) if 21 in boxes_of(tracked, i)]
    assert [boxes_of(tracked, i)[21] for i in pieces] == [(5, 5, 15, 15), (5, 15, 15, 25)]


def test_a_detection_whose_tracklet_hardly_overlaps_a_lost_track_is_another_object():
    """It overlaps the lost track by half, but on a single frame."""

    class Losing(ForwardScriptedTracker):
        def propagate(self, encoded, state, frame, *, reverse=False):
            masks = super().propagate(encoded, state, frame, reverse=reverse)
            if not reverse and frame >= 9:
                masks.score[[i == 1 for i in masks.ids]] = -5
            return masks

    drift = {i: {"red": (40, 20, 50, 30)} for i in range(1, 10)}
    tracked = track_clip(
        make_clip(13, static_red), tracker=Losing(drift), reid_by="memory", min_similarity=0
    )
    assert origins(tracked) == {1: "d" + 8 * "f" + "....", 2: "." + 9 * "b" + "dff"}
    assert np.array_equal(boxes_of(tracked, 2)[1], RED_BOX)


class BoxTracker(FakeTracker):
    """Returns the whole prompt box as the mask."""

    def prompt(self, encoded, prompts, state=None, frame=None, *, reverse=False):
        masks = super().prompt(encoded, prompts, state, frame, reverse=reverse)
        boxes = [tuple(int(side) for side in each.box_xyxy) for each in prompts.values()]
        return replace(masks, rles=tuple(rle.rectangle(box, (40, 60)) for box in boxes))


@pytest.mark.parametrize(
    ("part", "is_object"),
    [((3, 5, 10, 15), False), ((15, 5, 25, 15), True)],
    ids=["inside a track", "beside it"],
)
def test_no_track_starts_inside_another_one(part, is_object):
    def objects(index):
        return [*static_red(index), *([("yellow", *part)] if is_object and index >= 10 else [])]

    script = {10: [("red thing", 0.9, RED_BOX), ("yellow thing", 0.8, part)]}
    clip = make_clip(12, objects)
    tracked = track_clip(clip, ScriptedDetector(script), BoxTracker())
    assert (2 in origins(tracked)) is is_object
    assert boxes_of(tracked, 1)[10] == RED_BOX
    live = track_clip(clip, ScriptedDetector(script), BoxTracker(), backward_frames=0)
    assert 2 in origins(live), "without backward propagation nothing tells them apart"


@pytest.mark.parametrize(
    ("before", "min_similarity", "is_object"),
    [((4, 5, 9, 15), 0.5, False), ((0, 20, 7, 30), 0.5, True), ((4, 5, 9, 15), 0, True)],
    ids=["inside on all frames", "from elsewhere", "no colors are compared"],
)
def test_a_detection_whose_tracklet_stays_inside_a_track_starts_none(
    before, min_similarity, is_object
):
    part = (3, 5, 10, 15)

    class ScriptedBackward(BoxTracker):
        def propagate(self, encoded, state, frame, *, reverse=False):
            masks = super().propagate(encoded, state, frame, reverse=reverse)
            if not reverse:
                return masks
            if frame < 7:
                return masks.mark_absent(masks.ids)
            return replace(masks, rles=tuple(rle.rectangle(before, (40, 60)) for _ in masks.ids))

    script = {10: [("red thing", 0.9, RED_BOX), ("red thing", 0.8, part)]}
    clip = make_clip(12, static_red)
    tracked = track_clip(
        clip, ScriptedDetector(script), ScriptedBackward(), min_similarity=min_similarity
    )
    assert (2 in origins(tracked)) is is_object
    assert list(boxes_of(tracked, 1)) == list(range(12))


@pytest.mark.parametrize("entering", [1, 5, 9, 10, 11, 19])
def test_an_object_is_labeled_from_the_frame_on_which_it_enters(entering):
    def objects(index):
        late = [("blue", 30, 20, 40, 30)] if index >= entering else []
        return [*static_red(index), *late]

    tracked = track_clip(make_clip(30, objects))
    assert list(boxes_of(tracked, 2)) == list(range(entering, 30))
    found = -(-entering // 10) * 10
    assert origins(tracked)[2][:found].strip(".") == "b" * (found - entering)
    first = tracked[entering].labels.objects[1]
    assert (first.class_name, first.caption, first.confidence) == ("box", "blue thing", 0.9)


def test_a_new_track_is_labeled_back_as_far_as_fill_backwards():
    def objects(index):
        return [("red", *RED_BOX)]

    script = {0: [], 10: []}
    filled = {
        frames: origins(
            track_clip(make_clip(25, objects), ScriptedDetector(script), backward_frames=frames)
        )[1]
        for frames in (0, 3, 15, 100)
    }
    assert filled[0] == "." * 20 + "dffff"
    assert filled[3] == "." * 17 + "bbbdffff"
    assert filled[15] == "." * 5 + "b" * 15 + "dffff"
    assert filled[100] == "b" * 20 + "dffff"


def test_a_visible_object_that_the_tracker_lost_is_labeled_back_to_where_it_was_lost():
    lost = {i: {"red": None} for i in range(6, 40)}

    class Losing(ScriptedTracker):
        def propagate(self, encoded, state, frame, *, reverse=False):
            if reverse or 1 not in state.ids:
                return FakeTracker.propagate(self, encoded, state, frame, reverse=reverse)
            return super().propagate(encoded, state, frame)

    clip = make_clip(25, static_red)
    tracked = track_clip(clip, tracker=Losing(lost), reid_by="memory")
    assert origins(tracked) == {1: "dfffff" + "bbbb" + "dfffffffffdffff"}


def test_a_detection_of_another_class_on_a_track_becomes_a_track_unless_classes_are_merged():
    """Both classes were requested."""
    script = {10: [("red thing", 0.9, RED_BOX), ("blue thing", 0.9, RED_BOX)]}
    tracked = track_clip(make_clip(12, static_red), ScriptedDetector(script))
    assert origins(tracked) == {1: "dfffffffffdf", 2: "bbbbbbbbbbdf"}
    tracked = track_clip(
        make_clip(12, static_red), ScriptedDetector(script), cleanup__across_classes=True
    )
    assert origins(tracked) == {1: "dfffffffffdf"}


def test_backward_propagation_stops_at_a_cut():
    frames = [
        VideoFrame(i, i / 10, draw_image(i, static_red(i), scene=int(i >= 4))) for i in range(15)
    ]
    script = {0: [], 4: []}
    tracked = track_clip(frames, ScriptedDetector(script), backward_frames=20)
    assert origins(tracked) == {1: 4 * "." + 10 * "b" + "d"}
