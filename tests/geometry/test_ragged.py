from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.geometry.ragged import RaggedOffsets

SIZES = [3, 0, 1, 4]


@pytest.fixture
def spans() -> RaggedOffsets:
    return RaggedOffsets(SIZES)


def test_sequences_lie_one_behind_another(spans: RaggedOffsets) -> None:
    assert spans.starts.tolist() == [0, 3, 3, 4]
    assert spans.ends.tolist() == [3, 3, 4, 8]
    assert (len(spans), spans.total) == (4, 8)
    assert RaggedOffsets.from_ends(spans.ends).sizes.tolist() == SIZES
    assert [each.tolist() for each in spans.split(np.arange(8))] == [
        [0, 1, 2],
        [],
        [3],
        [4, 5, 6, 7],
    ]


def test_elements_know_their_sequence_and_their_place(spans: RaggedOffsets) -> None:
    assert spans.segment_ids().tolist() == [0, 0, 0, 2, 3, 3, 3, 3]
    assert spans.local_index().tolist() == [0, 1, 2, 0, 0, 1, 2, 3]
    assert spans.repeat(np.array([7, 8, 9, 6])).tolist() == [7, 7, 7, 9, 6, 6, 6, 6]


def test_sequences_are_rings(spans: RaggedOffsets) -> None:
    assert spans.previous_index().tolist() == [2, 0, 1, 3, 7, 4, 5, 6]
    assert spans.next_index().tolist() == [1, 2, 0, 3, 5, 6, 7, 4]
    first = np.array([1, 0, 3, 7])
    assert spans.roll(first).tolist() == [1, 2, 0, 3, 7, 4, 5, 6]


def test_sums_and_counts_of_empty_sequences_are_zero(spans: RaggedOffsets) -> None:
    assert spans.sum(np.arange(8)).tolist() == [3, 0, 3, 22]
    assert spans.count(np.arange(8) % 2 == 0).tolist() == [2, 0, 0, 2]


def test_a_sum_does_not_depend_on_its_neighbors() -> None:
    values = np.random.default_rng(0).random(300)
    alone = RaggedOffsets([100]).sum(values[100:200])
    large = np.concatenate((values[:100] * 1e15, values[100:]))
    assert RaggedOffsets([100, 100, 100]).sum(large)[1] == alone[0]


def test_the_first_of_the_highest_is_the_peak() -> None:
    assert RaggedOffsets([3, 1, 4]).argmax(np.array([5, 9, 9, 2, 0, 0, 3, 1])).tolist() == [1, 3, 6]


def test_sequences_are_chosen_in_any_order(spans: RaggedOffsets) -> None:
    assert spans.indices(np.array([3, 1, 0])).tolist() == [4, 5, 6, 7, 0, 1, 2]


def test_no_sequences_have_nothing() -> None:
    none = RaggedOffsets([])
    assert none.total == len(none) == 0
    assert none.sum(np.zeros(0)).shape == none.argmax(np.zeros(0)).shape == (0,)
    assert none.previous_index().shape == none.local_index().shape == (0,)
    assert none.split(np.zeros(0)) == []
