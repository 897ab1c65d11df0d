"""Comparison of two runs: counts of each class."""

from __future__ import annotations

from typing import Any

import pytest

from grounded_sam2.errors import StoreError
from grounded_sam2.evaluation import ClassComparison, compare_runs
from grounded_sam2.results import Labels, TrackedFrame
from grounded_sam2.store import VideoRecord


def test_matched_missed_and_extra_objects_are_counted_by_class(runs: Any) -> None:
    first = runs.add(
        {
            "a.jpg": [runs.box(0), runs.box(15), runs.box(20, "dog")],
            "b.jpg": [runs.box(0)],
            "only.jpg": [runs.box(0)] * 5,
        }
    )
    second = runs.add(
        {
            "a.jpg": [runs.box(2), runs.box(0, "dog")],
            "b.jpg": [runs.box(0), runs.box(15, "owl")],
            "more.jpg": [runs.box(0)] * 7,
            "more2.jpg": [],
        },
        classes=("owl", "cat", "dog"),
    )
    comparison = compare_runs(runs.store, first, second)
    iou = (8 / 12 + 1) / 2
    assert comparison.classes == (
        ClassComparison("cat", 2, 1, 0, pytest.approx(iou)),
        ClassComparison("dog", 0, 1, 1, None),
        ClassComparison("owl", 0, 0, 1, None),
    )
    assert comparison.total == ClassComparison("all classes", 2, 2, 2, pytest.approx(iou))
    assert (comparison.first, comparison.second) == (first, second)
    assert (comparison.images, comparison.images_only_first, comparison.images_only_second) == (
        2,
        1,
        2,
    )


def test_swapping_the_runs_swaps_missed_and_extra(runs: Any) -> None:
    first = runs.add({"a.jpg": [runs.box(0), runs.box(15)]})
    second = runs.add({"a.jpg": [runs.box(0)]})
    one = compare_runs(runs.store, first, second).total
    other = compare_runs(runs.store, second, first).total
    assert (one.missed, one.extra) == (other.extra, other.missed) == (1, 0)


def test_runs_without_common_images_compare_nothing(runs: Any) -> None:
    first, second = runs.add({"a.jpg": [runs.box(0)]}), runs.add({"b.jpg": []})
    comparison = compare_runs(runs.store, first, second)
    assert (comparison.images, comparison.images_only_first, comparison.images_only_second) == (
        0,
        1,
        1,
    )
    assert comparison.total == ClassComparison("all classes", 0, 0, 0, None)


@pytest.mark.parametrize(
    ("second", "min_iou", "message"),
    [(7, 0.5, "has no run 7"), (1, 0.5, "two runs"), (2, 1.5, "between 0 and 1")],
)
def test_a_missing_run_equal_runs_and_an_invalid_iou_are_refused(
    runs: Any, second: int, min_iou: float, message: str
) -> None:
    runs.add({"a.jpg": []})
    runs.add({"a.jpg": []})
    with pytest.raises(StoreError, match=message):
        compare_runs(runs.store, 1, second, min_iou=min_iou)


def test_frames_of_a_video_are_matched_by_index(runs: Any) -> None:
    ids = [runs.add({}), runs.add({})]
    for run_id, name, lefts in ((ids[0], "a", (0, 15)), (ids[1], "b", (15, 15))):
        runs.store.begin_video(run_id, VideoRecord(name, None, (20, 30), content_hash="same"))
        frames = [
            TrackedFrame(index, index / 25, Labels((20, 30), (runs.box(left),)))
            for index, left in enumerate(lefts)
        ]
        runs.store.write_frames(run_id, name, frames)
    comparison = compare_runs(runs.store, *ids)
    assert (comparison.images, comparison.images_only_first, comparison.images_only_second) == (
        2,
        0,
        0,
    )
    assert comparison.total.matched == 1
