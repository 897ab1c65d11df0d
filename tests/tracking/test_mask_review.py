"""Review of propagated masks: doubtful masks, expected masks and fragments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from fixtures.tracking import (
    BLUE,
    ONTOLOGY,
    RED,
    RED_BOX,
    ScriptedDetector,
    color_histogram,
    detection,
    draw_image,
    frame_masks,
    make_config,
    make_track,
)

from grounded_sam2.testing import FakeTracker
from grounded_sam2.tracking.detections import Detection, FrameContext
from grounded_sam2.tracking.mask_review import MaskReview, review_masks
from grounded_sam2.tracking.matching import Matches
from grounded_sam2.tracking.propagated_masks import PropagatedMasks
from grounded_sam2.tracking.tracks import Track

Box = tuple[int, int, int, int]
MATCHED = Matches(matched={0: 1})


def reviewed(
    detections: Sequence[Detection],
    matches: Matches,
    tracks: Mapping[Track, Box | None],
    *,
    quality: Mapping[int, float] | None = None,
    objects=(),
    **values: object,
) -> MaskReview:
    """Review tracks that are visible at boxes, or absent, on an image of colored objects."""
    image, tracker = draw_image(9, objects), FakeTracker()
    context = FrameContext(
        image,
        tracker.encode(image),
        9,
        False,
        {},
        ScriptedDetector(),
        tracker,
        ONTOLOGY,
        make_config(**values),
    )
    masks = frame_masks({t.object_id: box for t, box in tracks.items() if box is not None})
    masks.quality[:] = [(quality or {}).get(object_id, 0.9) for object_id in masks.ids]
    propagated = PropagatedMasks(tuple(tracks), masks, masks)
    return review_masks(propagated, detections, matches, context)


def test_without_detections_and_tracks_nothing_is_doubtful():
    assert reviewed([], Matches(), {}) == MaskReview({}, {}, frozenset())
    unmatched = reviewed([detection(*RED_BOX)], Matches(unmatched=(0,)), {})
    assert unmatched == MaskReview({}, {}, frozenset())


class TestDoubtful:
    def is_doubtful(self, box: Box = RED_BOX, matches=MATCHED, **options) -> bool:
        found = detection(
            *RED_BOX,
            confidence=options.pop("confidence", 0.9),
            histogram=options.pop("histogram", RED),
        )
        doubtful = reviewed([found], matches, {make_track(1): box}, **options).doubtful
        assert doubtful in ({}, {0: 1})
        return bool(doubtful)

    @pytest.mark.parametrize(
        ("box", "is_doubtful"), [((5, 5, 15, 13), False), ((5, 5, 15, 12), True)]
    )
    def test_a_mask_is_doubtful_below_three_quarters_of_overlap(self, box, is_doubtful):
        assert self.is_doubtful(box) is is_doubtful
        assert self.is_doubtful(box, Matches(drifted={0: 1})) is is_doubtful

    def test_a_low_confidence_detection_makes_no_mask_doubtful(self):
        assert not self.is_doubtful((5, 5, 15, 9), confidence=0.49)
        assert self.is_doubtful((5, 5, 15, 9), confidence=0.5)
        assert self.is_doubtful((5, 5, 15, 9), confidence=None)

    def test_a_mask_of_low_quality_is_doubtful(self):
        assert self.is_doubtful(quality={1: 0.49})
        assert not self.is_doubtful(quality={1: 0.5})

    def test_a_detection_of_other_colors_makes_a_mask_doubtful(self):
        assert self.is_doubtful(histogram=BLUE)
        assert not self.is_doubtful(histogram=BLUE, min_similarity=0)

    def test_a_duplicate_makes_no_mask_doubtful(self):
        assert not self.is_doubtful((5, 5, 15, 9), Matches(duplicates={0: 1}))


class TestExpectedMasks:
    def expected(self, detections, matches, tracks, **options) -> dict[int, tuple[float, ...]]:
        masks = reviewed(detections, matches, tracks, **options).expected_masks
        return {object_id: mask.bbox_xyxy for object_id, mask in masks.items()}

    def test_the_expected_mask_is_that_of_the_detection(self):
        tracks = {make_track(1): (5, 5, 12, 15), make_track(2): None}
        found = [detection(*RED_BOX), detection(30, 5, 40, 15)]
        matches = Matches(matched={0: 1}, returned={1: 2})
        assert self.expected(found, matches, tracks) == {1: RED_BOX, 2: (30, 5, 40, 15)}

    def test_it_leaves_out_what_a_track_of_the_class_agrees_on_with_its_own_detection(self):
        found = [detection(5, 5, 25, 15), detection(15, 5, 25, 15)]
        matches = Matches(matched={0: 1, 1: 2})
        tracks = {make_track(1): RED_BOX, make_track(2): (15, 5, 25, 15)}
        assert self.expected(found, matches, tracks)[1] == RED_BOX
        tracks = {make_track(1): RED_BOX, make_track(2, name="box"): (15, 5, 25, 15)}
        assert self.expected(found, matches, tracks)[1] == (5, 5, 25, 15)
        assert self.expected(found, matches, tracks, exclusive="all")[1] == RED_BOX

    @pytest.mark.parametrize(
        ("color", "expected"),
        [("yellow", RED_BOX), ("red", (5, 5, 25, 15))],
        ids=["of its own colors", "of the detected track's colors"],
    )
    def test_it_leaves_out_an_undetected_track_inside_unless_it_has_the_same_colors(
        self, color, expected
    ):
        red, yellow = color_histogram(255, 0, 0), color_histogram(255, 255, 0)
        tracks = {
            make_track(1, histogram=red): RED_BOX,
            make_track(2, histogram=yellow): (15, 5, 25, 15),
        }
        objects = [("red", *RED_BOX), (color, 15, 5, 25, 15)]
        found = [detection(5, 5, 25, 15, histogram=red)]
        assert self.expected(found, MATCHED, tracks, objects=objects)[1] == expected


class TestFragments:
    def fragments(self, track: Track, box: Box | None, matches=MATCHED, **options) -> set[int]:
        found = [detection(*RED_BOX), detection(*RED_BOX, name="box")]
        tracks = {make_track(1): RED_BOX, track: box}
        return set(reviewed(found, matches, tracks, **options).fragments)

    def test_an_undetected_tentative_track_inside_a_detection_may_be_a_fragment(self):
        assert self.fragments(make_track(2, hits=1), (5, 5, 10, 15)) == {2}
        assert self.fragments(make_track(2, hits=2), (5, 5, 10, 15)) == set()

    def test_so_may_a_track_of_low_mask_quality(self):
        track = make_track(2, hits=2)
        assert self.fragments(track, (5, 5, 10, 15), quality={2: 0.49}) == {2}
        assert self.fragments(track, (5, 5, 10, 15), quality={2: 0.5}) == set()

    def test_a_track_outside_or_absent_or_detected_is_none(self):
        track = make_track(2, hits=1)
        assert self.fragments(track, (12, 5, 25, 15)) == set()
        assert self.fragments(track, None) == set()
        matches = Matches(matched={0: 1}, duplicates={1: 2})
        assert self.fragments(track, (5, 5, 10, 15), matches) == set()
