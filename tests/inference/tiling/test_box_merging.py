"""Merging of the boxes found in several tiles, one box per object, in named cases.

The image is 300 high and 1000 wide. Its tiles of 300 share 50 with the next:
0…300, 250…550, 500…800, 700…1000, and as a whole.
"""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from grounded_sam2.inference.tiling.box_merging import TileBoxes, merge_boxes

SIZE_HW = (300, 1000)
TILES = np.array([(x, 0, x + 300, 300) for x in (0, 250, 500, 700)] + [(0, 0, 1000, 300)], float)
FIRST, SECOND, THIRD, FOURTH, WHOLE = range(5)

Box = tuple[float, float, float, float]


def merged(*found: tuple[int, Box, float]) -> list[tuple[Box, float]]:
    """Merged boxes with confidence; the arguments are tile, box and confidence."""
    boxes, confidence = merge_boxes(
        TileBoxes(
            boxes_xyxy=np.array([box for _, box, _ in found], np.float64).reshape(-1, 4),
            confidence=np.array([score for _, _, score in found], np.float32),
            tile_index=np.array([tile for tile, _, _ in found], np.intp),
            tiles_xyxy=TILES,
        ),
        SIZE_HW,
    )
    return [
        ((box[0], box[1], box[2], box[3]), round(score, 2))
        for box, score in zip(boxes.tolist(), confidence.tolist(), strict=True)
    ]


def test_no_boxes() -> None:
    assert merged() == []


def test_one_whole_box_stays() -> None:
    assert merged((FIRST, (10, 10, 60, 60), 0.7)) == [((10, 10, 60, 60), 0.7)]


def test_whole_boxes_of_several_tiles_become_the_most_confident_one() -> None:
    assert merged(
        (FIRST, (256, 10, 290, 60), 0.6),
        (SECOND, (257, 11, 291, 61), 0.8),
        (WHOLE, (250, 5, 300, 65), 0.7),
    ) == [((257, 11, 291, 61), 0.8)]


def test_two_boxes_of_one_tile_stay_two_however_close() -> None:
    here, beside = (10, 10, 60, 60), (14, 10, 64, 60)
    found = merged((FIRST, here, 0.9), (FIRST, beside, 0.8), (WHOLE, beside, 0.7))
    assert found == [(here, 0.9), (beside, 0.8)]


def test_boxes_apart_stay_apart() -> None:
    assert len(merged((FIRST, (10, 10, 60, 60), 0.9), (WHOLE, (100, 10, 160, 60), 0.9))) == 2


def test_a_cut_box_belongs_to_the_whole_box_of_the_next_tile() -> None:
    assert merged((FIRST, (270, 10, 300, 60), 0.9), (SECOND, (270, 10, 400, 60), 0.6)) == [
        ((270, 10, 400, 60), 0.9)
    ]


def test_many_cut_boxes_belong_to_one_whole_box() -> None:
    assert merged(
        (FIRST, (100, 10, 300, 200), 0.5),
        (SECOND, (250, 12, 550, 190), 0.6),
        (THIRD, (500, 10, 620, 200), 0.4),
        (WHOLE, (95, 5, 630, 205), 0.3),
    ) == [((95, 5, 630, 205), 0.6)]


def test_a_cut_box_that_lies_inside_a_whole_box_belongs_to_it() -> None:
    assert merged((FIRST, (280, 40, 300, 60), 0.9), (WHOLE, (200, 10, 420, 200), 0.6)) == [
        ((200, 10, 420, 200), 0.9)
    ]


def test_a_whole_box_inside_a_larger_one_stays() -> None:
    small, large = (100, 100, 140, 140), (50, 10, 240, 200)
    assert merged((FIRST, small, 0.9), (FIRST, large, 0.8)) == [(small, 0.9), (large, 0.8)]
    assert merged((FIRST, small, 0.9), (WHOLE, large, 0.8)) == [(small, 0.9), (large, 0.8)]


def test_cut_boxes_of_an_object_that_is_whole_in_no_tile_are_joined() -> None:
    assert merged(
        (FIRST, (100, 10, 300, 200), 0.5),
        (SECOND, (250, 12, 550, 190), 0.7),
        (THIRD, (500, 10, 620, 205), 0.4),
    ) == [((100, 10, 620, 205), 0.7)]


def test_cut_boxes_that_disagree_in_the_overlap_of_their_tiles_are_different_objects() -> None:
    upper, lower = (20, 10, 300, 80), (250, 200, 540, 280)
    found = merged((FIRST, upper, 0.9), (SECOND, lower, 0.8), (WHOLE, (5, 205, 260, 295), 0.7))
    assert ((5, 205, 260, 295), 0.7) in found
    assert all(box != (20, 10, 540, 280) for box, _ in found)


def test_a_cut_box_that_lies_whole_in_another_tile_without_a_detection_is_dropped() -> None:
    assert merged((FIRST, (280, 10, 300, 40), 0.9)) == []


def test_a_cut_box_that_lies_whole_only_in_a_much_larger_tile_stays() -> None:
    tiles = np.array([(0, 0, 30, 30), (0, 0, 1000, 300)], np.float64)
    box = np.array([(18.0, 5, 30, 15)])
    boxes, _ = merge_boxes(
        TileBoxes(box, np.array([0.9], np.float32), np.array([0]), tiles), SIZE_HW
    )
    assert boxes.tolist() == box.tolist()


def test_the_order_of_the_tiles_does_not_matter() -> None:
    found = [
        (SECOND, (257.0, 11.0, 291.0, 61.0), 0.8),
        (FIRST, (100.0, 100.0, 300.0, 200.0), 0.5),
        (FIRST, (256.0, 10.0, 290.0, 60.0), 0.6),
        (SECOND, (250.0, 100.0, 400.0, 200.0), 0.7),
    ]
    assert (
        merged(*found)
        == merged(*found[::-1])
        == [
            ((257, 11, 291, 61), 0.8),
            ((100, 100, 400, 200), 0.7),
        ]
    )


@pytest.mark.slow
def test_memory_of_thousands_of_boxes_is_less_than_a_matrix_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    begins = np.arange(40.0) * 2500
    tiles = np.stack((begins, 0 * begins, begins + 3000, 0 * begins + 3000), axis=1)
    tile_index = np.repeat(np.arange(40), 100)
    corners = tiles[tile_index, :2] + rng.uniform(0, 2980, (4000, 2))
    boxes = np.concatenate((corners, corners + 20), axis=1)
    found = TileBoxes(boxes, np.full(4000, 0.5, np.float32), tile_index, tiles)
    tracemalloc.start()
    try:
        kept, _ = merge_boxes(found, (3000, 100_500))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 3500 < len(kept) < 4000
    assert peak < 4000 * 4000 * 8 / 4
