from __future__ import annotations

import numpy as np
import pytest
from fixtures.masks import Mask, Points

from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry.polygons.simplification import kept_points, simplify_ring
from grounded_sam2.geometry.polygons.tracing import exact_polygons


def distance_to(ring: Points, points: Points) -> Points:
    """Distance of each point to the nearest point of a ring, by brute force."""
    begin, end = ring, np.roll(ring, -1, axis=0)
    along = end - begin
    squared = np.maximum((along**2).sum(axis=1), 1e-12)
    share = ((points[:, None] - begin) * along).sum(axis=2) / squared
    nearest = begin + np.clip(share, 0, 1)[..., None] * along
    distance: Points = np.linalg.norm(points[:, None] - nearest, axis=2).min(axis=1)
    return distance


def along(ring: Points) -> Points:
    """The points of a ring and others between them."""
    sides = np.roll(ring, -1, axis=0) - ring
    return np.concatenate([ring + share * sides for share in (0, 0.25, 0.5, 0.75)])


@pytest.mark.parametrize("tolerance", [0.0, 0.3, 0.5, 1.0, 1.5, 4.0, 30.0])
def test_neither_ring_is_further_from_the_other_than_the_tolerance(
    dense: Mask, tolerance: float
) -> None:
    for polygon in exact_polygons(dense)[:5]:
        for ring in (polygon.exterior, *polygon.holes[:5]):
            coarse = simplify_ring(ring, tolerance)
            assert distance_to(coarse, along(ring)).max() <= tolerance + 1e-6
            assert distance_to(ring, along(coarse)).max() <= tolerance + 1e-6


def test_the_bound_holds_for_a_chain_that_extends_beyond_its_ends() -> None:
    # Near the line through the first and the last point, but far from the segment between them.
    spike = np.array([(0, 0), (1, 0), (1, 1), (40, 1), (40, 2), (1, 2), (1, 3), (0, 3)], np.float64)
    for tolerance in (0.5, 1.0, 2.0, 3.0):
        assert distance_to(simplify_ring(spike, tolerance), along(spike)).max() <= tolerance


def test_a_jagged_edge_becomes_straight() -> None:
    stairs = np.array(
        [(0, 0), *((i + j, i + 1) for i in range(50) for j in (0, 1)), (50, 0)], float
    )
    assert simplify_ring(stairs, 1.0).tolist() == [[0, 0], [50, 50], [50, 0]]


def test_points_stay_in_order(dense: Mask) -> None:
    for polygon in exact_polygons(dense):
        kept = kept_points(polygon.exterior, 1.0)
        np.testing.assert_array_equal(simplify_ring(polygon.exterior, 1.0), polygon.exterior[kept])


def test_at_least_three_points_stay(dense: Mask) -> None:
    for polygon in exact_polygons(dense):
        coarse = simplify_ring(polygon.exterior, 1e6)
        assert len(coarse) == 3
        first, second = coarse[1:] - coarse[0]
        assert first[0] * second[1] != first[1] * second[0], "not on one line"


def test_anchored_points_stay() -> None:
    ring = np.array([(0, 0), (0, 5), (0, 10), (10, 10), (10, 5), (10, 0)], np.float64)
    anchored = np.array([False, True, False, False, False, False])
    assert simplify_ring(ring, 1.0).tolist() == [[0, 0], [0, 10], [10, 10], [10, 0]]
    assert simplify_ring(ring, 1.0, anchored).tolist() == [
        [0, 0],
        [0, 5],
        [0, 10],
        [10, 10],
        [10, 0],
    ]
    assert [0, 5] in simplify_ring(ring, 100.0, anchored).tolist()


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_rings_of_up_to_three_points_stay_unchanged(count: int) -> None:
    assert len(simplify_ring(np.zeros((count, 2)), 1.0)) == count


def test_coincident_points_terminate() -> None:
    same = np.ones((9, 2))
    assert 3 <= len(simplify_ring(same, 1.0)) <= 9
    assert 3 <= len(simplify_ring(np.concatenate((same, same + 5)), 100.0)) <= 18


def test_wrong_arguments_are_an_error() -> None:
    with pytest.raises(GeometryError, match=r"shape \(4,\)"):
        simplify_ring(np.zeros(4), 1.0)
    for tolerance in (-1.0, float("nan")):
        with pytest.raises(GeometryError, match="tolerance"):
            simplify_ring(np.zeros((4, 2)), tolerance)
