from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry.matching import match_greedy, match_optimal, nms

# Greedy matching takes 0.9 and leaves 0.1 for the other row; the sum of 0.8 and 0.7 is higher.
CONTESTED = np.array([[0.9, 0.8], [0.7, 0.1]])


def test_greedy_matching_takes_the_highest_iou_first() -> None:
    assert match_greedy(CONTESTED, 0.05).tolist() == [[0, 0], [1, 1]]
    assert match_greedy(CONTESTED, 0.5).tolist() == [[0, 0]]


def test_optimal_matching_maximizes_the_sum() -> None:
    assert match_optimal(CONTESTED, 0.05).tolist() == [[0, 1], [1, 0]]
    assert match_optimal(CONTESTED, 0.5).tolist() == [[0, 1], [1, 0]]


def test_pairs_below_the_threshold_do_not_take_the_partners_of_others() -> None:
    iou = np.array([[0.6, 0.49], [0.49, 0.0]])
    assert match_optimal(iou, 0.5).tolist() == [[0, 0]]


@pytest.mark.parametrize("match", [match_greedy, match_optimal])
def test_an_iou_equal_to_the_threshold_matches_and_an_iou_of_zero_never(match) -> None:  # type: ignore[no-untyped-def]
    iou = np.array([[0.5, 0.0], [0.0, 0.0]])
    assert match(iou, 0.5).tolist() == [[0, 0]]
    assert match(iou, 0.0).tolist() == [[0, 0]]


@pytest.mark.parametrize("match", [match_greedy, match_optimal])
@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_an_empty_matrix_has_no_matches(match, shape: tuple[int, int]) -> None:  # type: ignore[no-untyped-def]
    assert match(np.zeros(shape), 0.5).shape == (0, 2)


def test_greedy_matching_prefers_the_earlier_of_equals() -> None:
    assert match_greedy(np.full((2, 3), 0.7), 0.5).tolist() == [[0, 0], [1, 1]]


def test_matrices_need_not_be_square() -> None:
    iou = np.array([[0.1, 0.2, 0.9]])
    assert match_optimal(iou, 0.5).tolist() == match_greedy(iou, 0.5).tolist() == [[0, 2]]


CHAIN = np.array([[1, 0.6, 0], [0.6, 1, 0.6], [0, 0.6, 1]])


def test_nms_keeps_the_highest_score_of_overlapping_elements() -> None:
    assert nms(CHAIN, [0.5, 0.9, 0.8], 0.5).tolist() == [1]
    assert nms(CHAIN, [0.5, 0.9, 0.8], 0.6).tolist() == [1], "equality suppresses"
    assert nms(CHAIN, [0.5, 0.9, 0.8], 0.61).tolist() == [1, 2, 0]


def test_suppressed_elements_suppress_nothing() -> None:
    assert nms(CHAIN, [0.9, 0.8, 0.7], 0.5).tolist() == [0, 2]


def test_nms_keeps_the_earlier_of_equals() -> None:
    assert nms(CHAIN, [0.5, 0.5, 0.5], 0.5).tolist() == [0, 2]


def test_elements_of_different_classes_do_not_suppress_each_other() -> None:
    assert nms(CHAIN, [0.9, 0.8, 0.7], 0.5, ["cat", "dog", "dog"]).tolist() == [0, 1]


def test_each_pair_may_have_its_own_threshold() -> None:
    limits = np.full((3, 3), np.inf)
    limits[0, 1] = limits[1, 0] = 0.5
    assert nms(CHAIN, [0.9, 0.8, 0.7], limits).tolist() == [0, 2]
    limits[:] = np.inf
    assert nms(CHAIN, [0.9, 0.8, 0.7], limits).tolist() == [0, 1, 2]


def test_an_iou_of_zero_never_suppresses() -> None:
    assert nms(np.eye(2), [0.9, 0.8], 0.0).tolist() == [0, 1]


def test_nms_of_no_elements() -> None:
    assert nms(np.zeros((0, 0)), [], 0.5).shape == (0,)


def test_shapes_that_do_not_match_are_an_error() -> None:
    with pytest.raises(GeometryError, match="for 2 scores"):
        nms(CHAIN, [0.1, 0.2], 0.5)
