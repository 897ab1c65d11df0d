from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry.polygons.fitting import fit_polygons, tolerance_schedule
from grounded_sam2.geometry.polygons.polygon_batch import PolygonBatch
from grounded_sam2.geometry.polygons.tracing import trace_masks


def disc(side: int) -> NDArray[np.bool_]:
    centers = np.arange(side) + 0.5 - side / 2
    inside: NDArray[np.bool_] = np.hypot(centers[:, None], centers) < side * 0.45
    return inside


def search(exact: PolygonBatch, metrics, **options) -> PolygonBatch:  # type: ignore[no-untyped-def]
    options.setdefault("which", np.flatnonzero(exact.masks.sizes))
    options.setdefault("tolerances", [8.0, 2.0, 0.5])
    options.setdefault("anchored", np.zeros(len(exact.points), np.bool_))
    return fit_polygons(exact, min_iou=0.9, metrics=metrics, **options)


def sizes(outlines: PolygonBatch) -> list[int]:
    return outlines.points_per_mask.sizes.tolist()


@pytest.fixture
def exact() -> PolygonBatch:
    return trace_masks([disc(60), np.zeros((0, 0), np.bool_), disc(40), disc(80)])


def test_the_coarsest_that_agrees_is_taken_for_each_mask_alone(exact: PolygonBatch) -> None:
    least = np.array([10, 0, 3, 20])
    tried: list[tuple[int, int]] = []

    def larger_ones_need_more(
        outlines: PolygonBatch, which: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        tried.extend(zip(which.tolist(), sizes(outlines), strict=True))
        return (outlines.points_per_mask.sizes >= least[which]).astype(np.float64)

    found = search(exact, [larger_ones_need_more])
    assert sizes(found)[1] == 0
    for index in (0, 2, 3):
        *too_few, enough = [size for number, size in tried if number == index]
        assert all(size < least[index] for size in too_few)
        assert sizes(found)[index] == enough >= least[index]
    assert len([number for number, _ in tried if number == 2]) == 1
    assert len([number for number, _ in tried if number == 3]) > 1


def test_where_nothing_agrees_the_outline_is_exact(exact: PolygonBatch) -> None:
    found = search(exact, [lambda outlines, which: np.zeros(which.size)])
    np.testing.assert_array_equal(found.points, exact.points)


def test_later_agreements_are_asked_of_those_that_passed_only(exact: PolygonBatch) -> None:
    asked: list[list[int]] = []

    def second(outlines: PolygonBatch, which: NDArray[np.intp]) -> NDArray[np.float64]:
        asked.append(which.tolist())
        return np.ones(which.size)

    search(exact, [lambda outlines, which: (which == 2).astype(np.float64), second])
    assert asked == [[2], [], []]


def test_what_is_read_is_judged_and_what_was_written_is_taken(exact: PolygonBatch) -> None:
    found = search(
        exact,
        [lambda outlines, which: (outlines.points.real < 0).all() * np.ones(which.size)],
        round_trip=lambda outlines, which: outlines.translate(np.full((which.size, 2), -1000)),
    )
    assert len(found.points) < len(exact.points)
    assert found.points.real.min() > 0


def test_anchors_stay_and_masks_not_to_be_searched_are_exact(exact: PolygonBatch) -> None:
    anchored = np.arange(len(exact.points)) % 7 == 3
    found = search(
        exact,
        [lambda outlines, which: np.ones(which.size)],
        anchored=anchored,
        which=np.array([0, 3]),
    )
    assert sizes(found)[2] == sizes(exact)[2]
    assert np.isin(exact.points[anchored], found.points).all()


@pytest.mark.parametrize(
    ("min_iou", "largest", "first", "last"),
    [(0.98, None, 1, 0.3), (0.9, None, 5, 0.3), (0.999, None, 1, 0.3), (0.98, 10, 10, 0.3)],
)
def test_tolerances_go_from_what_fits_the_overlap_to_the_grain_of_masks(
    min_iou: float, largest: float | None, first: float, last: float
) -> None:
    tolerances = tolerance_schedule(min_iou, largest)
    assert tolerances == sorted(tolerances, reverse=True)
    assert tolerances[0] == pytest.approx(first)
    assert 0.2 < tolerances[-1] <= last


def test_exact_outlines_need_no_tolerance() -> None:
    assert tolerance_schedule(1, None) == []
    with pytest.raises(GeometryError, match="min_iou 98"):
        tolerance_schedule(98, None)
    with pytest.raises(GeometryError, match="max_tolerance -1"):
        tolerance_schedule(0.9, -1)
