from __future__ import annotations

import numpy as np
import pytest
from fixtures.masks import Mask, Points, square

from grounded_sam2.geometry.polygons.polygon_batch import to_complex
from grounded_sam2.geometry.polygons.rasterization import polygons_to_rle
from grounded_sam2.geometry.polygons.ring_bridging import bridge_rings, bridged_traversal_batch
from grounded_sam2.geometry.polygons.tracing import exact_polygons
from grounded_sam2.geometry.ragged import RaggedOffsets
from grounded_sam2.geometry.rle import encode


def all_rings(dense: Mask) -> list[Points]:
    return [
        ring for polygon in exact_polygons(dense) for ring in (polygon.exterior, *polygon.holes)
    ]


@pytest.mark.parametrize(
    ("corners_only_above", "max_pairs"),
    [
        pytest.param(0, 0, id="at corners"),
        pytest.param(10**9, 0, id="at any points"),
        pytest.param(10**9, 10**9, id="all pairs of points of two rings compared"),
    ],
)
def test_the_joined_ring_encloses_the_same_pixels(
    dense: Mask, corners_only_above: int, max_pairs: int
) -> None:
    joined, _ = bridge_rings(
        all_rings(dense), corners_only_above=corners_only_above, max_pairs=max_pairs
    )
    assert polygons_to_rle([joined], (dense.shape[0], dense.shape[1])) == encode(dense)[0]


def test_each_bridge_adds_two_points(dense: Mask) -> None:
    separate = all_rings(dense)
    joined, ends = bridge_rings(separate)
    count = sum(map(len, separate))
    assert len(joined) == len(ends) == count + 2 * max(len(separate) - 1, 0)


def test_a_bridge_leads_from_corner_to_nearest_corner_and_back() -> None:
    joined, ends = bridge_rings([square(0, 0, 2), square(5, 0, 2)])
    steps = np.linalg.norm(joined - np.roll(joined, 1, axis=0), axis=1)
    assert sorted(steps.tolist()) == [2] * 8 + [3] * 2
    assert ends.sum() == 4
    assert set(map(tuple, joined[ends])) in ({(2, 0), (5, 0)}, {(2, 2), (5, 2)})


def test_bridges_lead_to_the_nearest_ring() -> None:
    joined, _ = bridge_rings([square(0, 0, 2), square(40, 0, 2), square(20, 0, 2)])
    steps = np.linalg.norm(joined - np.roll(joined, 1, axis=0), axis=1)
    assert steps.max() == 18


def test_rings_that_touch_are_joined_where_they_touch() -> None:
    joined, _ = bridge_rings([square(0, 0, 2), square(2, 2, 2)])
    steps = np.linalg.norm(joined - np.roll(joined, 1, axis=0), axis=1)
    assert sorted(steps.tolist()) == [0] * 2 + [2] * 8


def test_a_single_ring_stays_and_no_rings_give_none() -> None:
    joined, ends = bridge_rings([square(1, 2, 3)])
    assert joined.tolist() == square(1, 2, 3).tolist()
    assert not ends.any()
    joined, ends = bridge_rings([])
    assert joined.shape == (0, 2)
    assert ends.shape == (0,)


@pytest.mark.parametrize("seed", range(20))
def test_two_rings_are_joined_where_they_are_nearest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 60, (200, 2)), rng.integers(20, 200, (90, 2))
    joined, ends = bridge_rings([first.astype(np.float64), second.astype(np.float64)])
    begin, end = joined[ends][:2]
    nearest = np.linalg.norm(first[:, None] - second, axis=2).min()
    assert np.linalg.norm(begin - end) == nearest


def test_a_batch_joins_the_rings_of_each_group_separately(scattered: Mask, holed: Mask) -> None:
    groups = [all_rings(scattered), [square(0, 0, 3)], [], all_rings(holed)]
    rings = [ring for group in groups for ring in group]
    points = np.concatenate(rings)
    order, offsets, ends = bridged_traversal_batch(
        to_complex(points),
        RaggedOffsets([len(ring) for ring in rings]),
        RaggedOffsets([len(g) for g in groups]),
    )
    for group, indices, at_bridge in zip(
        groups, offsets.split(order), offsets.split(ends), strict=True
    ):
        joined, expected = bridge_rings(group)
        np.testing.assert_array_equal(points[indices], joined)
        np.testing.assert_array_equal(at_bridge, expected)
