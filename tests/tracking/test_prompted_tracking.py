"""Tracking by prompts."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.errors import PromptError
from grounded_sam2.geometry.rle import encode
from grounded_sam2.models.protocols import TrackPrompt
from grounded_sam2.results import VideoFrame
from grounded_sam2.testing import COLORS, FakeTracker
from grounded_sam2.tracking import track_prompts


def frames(count: int = 6):
    """A red block that moves right, and a blue one from frame 2 on."""
    for index in range(count):
        image = np.zeros((40, 60, 3), np.uint8)
        image[5:15, 5 + index : 15 + index] = COLORS["red"]
        if index >= 2:
            image[25:35, 30:40] = COLORS["blue"]
        yield VideoFrame(2 * index, index / 10, image)


RED = TrackPrompt(box_xyxy=[4, 4, 16, 16])
BLUE = TrackPrompt(points_xy=[[34, 30]], point_labels=[1])


def track(prompts, **options):
    return list(track_prompts(frames(), FakeTracker(), prompts, **options))


def test_objects_start_with_a_box_or_a_point_and_are_propagated():
    found = track({0: {7: RED}, 6: {2: BLUE}}, names={2: "cold"})
    assert [frame.index for frame in found] == [0, 2, 4, 6, 8, 10]
    ids = [[label.track_id for label in frame.labels.objects] for frame in found]
    assert ids == [[7], [7], [7], [2, 7], [2, 7], [2, 7]]
    for shift, frame in enumerate(found):
        assert frame.labels.objects[-1].box_xyxy == (5 + shift, 5, 15 + shift, 15)
    first, later = found[3].labels.objects[0], found[4].labels.objects[0]
    assert (first.class_name, first.origin, first.track_origin) == ("cold", "human", None)
    assert (later.class_name, later.origin, later.track_origin) == ("cold", "model", "forwards")
    assert found[0].labels.objects[0].class_name == "object"
    assert first.confidence is None


def test_a_later_prompt_corrects_an_object():
    where = np.zeros((40, 60), np.bool_)
    where[25:35, 30:40] = True
    found = track({0: {1: RED}, 8: {1: TrackPrompt(mask=encode(where[None])[0])}})
    boxes = [frame.labels.objects[0].box_xyxy for frame in found]
    assert boxes[3] == (8, 5, 18, 15)
    assert boxes[4] == boxes[5] == (30, 25, 40, 35)


def test_exclusive_masks_leave_an_overlap_to_the_prompted_object():
    where = np.zeros((40, 60), np.bool_)
    where[5:15, 10:20] = True  # half of the red block, where it is on frame 4
    shown = TrackPrompt(mask=encode(where[None])[0])
    prompts = {0: {1: RED}, 8: {2: shown}}

    def boxes(**options):
        return [label.box_xyxy for label in track(prompts, **options)[4].labels.objects]

    assert boxes() == [(9, 5, 19, 15), (10, 5, 19, 15)]
    assert boxes(exclusive=True) == [(9, 5, 10, 15), (10, 5, 19, 15)]


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({}, "none given"),
        ({0: {}}, "none given"),
        ({0: {0: RED}}, "object id 0 is below 1"),
        ({0: {1: RED}, 3: {1: RED}}, "frame 3 is not among the frames"),
        ({40: {1: RED}}, "frame 40 is not among the frames"),
    ],
)
def test_invalid_prompts_are_an_error(prompts, message):
    with pytest.raises(PromptError, match=message):
        track(prompts)
