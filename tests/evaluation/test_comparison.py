"""What two runs agree on, counted by class."""

from __future__ import annotations

from typing import Any

import pytest

from grounded_sam2.errors import StoreError
from grounded_sam2.evaluation import ClassComparison, compare_runs
from grounded_sam2.results import Labels, TrackedFrame
from grounded_sam2.store import VideoRecord


def test_matched_missed_and_extra(runs: Any) -> None:
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
    compared = compare_runs(runs.store, first, second)
    iou = (8 / 12 + 1) / 2
    assert compared.classes == (
        ClassComparison("cat", 2, 1, 0, pytest.approx(iou)),
        ClassComparison("dog", 0, 1, 1, None),
        ClassComparison("owl", 0, 0, 1, None),
    )
    assert compared.total == ClassComparison("all classes", 2, 2, 2, pytest.approx(iou))
    assert (compared.first, compared.second) == (first, second)
    assert (compared.images, compared.images_only_first, compared.images_only_second) == (2, 1, 2)


def test_the_other_way_round(runs: Any) -> None:
    first = runs.add({"a.jpg": [runs.box(0), runs.box(15)]})
    second = runs.add({"a.jpg": [runs.box(0)]})
    one = compare_runs(runs.store, first, second).total
    other = compare_runs(runs.store, second, first).total
    assert (one.missed, one.extra) == (other.extra, other.missed) == (1, 0)


def test_nothing_in_common(runs: Any) -> None:
    first, second = runs.add({"a.jpg": [runs.box(0)]}), runs.add({"b.jpg": []})
    compared = compare_runs(runs.store, first, second)
    assert (compared.images, compared.images_only_first, compared.images_only_second) == (0, 1, 1)
    assert compared.total == ClassComparison("all classes", 0, 0, 0, None)


@pytest.mark.parametrize(
    ("second", "min_iou", "says"),
    [(7, 0.5, "has no run 7"), (1, 0.5, "two runs"), (2, 1.5, "between 0 and 1")],
)
def test_what_cannot_be_compared(runs: Any, second: int, min_iou: float, says: str) -> None:
    runs.add({"a.jpg": []})
    runs.add({"a.jpg": []})
    with pytest.raises(StoreError, match=says):
        compare_runs(runs.store, 1, second, min_iou=min_iou)


def test_frames_of_a_video_are_told_apart(runs: Any) -> None:
    ids = [runs.add({}), runs.add({})]
    for run_id, name, lefts in ((ids[0], "a", (0, 15)), (ids[1], "b", (15, 15))):
        runs.store.begin_video(run_id, VideoRecord(name, None, (20, 30), content_hash="same"))
        frames = [
            TrackedFrame(index, index / 25, Labels((20, 30), (runs.box(left),)))
            for index, left in enumerate(lefts)
        ]
        runs.store.write_frames(run_id, name, frames)
    compared = compare_runs(runs.store, *ids)
    assert (compared.images, compared.images_only_first, compared.images_only_second) == (2, 0, 0)
    assert compared.total.matched == 1
