from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry import boxes


def test_xyxy_converts_to_xywh_and_back() -> None:
    assert boxes.to_xywh([(1, 2, 4, 8.5)]).tolist() == [[1, 2, 3, 6.5]]
    assert boxes.from_xywh([(1, 2, 3, 6.5)]).tolist() == [[1, 2, 4, 8.5]]


def test_the_area_of_a_box_with_swapped_corners_is_zero() -> None:
    assert boxes.areas([(0, 0, 3, 4), (3, 4, 0, 0), (1, 1, 1, 5)]).tolist() == [12, 0, 0]


def test_box_iou() -> None:
    a = [(0, 0, 4, 4), (10, 10, 12, 12)]
    b = [(0, 0, 4, 4), (2, 0, 6, 4), (4, 0, 8, 4), (1, 1, 1, 1)]
    np.testing.assert_allclose(boxes.box_iou(a, b), [[1, 1 / 3, 0, 0], [0, 0, 0, 0]])


def test_a_box_without_area_has_iou_zero_with_itself() -> None:
    assert boxes.box_iou([(1, 1, 1, 1)], [(1, 1, 1, 1)]).tolist() == [[0]]


def test_containment_is_relative_to_the_first_box() -> None:
    a = [(0, 0, 4, 4), (2, 0, 10, 4), (1, 1, 1, 1)]
    b = [(0, 0, 4, 4), (0, 0, 20, 20)]
    assert boxes.box_containment(a, b).tolist() == [[1, 1], [0.25, 1], [0, 0]]


def test_clip_keeps_what_is_inside_the_image() -> None:
    clipped = boxes.clip([(-2, -1, 50, 60), (1, 2, 3, 4), (50, 50, 60, 60)], (20, 30))
    assert clipped.tolist() == [[0, 0, 30, 20], [1, 2, 3, 4], [30, 20, 30, 20]]
    assert boxes.valid(clipped).tolist() == [True, True, False]


def test_scale_has_a_factor_for_each_axis() -> None:
    assert boxes.scale([(1, 2, 3, 4)], (2, 10)).tolist() == [[2, 20, 6, 40]]


def test_stored_boxes_have_two_decimals_and_no_negative_zero() -> None:
    stored = boxes.rounded(np.array([(-0.001, 1.2345, 2.0, 3.999)], np.float32))
    assert stored.tolist() == [[0, 1.23, 2, 4]]
    assert not np.signbit(stored[0, 0])


def test_valid_boxes_are_finite_and_have_sides() -> None:
    candidates = [
        (0, 0, 2, 2),
        (0, 0, 2, 0.5),
        (0, 0, 0, 2),
        (2, 2, 0, 0),
        (0, 0, np.nan, 2),
        (0, -np.inf, 2, 2),
        (np.inf, 0, np.inf, 2),
    ]
    assert boxes.valid(candidates).tolist() == [True, True] + [False] * 5
    assert boxes.valid(candidates, min_side=1).tolist() == [True] + [False] * 6


def test_no_boxes_give_empty_results() -> None:
    none = np.zeros((0, 4), np.float32)
    assert boxes.to_xywh(none).shape == boxes.from_xywh([]).shape == (0, 4)
    assert boxes.areas(none).shape == boxes.valid(none).shape == (0,)
    assert boxes.box_iou(none, [(0, 0, 1, 1)]).shape == (0, 1)
    assert boxes.box_iou([(0, 0, 1, 1)], none).shape == (1, 0)
    assert boxes.box_containment(none, [(0, 0, 1, 1)]).shape == (0, 1)
    assert boxes.clip(none, (5, 5)).shape == boxes.scale(none, (1, 1)).shape == (0, 4)
    assert boxes.rounded(none).shape == (0, 4)


@pytest.mark.parametrize("wrong", [(0, 0, 1, 1), [(0, 0, 1)], [[(0, 0, 1, 1)]]])
def test_other_shapes_are_an_error(wrong: object) -> None:
    with pytest.raises(GeometryError, match="expected \\(n, 4\\)"):
        boxes.areas(wrong)  # type: ignore[arg-type]
