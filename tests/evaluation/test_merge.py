"""Merging of two runs: the union of images and objects, matches once."""

from __future__ import annotations

from typing import Any

import pytest

from grounded_sam2.errors import StoreError
from grounded_sam2.evaluation import merge_runs
from grounded_sam2.results import Label
from grounded_sam2.store import LabelStore, VideoRecord


def merge(runs: Any, first: int, second: int, **options: Any) -> dict[str, list[Label]]:
    """Merge two runs; return the objects of the merged run by image."""
    runs.store.close()
    merge_runs(runs.folder, first, second, **options)
    runs.store = LabelStore.open(runs.folder)
    return runs.objects()


def test_images_of_either_run_are_kept(runs: Any) -> None:
    first = runs.add({"a.jpg": [runs.box(0)], "b.jpg": []})
    second = runs.add({"c.jpg": [runs.box(15)], "d.jpg": []})
    assert merge(runs, first, second) == {
        "a.jpg": [runs.box(0)],
        "b.jpg": [],
        "c.jpg": [runs.box(15)],
        "d.jpg": [],
    }


def test_an_image_of_both_runs_has_its_name_in_the_first(runs: Any) -> None:
    first = runs.add({"a.jpg": [runs.box(0)]}, content={"a.jpg": "x"})
    second = runs.add({"train/7.jpg": [runs.box(15)]}, content={"train/7.jpg": "x"})
    assert merge(runs, first, second) == {"a.jpg": [runs.box(0), runs.box(15)]}


def test_different_images_of_one_name_get_distinct_ids(runs: Any) -> None:
    first = runs.add({"a.jpg": [runs.box(0)]}, content={"a.jpg": "x"})
    second = runs.add({"a.jpg": [runs.box(15)]}, content={"a.jpg": "y"})
    merged = merge(runs, first, second)
    assert merged == {"a.jpg": [runs.box(0)], f"a-run-{second}.jpg": [runs.box(15)]}


@pytest.mark.parametrize(
    ("first_by", "second_by", "kept"),
    [
        ("model", "model", "first"),
        ("human", "human", "first"),
        ("human", "model", "first"),
        ("model", "human", "second"),
    ],
)
def test_of_two_matching_labels_the_human_one_is_kept(
    runs: Any, first_by: str, second_by: str, kept: str
) -> None:
    one, other = runs.box(0, origin=first_by), runs.box(1, origin=second_by)
    first, second = runs.add({"a.jpg": [one]}), runs.add({"a.jpg": [other]})
    assert merge(runs, first, second) == {"a.jpg": [one if kept == "first" else other]}


def test_unmatched_objects_are_all_kept_in_order(runs: Any) -> None:
    first = runs.add({"a.jpg": [runs.box(15), runs.box(0)]})
    second = runs.add({"a.jpg": [runs.box(0, "dog"), runs.box(7), runs.box(15, origin="human")]})
    assert merge(runs, first, second)["a.jpg"] == [
        runs.box(15, origin="human"),
        runs.box(0),
        runs.box(0, "dog"),
        runs.box(7),
    ]


def test_the_minimum_iou_decides_what_matches(runs: Any) -> None:
    first, second = runs.add({"a.jpg": [runs.box(0)]}), runs.add({"a.jpg": [runs.box(4)]})
    assert merge(runs, first, second, min_iou=0.4) == {"a.jpg": [runs.box(0)]}


def test_classes_of_the_first_run_come_before_those_of_the_second(runs: Any) -> None:
    first = runs.add({"a.jpg": []}, classes=("dog", "cat"))
    second = runs.add({"a.jpg": []}, classes=("owl", "cat"))
    merge(runs, first, second)
    assert runs.store.classes() == ["dog", "cat", "owl"]


def test_a_repeated_merge_updates_the_same_run(runs: Any) -> None:
    first = runs.add({"a.jpg": [runs.box(0)]})
    second = runs.add({"b.jpg": [], "c.jpg": []})
    merge(runs, first, second)
    merged = runs.store.run()
    assert merged.config.models == {"merge of runs": f"{first}, {second}"}
    runs.store.close()
    runs.store = LabelStore.create(runs.folder)
    runs.store.register_items(second, [("c.jpg", None)], prune=True)
    assert list(merge(runs, first, second)) == ["a.jpg", "c.jpg"]
    assert runs.store.run().id == merged.id
    assert len(runs.store.runs()) == 3


def test_the_merged_runs_are_unchanged(runs: Any) -> None:
    first, second = runs.add({"a.jpg": [runs.box(0)]}), runs.add({"a.jpg": [runs.masked(0)]})
    before = runs.objects(first), runs.objects(second)
    merge(runs, first, second)
    assert (runs.objects(first), runs.objects(second)) == before


def test_a_merged_run_can_be_merged_again(runs: Any) -> None:
    first, second = runs.add({"a.jpg": [runs.box(0)]}), runs.add({"a.jpg": [runs.box(10)]})
    third = runs.add({"a.jpg": [runs.box(20)]})
    merge(runs, first, second)
    merged = merge(runs, runs.store.run().id, third)
    assert merged == {"a.jpg": [runs.box(0), runs.box(10), runs.box(20)]}


def test_a_missing_run_equal_runs_and_a_missing_store_are_refused(runs: Any, tmp_path: Any) -> None:
    first = runs.add({"a.jpg": []})
    runs.store.close()
    with pytest.raises(StoreError, match="has no run 7"):
        merge_runs(runs.folder, first, 7)
    with pytest.raises(StoreError, match="give two runs"):
        merge_runs(runs.folder, first, first)
    with pytest.raises(StoreError, match="holds no labels"):
        merge_runs(tmp_path / "absent", 1, 2)
    assert not (tmp_path / "absent").exists()


def test_runs_with_videos_are_refused(runs: Any) -> None:
    first, second = runs.add({"a.jpg": []}), runs.add({})
    runs.store.begin_video(second, VideoRecord("clip", None, size_hw=(20, 30)))
    runs.store.close()
    with pytest.raises(StoreError, match=rf"run {second} contains videos.*compare"):
        merge_runs(runs.folder, first, second)
