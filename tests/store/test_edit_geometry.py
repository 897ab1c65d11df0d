"""Masks and boxes that a person draws on an image of 20 × 30 pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fixtures.stored_values import ball, square_mask

from grounded_sam2.errors import StoreError
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.store import Item
from grounded_sam2.store.edit_geometry import outline_of, with_outline

SIZE = (20, 30)
IMAGE = Item("a.jpg", None, size_hw=SIZE)


@pytest.mark.parametrize(
    "mask",
    [
        square_mask(),
        square_mask().decode(),
        np.asfortranarray(square_mask().decode()),
        square_mask().decode().astype(np.uint8) * 255,
    ],
    ids=["run lengths", "bool", "column-major", "uint8"],
)
def test_the_box_is_tight_around_the_mask(mask: Any) -> None:
    assert outline_of(IMAGE, mask, None) == ((5.0, 5.0, 25.0, 15.0), square_mask())


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (np.zeros(SIZE, np.bool_), "no pixels; delete or reject"),
        (np.zeros((0, 30), np.bool_), r"\(h, w\) bool"),
        (np.ones((1, *SIZE), np.bool_), r"array \(1, 20, 30\) of bool; give \(h, w\) bool"),
        (np.ones(SIZE, np.int64), r"int64; give \(h, w\) bool"),
        (np.ones(SIZE, np.float32), r"float32; give \(h, w\) bool"),
        ("mask", r"give \(h, w\) bool"),
        (np.ones((30, 20), np.bool_), r"size \(30, 20\), its image 'a\.jpg' \(20, 30\)"),
        (Rle((30, 20), b"hb0"), r"size \(30, 20\)"),
        (Rle(SIZE, b"zz"), r"'a\.jpg' is damaged.*cut off"),
        (Rle(SIZE, b"0"), r"'a\.jpg' is damaged.*0 pixels instead of 600"),
        (Rle(SIZE, b"hb0"), "no pixels"),
    ],
)
def test_a_mask_that_cannot_be_one_is_refused(mask: Any, reason: str) -> None:
    with pytest.raises(StoreError, match=reason):
        outline_of(IMAGE, mask, None)


@pytest.mark.parametrize(
    ("box", "stored"),
    [
        ([1, 2, 3, 4], (1.0, 2.0, 3.0, 4.0)),
        (np.array([1, 2, 3, 4], np.float32), (1.0, 2.0, 3.0, 4.0)),
        ((-0.001, 2.004, 29.999, 4.006), (0.0, 2.0, 30.0, 4.01)),
        ((-5, -5, 100, 100), (0.0, 0.0, 30.0, 20.0)),
        ((float("-inf"), 0, float("inf"), 20), (0.0, 0.0, 30.0, 20.0)),
    ],
    ids=["list", "array", "rounded", "clipped", "infinite"],
)
def test_a_box_is_clipped_and_rounded_to_hundredths(box: Any, stored: tuple[float, ...]) -> None:
    assert outline_of(IMAGE, None, box) == (stored, None)


@pytest.mark.parametrize(
    "box",
    [
        [30, 0, 40, 10],
        [-10, 0, 0, 10],
        [9, 2, 1, 4],
        [1, 4, 9, 2],
        [1, 2, 1, 4],
        [1, 2, 1.004, 4],
        [float("nan"), 2, 3, 4],
    ],
    ids=["right of it", "left of it", "x swapped", "y swapped", "empty", "too thin", "NaN"],
)
def test_a_box_without_extent_in_the_image_is_refused(box: list[float]) -> None:
    with pytest.raises(StoreError, match=r"no extent inside the 30×20 pixels of 'a\.jpg'; give x1"):
        outline_of(IMAGE, None, box)


@pytest.mark.parametrize(
    "box",
    [[], [1, 2, 3], [1, 2, 3, 4, 5], [[1, 2, 3, 4]], "1234", list("1234"), 7, [1, 2, 3, None]],
)
def test_a_box_of_anything_but_four_numbers_is_refused(box: Any) -> None:
    with pytest.raises(StoreError, match="give four numbers, xyxy in pixels"):
        outline_of(IMAGE, None, box)


@pytest.mark.parametrize(
    ("mask", "box"), [(None, None), (square_mask(), (1, 2, 3, 4))], ids=["neither", "both"]
)
def test_one_of_mask_and_box_is_needed(mask: Any, box: Any) -> None:
    with pytest.raises(StoreError, match=r"'a\.jpg': give a mask or a box, and not both"):
        outline_of(IMAGE, mask, box)


def test_the_quality_of_the_earlier_mask_is_dropped() -> None:
    reshaped = with_outline(ball(), ((1.0, 2.0, 3.0, 4.0), None))
    assert (reshaped.mask, reshaped.mask_quality) == (None, None)
    assert (reshaped.confidence, reshaped.class_name) == (0.75, "ball")
