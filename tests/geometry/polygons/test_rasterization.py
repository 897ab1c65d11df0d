from __future__ import annotations

import numpy as np
import pytest
from fixtures.masks import Mask, Points
from pycocotools import mask as coco_mask

from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry.polygons.polygon_batch import Polygon
from grounded_sam2.geometry.polygons.rasterization import polygons_to_mask, polygons_to_rle
from grounded_sam2.geometry.polygons.tracing import exact_polygons
from grounded_sam2.geometry.rle import encode


def by_definition(ring: Points, size_hw: tuple[int, int]) -> Mask:
    """Even-odd counting of the edges above each pixel center."""
    y, x = np.indices(size_hw) + 0.5
    inside = np.zeros(size_hw, np.bool_)
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if x0 != x1:
            inside ^= ((x0 > x) != (x1 > x)) & (y > y0 + (x - x0) / (x1 - x0) * (y1 - y0))
    return inside


def test_exact_polygons_reproduce_the_mask(dense: Mask) -> None:
    size_hw = (dense.shape[0], dense.shape[1])
    np.testing.assert_array_equal(polygons_to_mask(exact_polygons(dense), size_hw), dense)
    assert polygons_to_rle(exact_polygons(dense), size_hw) == encode(dense)[0]


def test_a_pixel_is_set_when_its_center_is_inside() -> None:
    triangle = np.array([(0.6, 0.0), (0.6, 3.0), (3.6, 3.0)])
    assert polygons_to_mask([triangle], (3, 4)).tolist() == [
        [False, False, False, False],
        [False, True, False, False],
        [False, True, True, False],
    ]


@pytest.mark.filterwarnings("error")
def test_edges_on_center_lines_of_columns_emit_no_warning() -> None:
    square = np.array([(0.5, 0.0), (2.5, 0.0), (2.5, 2.0), (0.5, 2.0)])
    assert polygons_to_rle([square], (3, 4)).area == 4


@pytest.mark.parametrize("seed", range(40))
def test_random_polygons_are_filled_by_the_even_odd_rule(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size_hw = (int(rng.integers(1, 25)), int(rng.integers(1, 25)))
    first, second = rng.uniform(-5, 30, (int(rng.integers(3, 12)), 2)), rng.uniform(-5, 30, (5, 2))
    expected = by_definition(first, size_hw) | by_definition(second, size_hw)
    np.testing.assert_array_equal(polygons_to_mask([first, second], size_hw), expected)


def test_differences_to_pycocotools_are_those_of_its_grid() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        ring = rng.integers(0, 40, (7, 2)).astype(np.float64)
        theirs = coco_mask.merge(coco_mask.frPyObjects([ring.ravel().tolist()], 40, 40))
        ours = polygons_to_rle([ring], (40, 40))
        # Both set the centers inside; on a slanted edge pycocotools rounds to a fifth of a pixel.
        differ = ours.decode() ^ coco_mask.decode(theirs).astype(np.bool_)
        assert differ.sum() <= 0.06 * max(ours.area, 100)


def test_holes_are_excluded_and_polygons_united() -> None:
    def square(low: float, high: float) -> Points:
        return np.array([(low, low), (low, high), (high, high), (high, low)], np.float64)

    assert (
        polygons_to_rle([Polygon(square(0, 6), (square(1, 3), square(4, 5)))], (8, 8)).area
        == 36 - 4 - 1
    )
    assert polygons_to_rle([square(0, 4), square(2, 6)], (8, 8)).area == 16 + 16 - 4
    assert polygons_to_rle([square(0, 4), square(0, 4)], (8, 8)).area == 16


def test_a_bridge_encloses_nothing() -> None:
    square = [(1.0, 1.0), (1.0, 4.0), (4.0, 4.0), (4.0, 1.0)]
    bridge = [(1.0, 1.0), (7.31, 9.07), (1.0, 1.0)]
    assert polygons_to_rle([np.array(square + bridge)], (12, 12)) == polygons_to_rle(
        [np.array(square)], (12, 12)
    )


def test_parts_outside_the_image_are_cut_off() -> None:
    around = np.array([(-9, -9), (-9, 99), (99, 99), (99, -9)])
    beside = np.array([(50, 0), (50, 9), (60, 9), (60, 0)])
    assert polygons_to_mask([around], (3, 5)).all()
    assert not polygons_to_mask([beside], (9, 9)).any()


@pytest.mark.parametrize("points", [0, 1, 2])
def test_fewer_than_three_points_fill_nothing(points: int) -> None:
    assert polygons_to_rle([], (4, 5)).area == 0
    assert polygons_to_rle([np.ones((points, 2))], (4, 5)).area == 0


@pytest.mark.parametrize("ring", [np.zeros(4), np.zeros((4, 3)), np.full((4, 2), np.nan)])
def test_a_ring_of_another_shape_or_not_finite_is_an_error(ring: Points) -> None:
    with pytest.raises(GeometryError, match="ring of shape"):
        polygons_to_rle([ring], (4, 5))
