from __future__ import annotations

import numpy as np
import pytest
from fixtures.masks import Mask

from grounded_sam2.geometry.crops import (
    boxes_from_run_lengths,
    canonical_run_lengths,
    crop_to_bounding_box,
    crops_from_run_lengths,
    run_lengths_from_crops,
    run_lengths_from_transitions,
)
from grounded_sam2.geometry.ragged import RaggedOffsets
from grounded_sam2.geometry.rle import decode_run_lengths, encode, image_sizes


def several(dense: Mask) -> list[Mask]:
    """Masks of images of different sizes."""
    return [dense, np.zeros((3, 2), np.bool_), dense.T.copy(), np.ones((4, 7), np.bool_), dense]


def test_crops_are_the_pixels_within_the_bounding_boxes(dense: Mask) -> None:
    masks = several(dense)
    rles = [encode(mask)[0] for mask in masks]
    run_lengths, offsets = decode_run_lengths(rles)
    boxes = boxes_from_run_lengths(run_lengths, offsets, image_sizes(rles)[:, 0])
    crops = crops_from_run_lengths(run_lengths, offsets, image_sizes(rles), boxes)
    for mask, pixels, (left, top, right, bottom) in zip(
        masks, crops.pixels, boxes.tolist(), strict=True
    ):
        np.testing.assert_array_equal(pixels, mask[top:bottom, left:right])
        assert pixels.flags.c_contiguous
        assert pixels.sum() == mask.sum()
    assert crops.images_hw.tolist() == [list(mask.shape) for mask in masks]
    assert crops.origins_xy.tolist() == boxes[:, :2].tolist()
    assert crops.areas.tolist() == [mask.sum() for mask in masks]


def test_transitions_are_the_begins_and_ends_of_foreground_runs(dense: Mask) -> None:
    rles = [encode(mask)[0] for mask in several(dense)]
    run_lengths, offsets = decode_run_lengths(rles)
    boxes = boxes_from_run_lengths(run_lengths, offsets, image_sizes(rles)[:, 0])
    crops = crops_from_run_lengths(run_lengths, offsets, image_sizes(rles), boxes)
    assert (crops.transition_offsets.sizes % 2 == 0).all()
    for pixels, room, changes in zip(
        crops.pixels,
        crops.pixel_offsets.starts,
        crops.transition_offsets.split(crops.transitions),
        strict=True,
    ):
        flat = np.zeros(pixels.size, np.bool_)
        for begin, end in (changes - room).reshape(-1, 2).tolist():
            flat[begin:end] = True
        np.testing.assert_array_equal(flat, pixels.T.ravel())


def test_run_lengths_do_not_depend_on_the_margin_of_a_crop(dense: Mask) -> None:
    height, width = dense.shape
    crop, (left, top) = crop_to_bounding_box(dense)
    rows, columns = crop.shape
    wider = dense[max(top - 1, 0) : top + rows + 2, max(left - 2, 0) : left + columns + 1]
    run_lengths, offsets = run_lengths_from_crops(
        [crop, wider, dense, np.asfortranarray(dense)],
        np.array([(left, top), (max(left - 2, 0), max(top - 1, 0)), (0, 0), (0, 0)]),
        np.array([(height, width)] * 4),
    )
    expected = encode(dense)[0].run_lengths().tolist()
    assert [each.tolist() for each in offsets.split(run_lengths)] == [expected] * 4


def test_a_crop_to_the_bounding_box_touches_its_four_sides(dense: Mask) -> None:
    crop, (left, top) = crop_to_bounding_box(dense)
    assert crop.sum() == dense.sum()
    if crop.size:
        np.testing.assert_array_equal(
            crop, dense[top : top + crop.shape[0], left : left + crop.shape[1]]
        )
        assert all(side.any() for side in (crop[0], crop[-1], crop[:, 0], crop[:, -1]))


@pytest.mark.parametrize(
    ("transitions", "total", "run_lengths"),
    [
        pytest.param([], 9, [9], id="no change"),
        pytest.param([0], 9, [0, 9], id="at the first pixel"),
        pytest.param([2, 9], 9, [2, 7], id="at the end of the image"),
        pytest.param([2, 4, 4, 6], 9, [2, 4, 3], id="twice at one position"),
        pytest.param([2, 2, 2, 6], 9, [2, 4, 3], id="three times at one position"),
        pytest.param([0, 0, 5, 5], 9, [9], id="all cancel out"),
    ],
)
def test_run_lengths_from_transitions(
    transitions: list[int], total: int, run_lengths: list[int]
) -> None:
    # The other two masks have no influence.
    found, offsets = run_lengths_from_transitions(
        np.array([1, 3, *transitions, 0], np.int64),
        RaggedOffsets([2, len(transitions), 1]),
        np.array([4, total, 5]),
    )
    assert [each.tolist() for each in offsets.split(found)] == [[1, 2, 1], run_lengths, [0, 5]]


def test_canonical_run_lengths_have_no_zeros_after_the_first() -> None:
    run_lengths, offsets = canonical_run_lengths(
        np.array([3, 0, 0, 2, 4, 0, 0, 0, 2]), RaggedOffsets([5, 4])
    )
    assert [each.tolist() for each in offsets.split(run_lengths)] == [[3, 2, 4], [0, 2]]
