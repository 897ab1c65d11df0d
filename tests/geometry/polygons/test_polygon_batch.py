from __future__ import annotations

import numpy as np
from fixtures.masks import square

from grounded_sam2.geometry.polygons.polygon_batch import Polygon, PolygonBatch, to_complex, to_xy

HOLED = Polygon(square(0, 0, 10), (square(2, 2, 3)[::-1], square(6, 6, 2)[::-1]))
MASKS = [[HOLED, Polygon(square(20, 5, 1))], [], [Polygon(square(1, 1, 4))]]


def same(a: list[list[Polygon]], b: list[list[Polygon]]) -> bool:
    def flat(masks: list[list[Polygon]]) -> list[list[list[list[list[float]]]]]:
        return [
            [[ring.tolist() for ring in (polygon.exterior, *polygon.holes)] for polygon in mask]
            for mask in masks
        ]

    return flat(a) == flat(b)


def test_points_convert_to_complex_numbers_and_back() -> None:
    rows = square(1, 2, 3)
    assert to_complex(rows).tolist() == [1 + 2j, 1 + 5j, 4 + 5j, 4 + 2j]
    assert to_xy(to_complex(rows)).tolist() == rows.tolist()
    assert to_xy(to_complex(rows)[::2]).tolist() == rows[::2].tolist()
    assert to_xy(to_complex(np.zeros((0, 2)))).shape == (0, 2)


def test_polygons_convert_to_a_batch_and_back() -> None:
    batch = PolygonBatch.from_polygons(MASKS)
    assert batch.points_per_ring.sizes.tolist() == [4, 4, 4, 4, 4]
    assert batch.rings_per_polygon.sizes.tolist() == [3, 1, 1]
    assert batch.polygons_per_mask.sizes.tolist() == [2, 0, 1]
    assert batch.rings_per_mask.sizes.tolist() == [4, 0, 1]
    assert batch.points_per_mask.sizes.tolist() == [16, 0, 4]
    assert same(batch.to_polygons(), MASKS)


def test_masks_are_selected_in_any_order_and_concatenated() -> None:
    batch = PolygonBatch.from_polygons(MASKS)
    assert same(batch.select(np.array([2, 0])).to_polygons(), [MASKS[2], MASKS[0]])
    assert same(batch.select(np.array([], np.intp)).to_polygons(), [])
    halves = [batch.select(np.array(which)) for which in ([0, 1], [2])]
    assert same(PolygonBatch.concatenate(halves).to_polygons(), MASKS)
    assert (
        batch.points[batch.point_indices(np.array([2]))].tolist()
        == to_complex(square(1, 1, 4)).tolist()
    )


def test_areas_exclude_holes() -> None:
    assert PolygonBatch.from_polygons(MASKS).areas().tolist() == [100 - 9 - 4 + 1, 0, 16]


def test_each_mask_is_translated_by_its_own_offset() -> None:
    moved = (
        PolygonBatch.from_polygons(MASKS)
        .translate(np.array([(100, 200), (7, 7), (0, 3)]))
        .to_polygons()
    )
    assert moved[0][1].exterior[0].tolist() == [120, 205]
    assert moved[2][0].exterior.tolist() == square(1, 4, 4).tolist()


def test_keeping_points_keeps_rings_and_polygons() -> None:
    batch = PolygonBatch.from_polygons(MASKS)
    kept = np.arange(20) % 4 != 3
    thin = batch.keep_points(kept).to_polygons()
    assert thin[0][0].holes[0].tolist() == HOLED.holes[0][:3].tolist()
    assert [len(mask) for mask in thin] == [2, 0, 1]


def test_rings_start_at_their_topmost_point() -> None:
    turned = [[Polygon(np.roll(square(3, 4, 5), 2, axis=0))]]
    assert same(
        PolygonBatch.from_polygons(turned).start_at_top().to_polygons(),
        [[Polygon(square(3, 4, 5))]],
    )
