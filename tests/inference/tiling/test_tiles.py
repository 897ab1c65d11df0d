"""The windows of large images: they cover it, overlap, and show everything whole somewhere."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.config import TilingConfig
from grounded_sam2.inference.tiling.tiles import (
    cut_by_views,
    in_batches,
    is_large,
    shows,
    views_of,
    windows,
)

TILES = TilingConfig(mode="always", tile_size=100, overlap=0.25)


@pytest.mark.parametrize(
    ("mode", "size_hw", "answer"),
    [
        ("auto", (300, 400), False),
        ("auto", (300, 401), True),
        ("auto", (401, 1), True),
        ("always", (100, 100), False),
        ("always", (1, 101), True),
        ("never", (9000, 9000), False),
    ],
)
def test_what_is_large(mode: str, size_hw: tuple[int, int], answer: bool) -> None:
    options = TilingConfig(mode=mode, tile_size=100, above_side=400)  # type: ignore[arg-type]
    assert is_large(size_hw, options) is answer


def test_an_image_of_one_tile_is_never_large() -> None:
    assert not is_large((90, 100), TilingConfig(tile_size=100, above_side=50))


@pytest.mark.parametrize(
    "size_hw",
    [(101, 101), (150, 400), (175, 176), (1, 2000), (2000, 1), (799, 801), (1600, 3300)],
    ids=str,
)
def test_every_level_covers_the_image_and_overlaps(size_hw: tuple[int, int]) -> None:
    views = views_of(size_hw, TILES)
    height, width = size_hw
    assert (views[-1].left, views[-1].top, views[-1].right, views[-1].bottom) == (
        *(0, 0),
        *(width, height),
    )
    for size in {max(view.right - view.left, view.bottom - view.top) for view in views}:
        level = [v for v in views if max(v.right - v.left, v.bottom - v.top) == size]
        covered = np.zeros(size_hw, np.bool_)
        for view in level:
            assert 0 <= view.left < view.right <= width
            assert 0 <= view.top < view.bottom <= height
            covered[view.top : view.bottom, view.left : view.right] = True
        assert covered.all()
        for axis, side in (("left", width), ("top", height)):
            begins = sorted({getattr(view, axis) for view in level})
            assert np.diff(begins).max(initial=0) <= size - 0.25 * min(size, side) + 1


def test_everything_is_whole_somewhere_and_not_too_small() -> None:
    size_hw = (900, 1300)
    every = windows(views_of(size_hw, TILES))
    sides = (every[:, 2:] - every[:, :2]).max(axis=1)
    rng = np.random.default_rng(0)
    for _ in range(500):
        size = rng.uniform(1, 600)
        corner = rng.uniform(0, [1300 - size, 900 - size])
        box = np.array([*corner, *(corner + size)])
        whole = shows(every, box)
        assert size * 100 / sides[whole].min() >= min(size, 0.25 * 100 / 4)


def test_the_windows_come_small_to_large_and_row_by_row() -> None:
    views = views_of((900, 1000), TILES)
    sizes = [view.right - view.left for view in views]
    assert sizes == sorted(sizes)
    assert set(sizes) == {100, 400, 1000}
    first = views[: sizes.count(100)]
    assert [(v.top, v.left) for v in first] == sorted((v.top, v.left) for v in first)


def test_a_size_between_tile_and_whole_is_left_out_where_it_shows_nothing_new() -> None:
    sizes = {view.right - view.left for view in views_of((500, 790), TILES)}
    assert sizes == {100, 790}


def test_tiles_without_overlap_lie_side_by_side() -> None:
    options = TilingConfig(mode="always", tile_size=100, overlap=0)
    assert [view.left for view in views_of((100, 300), options)][:-1] == [0, 100, 200]


def test_what_is_shown_and_where_it_was() -> None:
    image = np.arange(300 * 400 * 3, dtype=np.uint32).reshape(300, 400, 3).astype(np.uint8)
    views = views_of((300, 400), TILES)
    tile, whole = views[1], views[-1]
    assert tile.shown(image).flags.c_contiguous
    np.testing.assert_array_equal(tile.shown(image), image[0:100, 75:175])
    np.testing.assert_array_equal(tile.crop(image), image[0:100, 75:175])
    assert tile.to_image(np.array([(0, 0, 10, 20)], np.float32)).tolist() == [[75, 0, 85, 20]]
    assert whole.shown(image).shape == (75, 100, 3)
    assert whole.to_image(np.array([(1, 2, 100, 75)], np.float32)).tolist() == [[4, 8, 400, 300]]
    assert tile.to_image(np.zeros((0, 4), np.float32)).shape == (0, 4)


def test_a_thin_image_keeps_a_pixel_when_it_is_made_smaller() -> None:
    image = np.zeros((1, 2000, 3), np.uint8)
    (*_, whole) = views_of((1, 2000), TILES)
    assert whole.shown(image).shape == (1, 100, 3)
    assert whole.to_image(np.array([(0, 0, 100, 1)], np.float32)).tolist() == [[0, 0, 2000, 1]]


def test_boxes_are_cut_where_their_window_ends_but_not_where_the_image_does() -> None:
    window = np.array([(0.0, 100, 100, 200)])
    boxes = {
        "in the middle": (10, 110, 50, 150),
        "at the border of the image": (0, 110, 50, 150),
        "at the right": (50, 110, 100, 150),
        "near the right": (50, 110, 98.5, 150),
        "not so near": (50, 110, 97, 150),
        "at the top": (10, 100, 50, 150),
        "everywhere": (0, 100, 100, 200),
    }
    cut = cut_by_views(np.array(list(boxes.values()), np.float64), window, (500, 500))
    assert dict(zip(boxes, cut.tolist(), strict=True)) == {
        "in the middle": False,
        "at the border of the image": False,
        "at the right": True,
        "near the right": True,
        "not so near": False,
        "at the top": True,
        "everywhere": True,
    }


def test_batches_are_bounded_by_number_and_pixels() -> None:
    views = views_of((900, 1000), TILES)[-14:]  # four of 100, nine of 400, one of 1000
    assert [len(some) for some in in_batches(views, count=4)] == [4, 4, 4, 2]
    some_each = [len(some) for some in in_batches(views, count=8, pixels=350_000)]
    assert some_each == [5, 2, 2, 2, 2, 1]
    assert list(in_batches([], count=4)) == []
