"""Validation of prompts and their layout as rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from grounded_sam2.errors import PromptError
from grounded_sam2.models.sam2.prompts import Prompts, rows_by_form

BOX = [[1, 2, 3, 4]]
POINT = {"points_xy": [[[5, 6]]], "point_labels": [[1]]}


def test_there_are_no_prompts_by_default() -> None:
    assert len(Prompts()) == 0


@pytest.mark.parametrize("empty", [[], np.zeros((0, 4)), np.zeros((0, 4), np.int32)])
def test_no_boxes(empty: Any) -> None:
    prompts = Prompts(boxes_xyxy=empty)
    assert len(prompts) == 0
    assert prompts.boxes_xyxy is not None
    assert prompts.boxes_xyxy.shape == (0, 4)


def test_plain_lists_and_integers_become_arrays() -> None:
    prompts = Prompts(boxes_xyxy=BOX, **POINT)
    assert prompts.boxes_xyxy.dtype == np.float32
    assert prompts.point_labels.dtype == np.int64
    assert prompts.form == (True, 1, False)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"boxes_xyxy": [1, 2, 3, 4]}, r"boxes_xyxy has shape \(4,\); expected \(n, 4\)"),
        ({"boxes_xyxy": [[1, 2, 3]]}, r"\(1, 3\); expected \(n, 4\)"),
        ({"boxes_xyxy": ["left"]}, "not an array of numbers"),
        ({"boxes_xyxy": [[1, 2, 3, 4], [0, 0, np.nan, 1]]}, r"boxes_xyxy\[1, 2\] is nan"),
        ({"boxes_xyxy": [[1, 2, 3, 4], [5, 0, 4, 1]]}, r"boxes_xyxy\[1\] is .* x1 ≤ x2"),
        ({"points_xy": [[[5, 6]]]}, "belong together"),
        ({"point_labels": [[1]]}, "belong together"),
        ({"points_xy": [[5, 6]], "point_labels": [[1]]}, r"expected \(n, p, 2\)"),
        ({"points_xy": [[[5, 6]]], "point_labels": [[1, 1]]}, r"shape \(1, 1, 2\) need"),
        ({"points_xy": np.zeros((1, 0, 2)), "point_labels": np.zeros((1, 0))}, "p ≥ 1"),
        ({"points_xy": [[[5, 6]]], "point_labels": [[2]]}, "label 2: expected 1, 0 or -1"),
        ({"boxes_xyxy": BOX * 2, **POINT}, "'boxes_xyxy': 2, 'points_xy': 1"),
        ({"mask_logits": np.zeros((4, 4))}, r"expected \(n, h, w\)"),
    ],
)
def test_invalid_prompts(given: dict[str, Any], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        Prompts(**given)


def test_a_box_without_area_is_a_prompt() -> None:
    assert len(Prompts(boxes_xyxy=[[3, 3, 3, 3]])) == 1


def test_rows_have_the_index_of_their_image_and_model_coordinates() -> None:
    prompts = [Prompts(boxes_xyxy=BOX * 2), Prompts(), Prompts(boxes_xyxy=BOX)]
    [rows] = rows_by_form(prompts, [(32, 128), (5, 5), (64, 64)], side=64)
    assert rows.image.tolist() == [0, 0, 2]
    assert list(rows.by_image()) == [(0, slice(0, 2)), (2, slice(2, 3))]
    assert rows.boxes_xyxy.tolist() == [[0.5, 4, 1.5, 8], [0.5, 4, 1.5, 8], [1, 2, 3, 4]]


def test_prompts_are_grouped_by_form() -> None:
    two_points = {"points_xy": [[[5, 6], [7, 8]]], "point_labels": [[1, 0]]}
    prompts = [
        Prompts(boxes_xyxy=BOX),
        Prompts(**POINT),
        Prompts(**two_points),
        Prompts(boxes_xyxy=BOX, **POINT),
        Prompts(boxes_xyxy=BOX, mask_logits=np.zeros((1, 4, 4))),
        Prompts(boxes_xyxy=BOX),
    ]
    groups = rows_by_form(prompts, [(64, 64)] * 6, side=64)
    assert [rows.image.tolist() for rows in groups] == [[0, 5], [1], [2], [3], [4]]
    assert groups[2].points_xy.tolist() == two_points["points_xy"]
    assert groups[2].point_labels.tolist() == two_points["point_labels"]
    assert groups[1].boxes_xyxy is None


def test_some_of_the_rows() -> None:
    prompts = [
        Prompts(boxes_xyxy=[[0, 0, n, n] for n in range(4)], mask_logits=np.zeros((4, 1, 1)))
    ]
    [rows] = rows_by_form(prompts, [(64, 64)], side=64)
    some = rows.take(np.array([1, 3]))
    assert len(some) == 2
    assert some.boxes_xyxy[:, 2].tolist() == [1, 3]
    assert list(some.by_image()) == [(0, slice(0, 2))]
    assert some.mask_logits.shape == (2, 1, 1)
    assert some.points_xy is None


def test_nothing_asked_is_no_rows() -> None:
    assert rows_by_form([Prompts(), Prompts()], [(5, 5)] * 2, side=64) == []
