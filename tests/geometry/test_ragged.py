from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.geometry.ragged import RaggedOffsets

SIZES = [3, 0, 1, 4]


@pytest.fixture
def offsets() -> RaggedOffsets:
    return RaggedOffsets(SIZES)


def test_offsets_follow_from_sizes_or_ends(offsets: RaggedOffsets) -> None:
    assert offsets.starts.tolist() == [0, 3, 3, 4]
    assert offsets.ends.tolist() == [3, 3, 4, 8]
    assert (len(offsets), offsets.total) == (4, 8)
    assert RaggedOffsets.from_ends(offsets.ends).sizes.tolist() == SIZES
    assert [each.tolist() for each in offsets.split(np.arange(8))] == [
        [0, 1, 2],
        [],
        [3],
        [4, 5, 6, 7],
    ]


def test_elements_have_a_segment_id_and_a_local_index(offsets: RaggedOffsets) -> None:
    assert offsets.segment_ids().tolist() == [0, 0, 0, 2, 3, 3, 3, 3]
    assert offsets.local_index().tolist() == [0, 1, 2, 0, 0, 1, 2, 3]
    assert offsets.repeat(np.array([7, 8, 9, 6])).tolist() == [7, 7, 7, 9, 6, 6, 6, 6]


def test_neighbors_and_rolls_are_cyclic(offsets: RaggedOffsets) -> None:
    assert offsets.previous_index().tolist() == [2, 0, 1, 3, 7, 4, 5, 6]
    assert offsets.next_index().tolist() == [1, 2, 0, 3, 5, 6, 7, 4]
    first = np.array([1, 0, 3, 7])
    assert offsets.roll(first).tolist() == [1, 2, 0, 3, 7, 4, 5, 6]


def test_sums_and_counts_of_empty_segments_are_zero(offsets: RaggedOffsets) -> None:
    assert offsets.sum(np.arange(8)).tolist() == [3, 0, 3, 22]
    assert offsets.count(np.arange(8) % 2 == 0).tolist() == [2, 0, 0, 2]


def test_a_sum_does_not_depend_on_other_segments() -> None:
    values = np.random.default_rng(0).random(300)
    alone = RaggedOffsets([100]).sum(values[100:200])
    large = np.concatenate((values[:100] * 1e15, values[100:]))
    assert RaggedOffsets([100, 100, 100]).sum(large)[1] == alone[0]


def test_argmax_is_the_first_of_equal_maxima() -> None:
    assert RaggedOffsets([3, 1, 4]).argmax(np.array([5, 9, 9, 2, 0, 0, 3, 1])).tolist() == [1, 3, 6]


def test_segments_are_selected_in_any_order(offsets: RaggedOffsets) -> None:
    assert offsets.indices(np.array([3, 1, 0])).tolist() == [4, 5, 6, 7, 0, 1, 2]


def test_no_segments_give_empty_results() -> None:
    none = RaggedOffsets([])
    assert none.total == len(none) == 0
    assert none.sum(np.zeros(0)).shape == none.argmax(np.zeros(0)).shape == (0,)
    assert none.previous_index().shape == none.local_index().shape == (0,)
    assert none.split(np.zeros(0)) == []
