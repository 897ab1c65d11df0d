"""Visible objects of a frame, and comparisons between masks."""

from __future__ import annotations

import numpy as np
import pytest
from fixtures.tracking import SIZE_HW

from grounded_sam2.config import TrackingConfig
from grounded_sam2.geometry.rle import rectangle
from grounded_sam2.testing import FakeFrameMasks
from grounded_sam2.tracking.object_masks import (
    ObjectMask,
    are_contained,
    is_contained,
    masks_agree,
    pair_iou,
    visible_objects,
)


def box(*corners: int):
    return rectangle(corners, SIZE_HW)


def frame_masks(*scores: float) -> FakeFrameMasks:
    """Masks of objects 1, 2, …: the last has no pixel."""
    count = len(scores)
    found = [box(0, 0, 10, 10)] * (count - 1) + [box(0, 0, 0, 0)]
    quality = np.full(count, 0.123456, np.float32)
    ids = tuple(range(1, count + 1))
    return FakeFrameMasks(ids, quality, np.array(scores, np.float32), tuple(found), (0,) * count)


def test_objects_with_a_score_of_0_or_without_a_pixel_are_absent():
    visible = visible_objects(frame_masks(0.5, 0, -1, 3))
    assert visible == {1: ObjectMask(box(0, 0, 10, 10), (0, 0, 10, 10), 0.1235)}


def test_no_objects_are_visible_on_an_empty_frame():
    assert visible_objects(frame_masks(1).select([])) == {}


def test_iou_of_two_masks():
    assert pair_iou(box(0, 0, 10, 10), box(0, 0, 10, 5)) == 0.5
    assert pair_iou(box(0, 0, 10, 10), box(20, 0, 30, 5)) == 0


@pytest.mark.parametrize(
    ("options", "agree"),
    [
        ({}, True),
        ({"correct_iou": 0.81}, False),
        ({"correct_iou": 0.1, "match_iou": 0.81}, False),
        ({"correct_iou": 0.1, "match_iou": 0.8}, True),
    ],
)
def test_masks_agree_from_the_higher_of_two_limits_on(options, agree):
    options = TrackingConfig(**options)
    assert masks_agree(box(0, 0, 10, 10), box(0, 0, 10, 8), options) is agree


def test_a_mask_is_contained_with_seven_tenths_of_its_area():
    mask = box(0, 0, 10, 10)
    assert is_contained(mask, [box(0, 0, 7, 10)])
    assert not is_contained(mask, [box(0, 0, 6, 10)])
    assert is_contained(mask, [box(0, 0, 4, 10), box(4, 0, 7, 10)]), "in two together"
    assert not is_contained(mask, [])


def test_a_fragment_is_contained_in_a_single_mask():
    masks = [box(0, 0, 10, 10), box(2, 0, 4, 10)]
    assert are_contained(masks, [box(0, 0, 4, 10), box(4, 0, 7, 10)]) == [False, True]
    assert are_contained(masks, []) == [False, False]
    assert are_contained([], masks) == []
