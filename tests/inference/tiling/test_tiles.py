"""Tiles of large images: they cover the image, overlap, and show every object whole somewhere."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.config import TilingConfig
from grounded_sam2.inference.tiling.tiles import (
    are_cut,
    are_inside,
    is_large,
    make_tiles,
    tile_batches,
    tile_boxes,
)

TILES = TilingConfig(mode="always", tile_size=100, overlap=0.25)


@pytest.mark.parametrize(
    ("mode", "size_hw", "large"),
    [
        ("auto", (300, 400), False),
        ("auto", (300, 401), True),
        ("auto", (401, 1), True),
        ("always", (100, 100), False),
        ("always", (1, 101), True),
        ("never", (9000, 9000), False),
    ],
)
def test_an_image_is_tiled_by_mode_and_size(
    mode: str, size_hw: tuple[int, int], large: bool
) -> None:
    options = TilingConfig(mode=mode, tile_size=100, above_side=400)  # type: ignore[arg-type]
    assert is_large(size_hw, options) is large


def test_an_image_of_one_tile_is_never_large() -> None:
    assert not is_large((90, 100), TilingConfig(tile_size=100, above_side=50))


@pytest.mark.parametrize(
    "size_hw",
    [(101, 101), (150, 400), (175, 176), (1, 2000), (2000, 1), (799, 801), (1600, 3300)],
    ids=str,
)
def test_every_level_covers_the_image_and_overlaps(size_hw: tuple[int, int]) -> None:
    tiles = make_tiles(size_hw, TILES)
    height, width = size_hw
    assert (tiles[-1].left, tiles[-1].top, tiles[-1].right, tiles[-1].bottom) == (
        *(0, 0),
        *(width, height),
    )
    for size in {max(tile.right - tile.left, tile.bottom - tile.top) for tile in tiles}:
        level = [v for v in tiles if max(v.right - v.left, v.bottom - v.top) == size]
        covered = np.zeros(size_hw, np.bool_)
        for tile in level:
            assert 0 <= tile.left < tile.right <= width
            assert 0 <= tile.top < tile.bottom <= height
            covered[tile.top : tile.bottom, tile.left : tile.right] = True
        assert covered.all()
        for axis, side in (("left", width), ("top", height)):
            begins = sorted({getattr(tile, axis) for tile in level})
            assert np.diff(begins).max(initial=0) <= size - 0.25 * min(size, side) + 1


def test_every_box_lies_whole_in_some_tile_and_not_too_small() -> None:
    size_hw = (900, 1300)
    every = tile_boxes(make_tiles(size_hw, TILES))
    sides = (every[:, 2:] - every[:, :2]).max(axis=1)
    rng = np.random.default_rng(0)
    for _ in range(500):
        size = rng.uniform(1, 600)
        corner = rng.uniform(0, [1300 - size, 900 - size])
        box = np.array([*corner, *(corner + size)])
        whole = are_inside(every, box)
        assert size * 100 / sides[whole].min() >= min(size, 0.25 * 100 / 4)


def test_tiles_are_ordered_small_to_large_and_row_by_row() -> None:
    tiles = make_tiles((900, 1000), TILES)
    sizes = [tile.right - tile.left for tile in tiles]
    assert sizes == sorted(sizes)
    assert set(sizes) == {100, 400, 1000}
    first = tiles[: sizes.count(100)]
    assert [(v.top, v.left) for v in first] == sorted((v.top, v.left) for v in first)


def test_a_level_of_more_than_half_the_image_is_left_out() -> None:
    sizes = {tile.right - tile.left for tile in make_tiles((500, 790), TILES)}
    assert sizes == {100, 790}


def test_tiles_without_overlap_lie_side_by_side() -> None:
    options = TilingConfig(mode="always", tile_size=100, overlap=0)
    assert [tile.left for tile in make_tiles((100, 300), options)][:-1] == [0, 100, 200]


def test_crops_are_reduced_and_boxes_converted_back() -> None:
    image = np.arange(300 * 400 * 3, dtype=np.uint32).reshape(300, 400, 3).astype(np.uint8)
    tiles = make_tiles((300, 400), TILES)
    tile, whole = tiles[1], tiles[-1]
    assert tile.resized_crop(image).flags.c_contiguous
    np.testing.assert_array_equal(tile.resized_crop(image), image[0:100, 75:175])
    np.testing.assert_array_equal(tile.crop(image), image[0:100, 75:175])
    assert tile.boxes_to_image(np.array([(0, 0, 10, 20)], np.float32)).tolist() == [[75, 0, 85, 20]]
    assert whole.resized_crop(image).shape == (75, 100, 3)
    assert whole.boxes_to_image(np.array([(1, 2, 100, 75)], np.float32)).tolist() == [
        [4, 8, 400, 300]
    ]
    assert tile.boxes_to_image(np.zeros((0, 4), np.float32)).shape == (0, 4)


def test_a_thin_image_keeps_a_pixel_when_it_is_reduced() -> None:
    image = np.zeros((1, 2000, 3), np.uint8)
    (*_, whole) = make_tiles((1, 2000), TILES)
    assert whole.resized_crop(image).shape == (1, 100, 3)
    assert whole.boxes_to_image(np.array([(0, 0, 100, 1)], np.float32)).tolist() == [
        [0, 0, 2000, 1]
    ]


def test_boxes_are_cut_at_the_edges_of_their_tile_but_not_of_the_image() -> None:
    own_tile = np.array([(0.0, 100, 100, 200)])
    boxes = {
        "in the middle": (10, 110, 50, 150),
        "at the border of the image": (0, 110, 50, 150),
        "at the right": (50, 110, 100, 150),
        "near the right": (50, 110, 98.5, 150),
        "not so near": (50, 110, 97, 150),
        "at the top": (10, 100, 50, 150),
        "everywhere": (0, 100, 100, 200),
    }
    cut = are_cut(np.array(list(boxes.values()), np.float64), own_tile, (500, 500))
    assert dict(zip(boxes, cut.tolist(), strict=True)) == {
        "in the middle": False,
        "at the border of the image": False,
        "at the right": True,
        "near the right": True,
        "not so near": False,
        "at the top": True,
        "everywhere": True,
    }


def test_batches_are_bounded_by_number_and_area() -> None:
    tiles = make_tiles((900, 1000), TILES)[-14:]  # four of 100, nine of 400, one of 1000
    assert [len(some) for some in tile_batches(tiles, max_tiles=4)] == [4, 4, 4, 2]
    some_each = [len(some) for some in tile_batches(tiles, max_tiles=8, max_area=350_000)]
    assert some_each == [5, 2, 2, 2, 2, 1]
    assert list(tile_batches([], max_tiles=4)) == []
