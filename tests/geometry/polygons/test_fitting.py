from __future__ import annotations

import numpy as np
import pytest
from fixtures.masks import disc
from numpy.typing import NDArray

from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry.polygons.fitting import fit_polygons, tolerance_schedule
from grounded_sam2.geometry.polygons.polygon_batch import PolygonBatch
from grounded_sam2.geometry.polygons.tracing import trace_masks


def fit(exact: PolygonBatch, metrics, **options) -> PolygonBatch:  # type: ignore[no-untyped-def]
    options.setdefault("masks", np.flatnonzero(exact.polygons_per_mask.sizes))
    options.setdefault("tolerances", [8.0, 2.0, 0.5])
    options.setdefault("anchored", np.zeros(len(exact.points), np.bool_))
    return fit_polygons(exact, min_iou=0.9, metrics=metrics, **options)


def point_counts(polygons: PolygonBatch) -> list[int]:
    return polygons.points_per_mask.sizes.tolist()


@pytest.fixture
def exact() -> PolygonBatch:
    return trace_masks([disc(60), np.zeros((0, 0), np.bool_), disc(40), disc(80)])


def test_each_mask_gets_the_coarsest_tolerance_that_its_metric_accepts(
    exact: PolygonBatch,
) -> None:
    required = np.array([10, 0, 3, 20])
    tried: list[tuple[int, int]] = []

    def has_required_points(polygons: PolygonBatch, masks: NDArray[np.intp]) -> NDArray[np.float64]:
        tried.extend(zip(masks.tolist(), point_counts(polygons), strict=True))
        return (polygons.points_per_mask.sizes >= required[masks]).astype(np.float64)

    fitted = fit(exact, [has_required_points])
    assert point_counts(fitted)[1] == 0
    for mask in (0, 2, 3):
        *too_few, enough = [count for index, count in tried if index == mask]
        assert all(count < required[mask] for count in too_few)
        assert point_counts(fitted)[mask] == enough >= required[mask]
    assert len([index for index, _ in tried if index == 2]) == 1
    assert len([index for index, _ in tried if index == 3]) > 1


def test_polygons_are_exact_if_no_tolerance_is_accepted(exact: PolygonBatch) -> None:
    fitted = fit(exact, [lambda polygons, masks: np.zeros(masks.size)])
    np.testing.assert_array_equal(fitted.points, exact.points)


def test_later_metrics_are_evaluated_only_for_masks_that_the_earlier_accept(
    exact: PolygonBatch,
) -> None:
    evaluated: list[list[int]] = []

    def second(polygons: PolygonBatch, masks: NDArray[np.intp]) -> NDArray[np.float64]:
        evaluated.append(masks.tolist())
        return np.ones(masks.size)

    fit(exact, [lambda polygons, masks: (masks == 2).astype(np.float64), second])
    assert evaluated == [[2], [], []]


def test_metrics_see_the_round_trip_and_the_result_does_not(exact: PolygonBatch) -> None:
    fitted = fit(
        exact,
        [lambda polygons, masks: (polygons.points.real < 0).all() * np.ones(masks.size)],
        round_trip=lambda polygons, masks: polygons.translate(np.full((masks.size, 2), -1000)),
    )
    assert len(fitted.points) < len(exact.points)
    assert fitted.points.real.min() > 0


def test_anchored_points_stay_and_masks_that_are_not_listed_stay_exact(
    exact: PolygonBatch,
) -> None:
    anchored = np.arange(len(exact.points)) % 7 == 3
    fitted = fit(
        exact,
        [lambda polygons, masks: np.ones(masks.size)],
        anchored=anchored,
        masks=np.array([0, 3]),
    )
    assert point_counts(fitted)[2] == point_counts(exact)[2]
    assert np.isin(exact.points[anchored], fitted.points).all()


@pytest.mark.parametrize(
    ("min_iou", "max_tolerance", "first", "last"),
    [(0.98, None, 1, 0.3), (0.9, None, 5, 0.3), (0.999, None, 1, 0.3), (0.98, 10, 10, 0.3)],
)
def test_tolerances_descend_from_what_the_iou_allows_to_the_resolution_of_masks(
    min_iou: float, max_tolerance: float | None, first: float, last: float
) -> None:
    tolerances = tolerance_schedule(min_iou, max_tolerance)
    assert tolerances == sorted(tolerances, reverse=True)
    assert tolerances[0] == pytest.approx(first)
    assert 0.2 < tolerances[-1] <= last


def test_an_iou_of_one_needs_no_tolerance() -> None:
    assert tolerance_schedule(1, None) == []


def test_bounds_out_of_range_are_an_error() -> None:
    with pytest.raises(GeometryError, match="min_iou 98"):
        tolerance_schedule(98, None)
    with pytest.raises(GeometryError, match="max_tolerance -1"):
        tolerance_schedule(0.9, -1)
