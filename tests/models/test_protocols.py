"""Validation of the tracker's prompts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from grounded_sam2.errors import PromptError
from grounded_sam2.geometry.rle import encode
from grounded_sam2.models.protocols import TrackPrompt

MASK = encode(np.eye(4, dtype=np.bool_))[0]
NO_MASK = encode(np.zeros((4, 4), np.bool_))[0]


def test_lists_become_arrays() -> None:
    prompt = TrackPrompt(box_xyxy=[1, 2, 3, 4], points_xy=[[1, 2]], point_labels=[1])  # type: ignore[arg-type]
    assert prompt.box_xyxy is not None
    assert prompt.points_xy is not None
    assert prompt.point_labels is not None
    assert (prompt.box_xyxy.dtype, prompt.box_xyxy.shape) == (np.float32, (4,))
    assert (prompt.points_xy.dtype, prompt.points_xy.shape) == (np.float32, (1, 2))
    assert (prompt.point_labels.dtype, prompt.point_labels.tolist()) == (np.int64, [1])


@pytest.mark.parametrize(
    "given",
    [
        {"box_xyxy": [0, 0, 1, 1]},
        {"points_xy": [[0, 0], [1, 1]], "point_labels": [1, 0]},
        {"mask": MASK},
    ],
    ids=["box", "points", "mask"],
)
def test_a_box_points_or_a_mask_is_a_prompt(given: dict[str, Any]) -> None:
    TrackPrompt(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "is empty; give a box, points or a mask"),
        ({"mask": MASK, "box_xyxy": [0, 0, 1, 1]}, "without a box or points"),
        ({"mask": NO_MASK}, "has no pixels"),
        ({"points_xy": [[0, 0]]}, "belong together"),
        ({"point_labels": [1]}, "give a box, points or a mask"),
        ({"points_xy": [[0, 0]], "point_labels": [1, 0]}, "1 points_xy with 2 point_labels"),
        ({"points_xy": np.zeros((0, 2)), "point_labels": []}, "at least one point"),
        ({"points_xy": [[0, 0]], "point_labels": [2]}, "point label 2: expected 1 or 0"),
        ({"points_xy": [0, 0], "point_labels": [1]}, r"shape \(2,\); expected \(p, 2\)"),
        ({"box_xyxy": [0, 0, 1]}, r"shape \(3,\); expected \(4\)"),
        ({"box_xyxy": [0, 0, np.nan, 1]}, "give finite values"),
        ({"box_xyxy": [2, 0, 1, 1]}, "expected x1 < x2 and y1 < y2"),
        ({"box_xyxy": [1, 0, 1, 1]}, "expected x1 < x2 and y1 < y2"),
        ({"box_xyxy": "left"}, "not an array of numbers"),
    ],
)
def test_invalid_prompts_are_errors(given: dict[str, Any], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        TrackPrompt(**given)
