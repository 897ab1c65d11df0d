"""Association of the detections of a frame with tracks: matched, doubtful, returned, part, new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from fixtures.tracking import (
    BLUE,
    ONTOLOGY,
    SIZE_HW,
    ScriptedDetector,
    detection,
    draw_image,
    frame_masks,
    make_config,
    make_track,
    object_mask,
    pending_frame,
)

from grounded_sam2.geometry.rle import rectangle
from grounded_sam2.testing import FakeTracker
from grounded_sam2.tracking.association import Association, associate
from grounded_sam2.tracking.detections import Detection, FrameContext
from grounded_sam2.tracking.mask_review import MaskReview
from grounded_sam2.tracking.matching import Matches
from grounded_sam2.tracking.propagated_masks import PropagatedMasks
from grounded_sam2.tracking.reidentification import Reidentification
from grounded_sam2.tracking.tracks import Track
from grounded_sam2.tracking.window import FrameWindow, PendingFrame

Box = tuple[int, int, int, int]
WHOLE: Box = (10, 10, 30, 30)
PART: Box = (12, 12, 20, 20)
BESIDE: Box = (40, 10, 55, 30)
NOTHING = Reidentification({}, {})


class BoxTracker(FakeTracker):
    """Returns the prompt box, shifted to the right, as the mask."""

    def __init__(self, shift: int = 0) -> None:
        super().__init__()
        self.shift = shift
        self.prompted: list[tuple[int, ...]] = []

    def prompt(self, encoded, prompts, state=None, frame=None, *, reverse=False):
        self.prompted.append(tuple(prompts))
        masks = super().prompt(encoded, prompts, state, frame, reverse=reverse)
        boxes = [each.box_xyxy.astype(int).tolist() for each in prompts.values()]
        found = tuple(
            rectangle((left + self.shift, top, right + self.shift, bottom), SIZE_HW)
            for left, top, right, bottom in boxes
        )
        return replace(masks, rles=found, score=np.full(len(found), 5, np.float32))


def associated(
    detections: Sequence[Detection],
    matches: Matches,
    tracks: Mapping[Track, Box | None] | None = None,
    *,
    doubtful: Mapping[int, int] | None = None,
    expected: Mapping[int, Box] | None = None,
    reidentification: Reidentification = NOTHING,
    window: Sequence[PendingFrame] = (),
    tracker: FakeTracker | None = None,
    **values: object,
) -> Association:
    """Associate detections with tracks that are visible at boxes, or absent."""
    tracks = tracks or {}
    tracker, image = tracker or BoxTracker(), draw_image(9, [])
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
    expected_masks = {i: rectangle(box, SIZE_HW) for i, box in (expected or {}).items()}
    return associate(
        detections,
        matches,
        MaskReview(doubtful or {}, expected_masks, frozenset()),
        reidentification,
        PropagatedMasks(tuple(tracks), masks, masks),
        tracker.empty_state(),
        FrameWindow(9, 9, window),
        context,
    )


def test_without_detections_and_tracks_there_is_nothing_to_associate():
    result = associated([], Matches())
    assert (result.detected, result.duplicates, result.corrected) == ({}, {}, {})
    assert (result.prompted_masks, result.new, result.reidentified) == (None, [], {})


def test_a_matched_detection_continues_its_track_without_a_prompt():
    tracker, found = BoxTracker(), detection(*WHOLE)
    result = associated([found], Matches(matched={0: 1}), {make_track(1): WHOLE}, tracker=tracker)
    assert result.detected == {1: found}
    assert (result.new, result.corrected, tracker.prompted) == ([], {}, [])


def test_an_unmatched_detection_starts_a_track():
    found = detection(*BESIDE)
    result = associated([found], Matches(unmatched=(0,)), {make_track(1): WHOLE})
    assert (result.new, result.detected) == ([found], {})


def test_a_duplicate_detection_is_none_of_its_own():
    found, again = detection(*WHOLE), detection(*WHOLE, name="box")
    result = associated(
        [found, again], Matches(matched={0: 1}, duplicates={1: 1}), {make_track(1): WHOLE}
    )
    assert result.detected == {1: found}
    assert (result.duplicates, result.new) == ({1: again}, [])


class TestDoubtfulMasks:
    SPILLED: Box = (10, 10, 50, 30)

    def result(self, matches: Matches, **options: object) -> Association:
        return associated(
            [detection(*WHOLE)],
            matches,
            {make_track(1): self.SPILLED},
            doubtful={0: 1},
            expected={1: WHOLE},
            **options,
        )

    def test_a_doubtful_mask_is_corrected_by_the_box_if_that_agrees_better(self):
        result = self.result(Matches(matched={0: 1}))
        assert result.corrected[1].box_xyxy == WHOLE
        assert list(result.detected) == [1]
        assert result.prompted_masks.ids == (1,)

    def test_a_matched_track_keeps_its_mask_if_the_box_gives_a_worse_one(self):
        result = self.result(Matches(matched={0: 1}), tracker=BoxTracker(shift=20))
        assert (result.corrected, list(result.detected), result.new) == ({}, [1], [])

    def test_a_drifted_track_that_the_box_cannot_correct_is_not_detected(self):
        drifted = Matches(drifted={0: 1})
        assert list(self.result(drifted).detected) == [1]
        result = self.result(drifted, tracker=BoxTracker(shift=20))
        assert (result.detected, list(result.duplicates), result.new) == ({}, [1], [])

    @pytest.mark.parametrize("matches", [Matches(matched={0: 1}), Matches(drifted={0: 1})], ids=str)
    def test_a_detection_that_was_reidentified_as_another_track_starts_one(self, matches):
        tracker, other = BoxTracker(), make_track(2)
        result = self.result(
            matches, reidentification=Reidentification({99: ()}, {99: other}), tracker=tracker
        )
        assert ([each.object_id for each in result.new], result.detected) == ([99], {})
        assert result.reidentified == {99: other}
        assert tracker.prompted == []

    def test_a_track_that_another_detection_continues_is_not_this_one(self):
        reidentification = Reidentification({}, {7: make_track(1)})
        result = self.result(Matches(matched={0: 1}), reidentification=reidentification)
        assert (len(result.new), result.detected, result.reidentified) == (1, {}, {})


class TestReturnedTracks:
    def result(self, shift: int, **options: object) -> Association:
        lost = make_track(1, last_box=WHOLE).after_frame(None)
        return associated(
            [detection(*WHOLE)],
            Matches(returned={0: 1}),
            {lost: None},
            expected={1: WHOLE},
            tracker=BoxTracker(shift=shift),
            **options,
        )

    def test_a_returned_track_is_detected_if_its_box_prompt_gives_the_same_mask(self):
        result = self.result(shift=6)  # IoU 14 / 26
        assert (list(result.detected), list(result.corrected), result.new) == ([1], [1], [])

    def test_otherwise_the_detection_starts_a_track(self):
        result = self.result(shift=7)  # IoU 13 / 27
        assert (result.detected, result.corrected, len(result.new)) == ({}, {}, 1)


class TestPartsOfTracks:
    """A detection inside a detected track of its class."""

    def starts(
        self,
        reidentification: Reidentification,
        *,
        box: Box = PART,
        track: Track | None = None,
        window: Sequence[PendingFrame] = (),
        **options: object,
    ) -> bool:
        detections = [detection(*WHOLE), detection(*box, object_id=5)]
        result = associated(
            detections,
            Matches(matched={0: 1}, unmatched=(1,)),
            {track or make_track(1): WHOLE},
            reidentification=reidentification,
            window=window,
            **options,
        )
        return [each.object_id for each in result.new] == [5]

    def test_a_part_that_is_visible_on_no_frame_before_starts_no_track(self):
        assert not self.starts(Reidentification({5: ()}, {}))

    def test_without_backward_propagation_it_starts_one(self):
        assert self.starts(Reidentification({}, {}))

    def test_a_detection_beside_the_track_starts_one(self):
        assert self.starts(Reidentification({5: ()}, {}), box=BESIDE)

    def test_a_detection_that_continues_an_older_track_starts_one(self):
        assert self.starts(Reidentification({5: ()}, {5: make_track(3)}))

    @pytest.mark.parametrize("is_doubtful", [True, False], ids=["corrected", "undetected"])
    def test_a_part_of_a_track_that_is_corrected_or_undetected_starts_one(self, is_doubtful):
        """The mask of that track may have spilled over a neighbor."""
        detections = [detection(*PART), detection(*PART, object_id=5)]
        result = associated(
            detections,
            Matches(drifted={0: 1} if is_doubtful else {}, unmatched=(1,)),
            {make_track(1): WHOLE},
            doubtful={0: 1} if is_doubtful else {},
            expected={1: PART},
            reidentification=Reidentification({5: ()}, {}),
        )
        assert list(result.corrected) == ([1] if is_doubtful else [])
        assert [each.object_id for each in result.new] == [5]

    def test_objects_of_different_classes_may_lie_inside_each_other(self):
        other = make_track(1, name="box")
        assert self.starts(Reidentification({5: ()}, {}), track=other)
        assert not self.starts(Reidentification({5: ()}, {}), track=other, exclusive="all")

    @pytest.mark.parametrize(
        ("before", "starts"),
        [([PART, PART], False), ([PART, (32, 12, 40, 20)], True)],
        ids=["inside on all frames", "beside it on one"],
    )
    def test_a_tracklet_inside_the_track_on_all_frames_starts_none(self, before, starts):
        window = [pending_frame(7, {1: WHOLE}), pending_frame(8, {1: WHOLE})]
        tracklet = tuple((1 - i, object_mask(*box)) for i, box in enumerate(before))
        assert self.starts(Reidentification({5: tracklet}, {}), window=window) is starts

    def test_a_tracklet_on_a_frame_without_the_track_starts_one(self):
        tracklet = ((0, object_mask(*PART)),)
        assert self.starts(
            Reidentification({5: tracklet}, {}), window=[pending_frame(8, {2: WHOLE})]
        )

    def test_a_tracklet_of_other_colors_than_the_track_starts_one(self):
        tracklet, window = ((0, object_mask(*PART)),), [pending_frame(8, {1: WHOLE})]
        reidentification = Reidentification({5: tracklet}, {})
        blue = make_track(1, histogram=BLUE)
        assert self.starts(reidentification, window=window, track=blue)
        assert self.starts(reidentification, window=window, min_similarity=0), "colors are unknown"
        assert not self.starts(reidentification, window=window)
