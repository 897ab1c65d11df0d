"""Overlaps between the masks of tracked objects, and absent objects."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from grounded_sam2.models.sam2.track_masks import Sam2FrameMasks

SIDE = 16


def frame_masks(*objects: dict[tuple[int, int], float], threshold: float = 0.0) -> Sam2FrameMasks:
    """Objects 1, 2 …, each with logits by range of columns; -4 elsewhere."""
    logits = torch.full((len(objects), SIDE, SIDE), -4.0)
    for row, ranges in enumerate(objects):
        for (left, right), logit in ranges.items():
            logits[row, :, left:right] = logit
    count = len(objects)
    return Sam2FrameMasks(
        tuple(range(1, count + 1)),
        np.full(count, 0.9, np.float32),
        np.full(count, 3, np.float32),
        logits,
        torch.zeros(count, 8),
        (SIDE, SIDE),
        threshold,
    )


def columns(masks: Sam2FrameMasks) -> list[list[int]]:
    return [np.flatnonzero(mask.decode().any(0)).tolist() for mask in masks.to_rles()]


def span(*ranges: tuple[int, int]) -> list[int]:
    return [column for left, right in ranges for column in range(left, right)]


def test_a_shared_pixel_goes_to_the_higher_logit():
    masks = frame_masks({(0, 8): 3.0, (8, 10): 1.0}, {(7, 16): 2.0})
    apart = masks.without_overlaps([(1, 2)])
    assert columns(apart) == [span((0, 8)), span((8, 16))]
    assert columns(masks) == [span((0, 10)), span((7, 16))], "changed in place"
    assert apart.score.tolist() == [3, 3]


def test_the_border_lies_where_the_logits_are_equal():
    apart = frame_masks({(0, 12): 3.0}, {(4, 16): 3.5}).without_overlaps([(1, 2)])
    first, second = apart.logits
    both = slice(4, 12)
    torch.testing.assert_close(first[:, both], -second[:, both])


@pytest.mark.parametrize("groups", [[], [(1,), (2,)], [(1, 7), (2, 8)]])
def test_objects_of_different_groups_may_overlap(groups):
    masks = frame_masks({(0, 10): 3.0}, {(5, 16): 2.0})
    assert columns(masks.without_overlaps(groups)) == columns(masks)


def test_an_object_that_keeps_little_of_its_mask_is_absent():
    apart = frame_masks({(0, 10): 3.0}, {(0, 11): 2.0}).without_overlaps([(1, 2)])
    assert columns(apart) == [span((0, 10)), []]
    assert apart.score[0] > 0 > apart.score[1]


def test_a_mask_that_has_grown_over_another_yields_to_it():
    """Whatever its logits: the other would keep nothing."""
    apart = frame_masks({(0, 14): 5.0}, {(8, 14): 1.0}).without_overlaps([(1, 2)])
    assert columns(apart) == [span((0, 8)), span((8, 14))]


def test_yielding_objects_lose_all_shared_pixels():
    masks = frame_masks({(0, 9): 1.0}, {(6, 16): 4.0})
    assert columns(masks.without_overlaps([(1, 2)], yielding=[2])) == [
        span((0, 9)),
        span((9, 16)),
    ]


def test_the_owner_gets_all_shared_pixels():
    masks = frame_masks({(0, 9): 1.0}, {(6, 16): 4.0})
    assert columns(masks.without_overlaps([(1, 2)], owners=[(1, 2)])) == [
        span((0, 9)),
        span((9, 16)),
    ]
    assert columns(masks.without_overlaps([(1, 2)], [1], [(1, 2)])) == [
        span((0, 9)),
        span((9, 16)),
    ]
    assert columns(masks.without_overlaps([(1, 2)], owners=[(7, 2)])) == [
        span((0, 6)),
        span((6, 16)),
    ]


def test_an_owner_keeps_the_pixels_of_a_nested_mask():
    masks = frame_masks({(0, 16): 1.0}, {(4, 8): 4.0})
    assert columns(masks.without_overlaps([(1, 2)])) == [span((0, 4), (8, 16)), span((4, 8))]
    assert columns(masks.without_overlaps([(1, 2)], owners=[(1, 2)])) == [span((0, 16)), []]


def test_three_overlapping_objects():
    apart = frame_masks({(0, 7): 2.0}, {(4, 12): 3.0}, {(9, 16): 4.0}).without_overlaps([(1, 2, 3)])
    assert columns(apart) == [span((0, 4)), span((4, 9)), span((9, 16))]


def test_logits_are_compared_relative_to_the_threshold():
    apart = frame_masks({(0, 10): 3.0}, {(6, 16): 2.0}, threshold=1.0).without_overlaps([(1, 2)])
    assert columns(apart) == [span((0, 10)), span((10, 16))]


def test_objects_marked_as_absent():
    masks = frame_masks({(0, 8): 3.0}, {(8, 16): 3.0})
    gone = masks.mark_absent([2, 5])
    assert columns(gone) == [span((0, 8)), []]
    assert gone.score.tolist() == [3, -3]
    assert masks.mark_absent([5]) is masks
