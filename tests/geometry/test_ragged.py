from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.geometry.ragged import Spans

SIZES = [3, 0, 1, 4]


@pytest.fixture
def spans() -> Spans:
    return Spans(SIZES)


def test_sequences_lie_one_behind_another(spans: Spans) -> None:
    assert spans.starts.tolist() == [0, 3, 3, 4]
    assert spans.ends.tolist() == [3, 3, 4, 8]
    assert (len(spans), spans.total) == (4, 8)
    assert Spans.until(spans.ends).sizes.tolist() == SIZES
    assert [each.tolist() for each in spans.split(np.arange(8))] == [
        [0, 1, 2],
        [],
        [3],
        [4, 5, 6, 7],
    ]


def test_elements_know_their_sequence_and_their_place(spans: Spans) -> None:
    assert spans.owners().tolist() == [0, 0, 0, 2, 3, 3, 3, 3]
    assert spans.places().tolist() == [0, 1, 2, 0, 0, 1, 2, 3]
    assert spans.spread(np.array([7, 8, 9, 6])).tolist() == [7, 7, 7, 9, 6, 6, 6, 6]


def test_sequences_are_rings(spans: Spans) -> None:
    assert spans.previous().tolist() == [2, 0, 1, 3, 7, 4, 5, 6]
    assert spans.following().tolist() == [1, 2, 0, 3, 5, 6, 7, 4]
    first = np.array([1, 0, 3, 7])
    assert spans.turned(first).tolist() == [1, 2, 0, 3, 7, 4, 5, 6]


def test_sums_and_counts_of_empty_sequences_are_zero(spans: Spans) -> None:
    assert spans.sums(np.arange(8)).tolist() == [3, 0, 3, 22]
    assert spans.counts(np.arange(8) % 2 == 0).tolist() == [2, 0, 0, 2]


def test_a_sum_does_not_depend_on_its_neighbors() -> None:
    values = np.random.default_rng(0).random(300)
    alone = Spans([100]).sums(values[100:200])
    large = np.concatenate((values[:100] * 1e15, values[100:]))
    assert Spans([100, 100, 100]).sums(large)[1] == alone[0]


def test_the_first_of_the_highest_is_the_peak() -> None:
    assert Spans([3, 1, 4]).peaks(np.array([5, 9, 9, 2, 0, 0, 3, 1])).tolist() == [1, 3, 6]


def test_sequences_are_chosen_in_any_order(spans: Spans) -> None:
    assert spans.indices(np.array([3, 1, 0])).tolist() == [4, 5, 6, 7, 0, 1, 2]


def test_no_sequences_have_nothing() -> None:
    none = Spans([])
    assert none.total == len(none) == 0
    assert none.sums(np.zeros(0)).shape == none.peaks(np.zeros(0)).shape == (0,)
    assert none.previous().shape == none.places().shape == (0,)
    assert none.split(np.zeros(0)) == []
