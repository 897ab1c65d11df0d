"""Split names, and image ids that begin with a split."""

from __future__ import annotations

import pytest

from grounded_sam2.importers.splits import canonical_split, item_id_in_split, split_in_name


@pytest.mark.parametrize(
    ("name", "canonical", "contained"),
    [
        ("train", "train", "train"),
        ("Training", "train", "train"),
        ("train2017", "train", "train"),
        ("valid", "val", "val"),
        ("validation", "val", "val"),
        ("test", "test", "test"),
        ("instances_val2017", None, "val"),
        ("my_test-v2", None, "test"),
        ("train_val", None, None),
        ("trainers", None, None),
        ("labels", None, None),
        ("", None, None),
    ],
)
def test_a_split_is_found_under_all_its_names(
    name: str, canonical: str | None, contained: str | None
) -> None:
    assert canonical_split(name) == canonical
    assert split_in_name(name) == contained


@pytest.mark.parametrize(
    ("name", "split", "item_id"),
    [
        ("a.png", None, "a.png"),
        ("a.png", "val", "val/a.png"),
        ("sub/a.png", "val", "val/sub/a.png"),
        ("val/a.png", "val", "val/a.png"),
        ("validation/a.png", "val", "val/a.png"),
        ("train/a.png", "val", "val/train/a.png"),
        ("val", "val", "val/val"),
        ("../.././a.png", "val", "val/a.png"),
        ("/a.png", None, "a.png"),
        ("..", None, ""),
    ],
)
def test_an_item_id_begins_with_its_split_once(name: str, split: str | None, item_id: str) -> None:
    assert item_id_in_split(name, split) == item_id
