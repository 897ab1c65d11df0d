"""Splits depend on content and seed, never on other images."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters.splits import assign_split, check_split, parse_split
from grounded_sam2.store import Item

SPLIT = {"train": 0.8, "val": 0.1, "test": 0.1}


def items(n: int, **fields) -> list[Item]:
    hashes = (hashlib.sha256(bytes([i % 256, i // 256])).hexdigest() for i in range(n))
    return [Item(f"{i}.jpg", None, content_hash=h, **fields) for i, h in enumerate(hashes)]


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("0.8/0.1/0.1", SPLIT),
        ("0.7/0.3", {"train": 0.7, "val": 0.3}),
        ("1", {"train": 1.0}),
        ("0.7/0.2/0.1", {"train": 0.7, "val": 0.2, "test": 0.1}),  # not 1 in binary
        ("0.9/0/0.1", {"train": 0.9, "val": 0.0, "test": 0.1}),
    ],
)
def test_shares_are_read_in_the_order_train_val_test(text, split):
    assert parse_split(text) == split


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0.8/0.3", "sums to 1.1"),
        ("80/10/10", "share 80 of train"),
        ("1.2/-0.2", "share 1.2 of train"),
        ("0.8,0.2", "must be numbers with slashes"),
        ("", "must be numbers with slashes"),
        ("0.4/0.2/0.2/0.2", "at most train/val/test"),
        ("nan/1", "share nan of train"),
    ],
)
def test_an_invalid_split_is_an_error_with_the_reason(text, reason):
    with pytest.raises(ExportError, match=reason):
        parse_split(text)


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden"])
def test_split_names_must_be_folder_names(name):
    with pytest.raises(ExportError, match="is no folder name"):
        check_split({name: 1.0})


def test_images_are_divided_by_the_requested_shares():
    counts = Counter(assign_split(item, SPLIT, seed=0) for item in items(5000))
    assert counts["train"] / 5000 == pytest.approx(0.8, abs=0.02)
    assert counts["val"] / 5000 == pytest.approx(0.1, abs=0.02)


def test_the_split_depends_on_the_content_not_on_the_name():
    a = Item("a.jpg", None, content_hash="11")
    b = Item("other/b.jpg", None, content_hash="11")
    assert all(assign_split(a, SPLIT, s) == assign_split(b, SPLIT, s) for s in range(50))
    assert len({assign_split(item, SPLIT, 0) for item in items(100)}) == 3


def test_another_seed_gives_another_assignment():
    first, second = ([assign_split(item, SPLIT, seed) for item in items(100)] for seed in (0, 1))
    assert first != second


def test_frames_of_one_group_stay_together():
    for group in ("a.mp4", "b.mp4"):
        assert len({assign_split(item, SPLIT, 0) for item in items(100, group=group)}) == 1


def test_a_share_of_zero_gets_no_images():
    split = {"train": 0.5, "val": 0.5, "test": 0.0}
    assert {assign_split(item, split, 0) for item in items(500)} == {"train", "val"}


def folder_split(item_id: str, seed: int = 0) -> str:
    item = Item(item_id, None, content_hash=item_id)
    return assign_split(item, SPLIT, seed, by_folder=True)


def test_by_folder_images_of_a_folder_stay_together():
    splits = {folder: {folder_split(f"{folder}/{i}.jpg") for i in range(9)} for folder in "abcdef"}
    assert all(len(found) == 1 for found in splits.values())
    drawn = {folder_split("a/1.jpg", seed) for seed in range(50)}
    assert drawn == set(SPLIT)


def test_by_folder_a_folder_named_like_a_split_is_that_split():
    assert folder_split("val/a.jpg") == "val"
    assert folder_split("images/test/cats/a.jpg") == "test"
    assert folder_split("train/val/a.jpg") == "train"
    assert {folder_split("a.jpg", seed) for seed in range(50)} == set(SPLIT)
