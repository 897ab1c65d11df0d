"""Boxes, drawing order and rasterization of objects."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.exporters.mask_conversion import map_masks, mask_stats
from grounded_sam2.exporters.objects import (
    clipped_box,
    covered_pixels,
    front_to_back,
    rasterize_objects,
    row_major_counts,
)
from grounded_sam2.geometry.rle import encode

VOID = 255


def unrolled(runs: np.ndarray) -> np.ndarray:
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs)


def test_the_clipped_box_is_that_of_the_mask_else_the_detected_one(labeled):
    size = (60, 80)
    masked = [labeled.label(labeled.pixel(3, 4)), labeled.label(np.zeros(size, bool))]
    found = map_masks(masked, mask_stats)
    assert [clipped_box(*each) for each in zip(masked, [size] * 2, found, strict=True)] == [
        (3, 4, 4, 5),
        None,
    ]
    assert clipped_box(labeled.label(None, box_xyxy=(-1, 5.5, 90, 70)), size, None) == (
        0,
        5.5,
        80,
        60,
    )
    assert clipped_box(labeled.label(None, box_xyxy=(80, 5, 90, 9)), size, None) is None


def test_covered_pixels_include_those_covered_in_part():
    assert covered_pixels((0.5, 1.0, 2.01, 3.0)) == (0, 1, 3, 3)


def test_higher_confidence_is_on_top_and_no_confidence_above_all(labeled):
    objects = [labeled.label(None, confidence=c) for c in (0.2, 0.9, None, 0.9, 1.0)]
    assert front_to_back(objects) == [2, 4, 1, 3, 0]
    assert front_to_back([]) == []


def test_overlaps_show_the_higher_confidence(labeled):
    below = labeled.label(np.ones((60, 80), bool), confidence=0.3)
    above = labeled.label(labeled.ring(), confidence=0.8)
    painted = rasterize_objects([above, below], [7, 9], (60, 80), void=VOID)
    assert np.array_equal(painted, np.where(labeled.ring(), 7, 9))


def test_boxes_without_a_mask_are_void_below_every_mask(labeled):
    box = labeled.label(None, box_xyxy=(10, 10, 20.5, 20), confidence=1.0)
    mask = labeled.label(labeled.pixel(12, 12), confidence=0.1)
    painted = rasterize_objects([mask, box], [3, 4], (60, 80), void=VOID)
    assert painted[12, 12] == 3
    assert (painted == VOID).sum() == 11 * 10 - 1
    assert (painted == 0).sum() == 60 * 80 - 11 * 10


def test_no_objects_rasterize_to_zeros():
    assert not rasterize_objects([], [], (2, 3), void=VOID).any()


@pytest.mark.parametrize("name", ["disc", "ring", "two_parts"])
def test_row_major_counts_decode_to_the_mask(labeled, name):
    mask = getattr(labeled, name)()
    rle = encode(mask)[0]
    assert np.array_equal(unrolled(row_major_counts([rle])[0]).reshape(60, 80), mask)
    crop, _ = rle.decode_crop()
    assert np.array_equal(
        unrolled(row_major_counts([rle], within_box=True)[0]).reshape(crop.shape), crop
    )


def test_row_major_counts_of_an_empty_and_a_full_mask():
    masks = encode(np.stack((np.zeros((4, 5), bool), np.ones((4, 5), bool))))
    assert [runs.tolist() for runs in row_major_counts(masks)] == [[20], [0, 20]]
    assert [runs.tolist() for runs in row_major_counts(masks, within_box=True)] == [[], [0, 20]]
    assert row_major_counts([]) == []
