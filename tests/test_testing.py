"""Public fakes: detections, masks and tracks of plain colors."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.errors import PromptError
from grounded_sam2.geometry.rle import encode
from grounded_sam2.models.protocols import Detector, Segmenter, Tracker, TrackPrompt
from grounded_sam2.testing import (
    COLORS,
    FakeDetector,
    FakeFrameMasks,
    FakeSegmenter,
    FakeTracker,
)

TRACKER = FakeTracker()


def draw(*rectangles: tuple[str, int, int, int, int]) -> np.ndarray:
    """A black image with rectangles ``(color, left, top, right, bottom)``: ``(20, 30, 3)``."""
    image = np.zeros((20, 30, 3), np.uint8)
    for color, left, top, right, bottom in rectangles:
        image[top:bottom, left:right] = COLORS[color]
    return image


def visible_boxes(masks: FakeFrameMasks) -> dict[int, tuple[float, ...]]:
    """Bounding box of each visible object by id."""
    rles = zip(masks.ids, masks.to_rles(), strict=True)
    return {object_id: rle.bbox_xyxy for object_id, rle in rles if rle.area}


class TestFakeDetector:
    IMAGE = draw(("red", 20, 10, 24, 14), ("red", 2, 2, 6, 6), ("blue", 9, 9, 12, 12))

    def test_satisfies_the_protocol(self) -> None:
        assert isinstance(FakeDetector(), Detector)

    def test_boxes_are_ordered_by_caption_then_from_top_to_bottom(self) -> None:
        [detected] = FakeDetector().detect([self.IMAGE], [["blue box", "red box", "a box"]])
        assert detected.captions == ("blue box", "red box", "red box")
        assert detected.boxes_xyxy.tolist() == [[9, 9, 12, 12], [2, 2, 6, 6], [20, 10, 24, 14]]
        assert detected.confidence is not None
        assert detected.confidence.tolist() == pytest.approx([0.9] * 3)

    def test_without_captions_objects_are_named_by_their_color(self) -> None:
        [detected] = FakeDetector(confidence=None).detect([self.IMAGE], [[]])
        assert (detected.captions, detected.confidence) == (("red", "red", "blue"), None)

    def test_an_image_without_objects_has_no_boxes(self) -> None:
        [detected] = FakeDetector().detect([draw()], [["red box"]])
        assert (detected.boxes_xyxy.shape, detected.captions) == ((0, 4), ())


class TestFakeSegmenter:
    def test_satisfies_the_protocol(self) -> None:
        assert isinstance(FakeSegmenter(), Segmenter)

    def test_a_mask_is_the_foreground_inside_its_box(self) -> None:
        image = draw(("red", 2, 2, 6, 6))
        boxes = np.array([[0, 0, 10, 4], [10, 10, 20, 20]], np.float32)
        [segmented] = FakeSegmenter().segment_boxes([image], [boxes])
        assert [rle.area for rle in segmented.masks] == [8, 0]
        assert segmented.masks[0].bbox_xyxy == (2, 2, 6, 4)
        assert segmented.quality.tolist() == pytest.approx([0.8, 0.8])


class TestFakeTracker:
    def test_satisfies_the_protocol(self) -> None:
        assert isinstance(TRACKER, Tracker)

    def test_an_empty_state_propagates_no_masks(self) -> None:
        masks = TRACKER.propagate(TRACKER.encode(draw()), TRACKER.empty_state(), 0)
        assert (masks.ids, masks.to_rles(), masks.score.shape) == ((), (), (0,))

    def test_propagates_to_the_nearest_component_of_the_color_and_marks_lost_objects_absent(
        self,
    ) -> None:
        first = TRACKER.encode(
            draw(("red", 2, 2, 6, 6), ("red", 20, 2, 24, 6), ("blue", 9, 9, 12, 12))
        )
        prompts = {
            7: TrackPrompt(box_xyxy=np.array([1, 1, 7, 7])),
            2: TrackPrompt(points_xy=np.array([[10, 10]]), point_labels=np.array([1])),
            5: TrackPrompt(mask=encode(np.pad(np.ones((4, 4), bool), ((2, 14), (20, 6))))[0]),
        }
        prompted = TRACKER.prompt(first, prompts)
        assert prompted.ids == (7, 2, 5)
        assert visible_boxes(prompted) == {7: (2, 2, 6, 6), 2: (9, 9, 12, 12), 5: (20, 2, 24, 6)}
        state = TRACKER.update_state(first, TRACKER.empty_state(), 0, prompted, prompted=prompts)
        assert state.ids == (2, 5, 7)

        second = TRACKER.encode(draw(("red", 4, 2, 8, 6), ("red", 22, 2, 26, 6)))
        propagated = TRACKER.propagate(second, state, 1)
        assert propagated.ids == (2, 5, 7)
        assert visible_boxes(propagated) == {7: (4, 2, 8, 6), 5: (22, 2, 26, 6)}
        assert (propagated.score > 0).tolist() == [False, True, True]
        assert propagated.quality.tolist() == pytest.approx([0, 0.8, 0.8])
        assert visible_boxes(propagated.select([5])) == {5: (22, 2, 26, 6)}
        both = FakeFrameMasks.concatenate([propagated.select([7]), propagated.select([5])])
        assert both.ids == (7, 5)

        state = TRACKER.update_state(second, state, 1, propagated)
        assert TRACKER.load(TRACKER.save(state)) == state
        assert state.without([2, 99]) == state.select([5, 7])
        third = TRACKER.encode(draw(("blue", 0, 15, 3, 18), ("red", 5, 2, 9, 6)))
        assert visible_boxes(TRACKER.propagate(third, state.select([2]), 2)) == {2: (0, 15, 3, 18)}

    def test_a_prompt_on_background_gives_an_object_that_stays_absent(self) -> None:
        encoded = TRACKER.encode(draw(("red", 2, 2, 6, 6)))
        prompted = TRACKER.prompt(encoded, {1: TrackPrompt(box_xyxy=np.array([10, 10, 15, 15]))})
        assert (visible_boxes(prompted), prompted.score.tolist()) == ({}, [-5])
        state = TRACKER.update_state(encoded, TRACKER.empty_state(), 0, prompted)
        assert visible_boxes(TRACKER.propagate(encoded, state, 1)) == {}

    def test_a_prompt_of_points_outside_the_object_alone_is_refused(self) -> None:
        outside = TrackPrompt(points_xy=np.array([[1, 1]]), point_labels=np.array([0]))
        with pytest.raises(PromptError, match="give one inside"):
            TRACKER.prompt(TRACKER.encode(draw()), {1: outside})
