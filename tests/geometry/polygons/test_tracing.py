from __future__ import annotations

import numpy as np
from fixtures.masks import Mask, mask
from numpy.typing import NDArray

from grounded_sam2.geometry.polygons.tracing import exact_polygons, has_holes
from grounded_sam2.geometry.rle import encode, encode_crop


def enclosed_area(ring: NDArray[np.float64]) -> float:
    """Positive where the ring runs counter-clockwise on the screen, whose y points down."""
    x, y = ring.T
    return float((np.roll(x, -1) * y - x * np.roll(y, -1)).sum() / 2)


def test_a_pixel_is_a_unit_square() -> None:
    (polygon,) = exact_polygons(mask("...", "..#"))
    assert polygon.exterior.tolist() == [[2, 1], [2, 2], [3, 2], [3, 1]]
    assert polygon.holes == ()


def test_only_corners_are_points() -> None:
    (polygon,) = exact_polygons(mask("###", "#..", "#.."))
    assert polygon.exterior.tolist() == [[0, 0], [0, 3], [1, 3], [1, 1], [3, 1], [3, 0]]


def test_a_hole_belongs_to_the_component_around_it() -> None:
    first, second = exact_polygons(mask("###.####", "#.#.#..#", "###.####"))
    assert first.exterior[0].tolist() == [0, 0]
    assert [hole.tolist() for hole in first.holes] == [[[1, 1], [2, 1], [2, 2], [1, 2]]]
    assert [hole.tolist() for hole in second.holes] == [[[5, 1], [7, 1], [7, 2], [5, 2]]]


def test_a_component_inside_a_hole_is_a_polygon_of_its_own(holed: Mask) -> None:
    around, within = exact_polygons(holed)
    assert [len(polygon.holes) for polygon in (around, within)] == [1, 0]
    assert within.exterior[:, 0].min() > around.holes[0][:, 0].min()


def test_pixels_that_touch_at_a_corner_are_one_component_but_two_holes() -> None:
    assert len(exact_polygons(mask("#.", ".#"))) == 1
    (polygon,) = exact_polygons(mask("#####", "#.###", "##.##", "#####"))
    assert len(polygon.holes) == 2


def test_exteriors_run_counter_clockwise_and_holes_clockwise(dense: Mask) -> None:
    total = 0.0
    for polygon in exact_polygons(dense):
        assert enclosed_area(polygon.exterior) > 0
        total += enclosed_area(polygon.exterior)
        for hole in polygon.holes:
            assert enclosed_area(hole) < 0
            total += enclosed_area(hole)
    assert total == dense.sum()


def test_edges_are_axis_aligned_and_turn_at_every_point(dense: Mask) -> None:
    for polygon in exact_polygons(dense):
        for ring in (polygon.exterior, *polygon.holes):
            sides = np.roll(ring, -1, axis=0) - ring
            horizontal = sides[:, 1] == 0
            assert ((sides != 0).sum(axis=1) == 1).all()
            assert (horizontal != np.roll(horizontal, 1)).all()


def test_rings_start_at_their_top_left_and_polygons_are_ordered(dense: Mask) -> None:
    starts = []
    for polygon in exact_polygons(dense):
        for ring in (polygon.exterior, *polygon.holes):
            assert min(map(tuple, ring[:, ::-1])) == tuple(ring[0, ::-1])
        starts.append(tuple(polygon.exterior[0, ::-1]))
    assert starts == sorted(starts)


def test_a_dense_mask_and_its_rle_have_the_same_polygons(scattered: Mask) -> None:
    for ours, theirs in zip(
        exact_polygons(scattered), exact_polygons(encode(scattered)[0]), strict=True
    ):
        np.testing.assert_array_equal(ours.exterior, theirs.exterior)


def test_an_object_of_a_huge_image_is_traced_at_its_place() -> None:
    huge = encode_crop(mask("##"), (59_998, 49_999), (50_000, 60_000))
    (polygon,) = exact_polygons(huge)
    assert polygon.exterior.tolist() == [
        [59_998, 49_999],
        [59_998, 50_000],
        [60_000, 50_000],
        [60_000, 49_999],
    ]


def test_only_enclosed_background_is_a_hole(holed: Mask, scattered: Mask) -> None:
    assert has_holes(holed)
    assert has_holes(encode(holed)[0])
    assert not has_holes(scattered)
    assert not has_holes(mask("..."))
    assert not has_holes(mask("###", "#.#", "#.#")), "a bay is no hole"
