"""Propagated masks: overlaps between tracks, and masks of other objects."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fixtures.tracking import (
    ONTOLOGY,
    RED_BOX,
    SIZE_HW,
    ScriptedDetector,
    ScriptedTracker,
    boxes_of,
    color_histogram,
    draw_image,
    frame_masks,
    make_clip,
    make_config,
    make_track,
    origins,
    static_red,
    track_clip,
)

from grounded_sam2.geometry.rle import rectangle
from grounded_sam2.testing import FakeTracker
from grounded_sam2.tracking.detections import FrameContext
from grounded_sam2.tracking.propagated_masks import (
    PropagatedMasks,
    exclusion_group,
    owner_by_color,
    resolve_overlaps,
)

RED, YELLOW = color_histogram(255, 0, 0), color_histogram(255, 255, 0)
YELLOW_BOX = (15, 5, 25, 15)
BOTH = [("red", *RED_BOX), ("yellow", *YELLOW_BOX)]


def frame(objects=BOTH, *, previous=None, **values) -> FrameContext:
    image, tracker = draw_image(9, objects), FakeTracker()
    features, config = tracker.encode(image), make_config(**values)
    previous = {identity: rectangle(box, SIZE_HW) for identity, box in (previous or {}).items()}
    return FrameContext(
        image, features, 9, False, previous, ScriptedDetector(), tracker, ONTOLOGY, config
    )


def visible_boxes(propagated: PropagatedMasks) -> dict[int, tuple[float, ...]]:
    return {object_id: found.box_xyxy for object_id, found in propagated.visible.items()}


RED_TRACK = make_track(1, last_box=RED_BOX, histogram=RED)
YELLOW_TRACK = make_track(2, last_box=YELLOW_BOX, histogram=YELLOW)


class TestPropagatedMasks:
    def test_without_tracks_nothing_is_visible(self):
        propagated = PropagatedMasks.from_tracker(frame_masks({}), (), frame())
        assert propagated.visible == propagated.raw_visible == {}

    def test_a_mask_with_the_colors_of_another_object_is_absent(self):
        raw = frame_masks({1: YELLOW_BOX})
        assert PropagatedMasks.from_tracker(raw, (RED_TRACK,), frame()).visible == {}
        any_color = PropagatedMasks.from_tracker(raw, (RED_TRACK,), frame(min_similarity=0))
        assert visible_boxes(any_color) == {1: YELLOW_BOX}

    def test_raw_masks_keep_the_overlap_that_is_resolved(self):
        raw = frame_masks({1: (5, 5, 20, 15), 2: YELLOW_BOX})
        propagated = PropagatedMasks.from_tracker(raw, (RED_TRACK, YELLOW_TRACK), frame())
        assert visible_boxes(propagated) == {1: RED_BOX, 2: YELLOW_BOX}
        assert propagated.raw_visible[1].box_xyxy == (5, 5, 20, 15)

    @pytest.mark.parametrize(
        ("absent", "previous", "is_visible"),
        [
            (True, {2: YELLOW_BOX}, False),
            (True, {2: (40, 5, 50, 15)}, True),
            (True, {}, True),
            (False, {2: YELLOW_BOX}, True),
        ],
        ids=["onto another", "beside another", "nothing was there", "it was never absent"],
    )
    def test_a_track_does_not_return_where_another_was_one_frame_ago(
        self, absent, previous, is_visible
    ):
        first = make_track(1, last_box=RED_BOX, histogram=YELLOW)
        first = first.after_frame(None) if absent else first
        tracks = (first, YELLOW_TRACK)
        propagated = PropagatedMasks.from_tracker(
            frame_masks({1: YELLOW_BOX, 2: (0, 0, 0, 0)}), tracks, frame(previous=previous)
        )
        assert (1 in propagated.visible) is is_visible


class TestResolveOverlaps:
    def boxes(self, boxes, tracks, context, **options) -> list[tuple[float, ...]]:
        resolved = resolve_overlaps(frame_masks(boxes), tracks, context, **options)
        return [mask.bbox_xyxy for mask in resolved.to_rles()]

    def test_masks_without_an_overlap_are_returned_as_they_are(self):
        raw = frame_masks({1: RED_BOX, 2: YELLOW_BOX})
        assert resolve_overlaps(raw, [RED_TRACK, YELLOW_TRACK], frame()) is raw

    def test_an_overlap_goes_to_the_track_whose_colors_it_has(self):
        tracks, overlapping = [RED_TRACK, YELLOW_TRACK], {1: (5, 5, 20, 15), 2: YELLOW_BOX}
        assert self.boxes(overlapping, tracks, frame()) == [RED_BOX, YELLOW_BOX]
        by_order = self.boxes(overlapping, tracks, frame(min_similarity=0))
        assert by_order == [(5, 5, 20, 15), (20, 5, 25, 15)], "the fake prefers the first"

    def test_a_track_that_was_absent_yields_unless_it_is_detected(self):
        absent = RED_TRACK.after_frame(None)
        tracks, overlapping = [absent, YELLOW_TRACK], {1: (5, 5, 20, 15), 2: YELLOW_BOX}
        context = frame(min_similarity=0)
        assert self.boxes(overlapping, tracks, context) == [RED_BOX, YELLOW_BOX]
        detected = self.boxes(overlapping, tracks, context, detected=[1])
        assert detected == [(5, 5, 20, 15), (20, 5, 25, 15)]

    def test_tracks_of_different_groups_may_overlap(self):
        other = make_track(2, last_box=YELLOW_BOX, name="box", histogram=YELLOW)
        overlapping = {1: (5, 5, 20, 15), 2: YELLOW_BOX}
        assert self.boxes(overlapping, [RED_TRACK, other], frame()) == list(overlapping.values())


def test_exclusion_groups_are_objects_classes_or_all():
    ball, box = make_track(1), make_track(2, name="box")
    for exclusive, same_class, all_classes in [
        ("none", False, False),
        ("class", True, False),
        ("all", True, True),
    ]:
        config = make_config(exclusive=exclusive)
        group = exclusion_group(ball, config)
        assert (group == exclusion_group(make_track(3), config)) is same_class
        assert (group == exclusion_group(box, config)) is all_classes


def test_the_owner_of_a_region_clearly_has_its_colors():
    def owner(region, a=RED_TRACK, b=YELLOW_TRACK, **values):
        return owner_by_color(rectangle(region, SIZE_HW), a, b, frame(**values))

    assert owner(RED_BOX) is RED_TRACK
    assert owner(YELLOW_BOX) is YELLOW_TRACK
    assert owner(RED_BOX, b=make_track(2, histogram=RED)) is None, "both have them"
    assert owner((5, 5, 9, 9)) is None, "too few pixels"
    assert owner(RED_BOX, min_similarity=0) is None, "no colors are compared"


def test_two_tracked_neighbors_keep_their_masks_apart_by_color():
    spilled = {i: {"red": (5, 5, 20, 15)} for i in range(3, 9)}
    tracked = track_clip(make_clip(9, lambda _: BOTH), tracker=ScriptedTracker(spilled))
    assert boxes_of(tracked, 1) == dict.fromkeys(range(9), RED_BOX)
    assert boxes_of(tracked, 2) == dict.fromkeys(range(9), YELLOW_BOX)


def red_leaves(index: int):
    return [("yellow", 40, 20, 50, 30), *(static_red(index) if index < 4 else [])]


def test_a_track_that_jumps_to_another_object_is_absent():
    """The mask of the object that has left jumps to the one that stays, which has none."""
    jumped = {i: {"red": (40, 20, 50, 30), "yellow": None} for i in range(4, 9)}
    clip = make_clip(9, red_leaves)
    tracked = track_clip(clip, tracker=ScriptedTracker(jumped))
    assert list(boxes_of(tracked, 1)) == [0, 1, 2, 3]
    any_color = track_clip(clip, tracker=ScriptedTracker(jumped), min_similarity=0)
    assert boxes_of(any_color, 1)[6] == (40, 20, 50, 30)


def test_a_track_that_creeps_off_its_object_is_absent_until_it_is_detected():
    """Its mask overlaps that of the frame before on every frame."""
    crept = {i: {"red": (5 + 2 * i, 5, 15 + 2 * i, 15)} for i in range(1, 11)}
    clip = make_clip(12, static_red)
    tracked = track_clip(clip, tracker=ScriptedTracker(crept), backward_frames=0)
    assert origins(tracked) == {1: "dffff.....df"}, "a fifth of it is not enough"
    assert boxes_of(tracked, 1)[10] == RED_BOX
    any_color = track_clip(clip, tracker=ScriptedTracker(crept), min_similarity=0)
    assert boxes_of(any_color, 1)[10] == (25, 5, 35, 15)


@pytest.mark.parametrize("exclusive", ["class", "none"])
def test_a_lost_track_does_not_return_onto_another_that_is_missing_for_one_frame(exclusive):
    yellow_box = 40, 20, 50, 30
    script = {i: {"red": None} for i in range(3, 6)}
    script[6] = {"red": yellow_box, "yellow": None}
    clip = make_clip(9, lambda index: [*static_red(index), ("yellow", *yellow_box)])
    tracker = ScriptedTracker(script)
    tracked = track_clip(clip, tracker=tracker, exclusive=exclusive, min_similarity=0)
    red, yellow = boxes_of(tracked, 1), boxes_of(tracked, 2)
    assert list(yellow) == [0, 1, 2, 3, 4, 5, 7, 8]
    if exclusive == "class":
        assert list(red) == [0, 1, 2, 7, 8]
    else:  # objects may share pixels, and so positions
        assert red[6] == yellow_box


def test_the_histogram_is_that_of_the_tracked_mask_and_not_of_all_that_the_box_covered():
    """The mask of the second box covers the first object too, until overlaps are resolved."""
    blue_box = 45, 5, 55, 15

    class Greedy(FakeTracker):
        def prompt(self, encoded, prompts, state=None, frame=None, *, reverse=False):
            masks = super().prompt(encoded, prompts, state, frame, reverse=reverse)
            both = rectangle((5, 5, 55, 15), SIZE_HW)
            return replace(
                masks, rles=tuple(both if mask.area == 100 else mask for mask in masks.rles)
            )

    clip = make_clip(4, lambda _: [("red", 5, 5, 45, 15), ("blue", *blue_box)])
    tracked = track_clip(clip, tracker=Greedy(), exclusive="all", min_similarity=0.8)
    assert boxes_of(tracked, 2) == dict.fromkeys(range(4), blue_box)
