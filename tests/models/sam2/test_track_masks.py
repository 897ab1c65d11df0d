"""What a tracker says of objects that claim the same pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from grounded_sam2.models.sam2.track_masks import Sam2FrameMasks

SIDE = 16


def said(*objects: dict[tuple[int, int], float], threshold: float = 0.0) -> Sam2FrameMasks:
    """Objects 1, 2 …: logits of ranges of columns; -4 elsewhere."""
    logits = torch.full((len(objects), SIDE, SIDE), -4.0)
    for row, claims in enumerate(objects):
        for (left, right), logit in claims.items():
            logits[row, :, left:right] = logit
    count = len(objects)
    return Sam2FrameMasks(
        tuple(range(1, count + 1)),
        np.full(count, 0.9, np.float32),
        np.full(count, 3, np.float32),
        logits,
        torch.zeros(count, 8),
        (SIDE, SIDE),
        threshold,
    )


def columns(answers: Sam2FrameMasks) -> list[list[int]]:
    return [np.flatnonzero(mask.decode().any(0)).tolist() for mask in answers.to_rles()]


def span(*ranges: tuple[int, int]) -> list[int]:
    return [column for left, right in ranges for column in range(left, right)]


def test_a_pixel_is_the_surer_ones():
    answers = said({(0, 8): 3.0, (8, 10): 1.0}, {(7, 16): 2.0})
    apart = answers.without_overlaps([(1, 2)])
    assert columns(apart) == [span((0, 8)), span((8, 16))]
    assert columns(answers) == [span((0, 10)), span((7, 16))], "nothing is changed in place"
    assert apart.score.tolist() == [3, 3]


def test_the_border_lies_where_both_are_equally_sure():
    apart = said({(0, 12): 3.0}, {(4, 16): 3.5}).without_overlaps([(1, 2)])
    first, second = apart.logits
    both = slice(4, 12)
    torch.testing.assert_close(first[:, both], -second[:, both])


@pytest.mark.parametrize("groups", [[], [(1,), (2,)], [(1, 7), (2, 8)]])
def test_objects_of_different_groups_share(groups):
    answers = said({(0, 10): 3.0}, {(5, 16): 2.0})
    assert columns(answers.without_overlaps(groups)) == columns(answers)


def test_what_keeps_little_was_mistaken_for_another():
    apart = said({(0, 10): 3.0}, {(0, 11): 2.0}).without_overlaps([(1, 2)])
    assert columns(apart) == [span((0, 10)), []]
    assert apart.score[0] > 0 > apart.score[1]


def test_a_mask_that_has_spilled_gives_back_what_it_covers():
    """However sure it is there: the other one would be left with nothing."""
    apart = said({(0, 14): 5.0}, {(8, 14): 1.0}).without_overlaps([(1, 2)])
    assert columns(apart) == [span((0, 8)), span((8, 14))]


def test_who_yields_leaves_what_others_claim():
    answers = said({(0, 9): 1.0}, {(6, 16): 4.0})
    assert columns(answers.without_overlaps([(1, 2)], yielding=[2])) == [
        span((0, 9)),
        span((9, 16)),
    ]


def test_what_both_claim_is_its_owners():
    answers = said({(0, 9): 1.0}, {(6, 16): 4.0})
    assert columns(answers.without_overlaps([(1, 2)], owners=[(1, 2)])) == [
        span((0, 9)),
        span((9, 16)),
    ]
    assert columns(answers.without_overlaps([(1, 2)], [1], [(1, 2)])) == [
        span((0, 9)),
        span((9, 16)),
    ]
    assert columns(answers.without_overlaps([(1, 2)], owners=[(7, 2)])) == [
        span((0, 6)),
        span((6, 16)),
    ]


def test_an_inner_mask_is_not_in_front_of_its_owner():
    answers = said({(0, 16): 1.0}, {(4, 8): 4.0})
    assert columns(answers.without_overlaps([(1, 2)])) == [span((0, 4), (8, 16)), span((4, 8))]
    assert columns(answers.without_overlaps([(1, 2)], owners=[(1, 2)])) == [span((0, 16)), []]


def test_three_share_out_what_they_claim():
    apart = said({(0, 7): 2.0}, {(4, 12): 3.0}, {(9, 16): 4.0}).without_overlaps([(1, 2, 3)])
    assert columns(apart) == [span((0, 4)), span((4, 9)), span((9, 16))]


def test_they_are_measured_from_the_threshold():
    apart = said({(0, 10): 3.0}, {(6, 16): 2.0}, threshold=1.0).without_overlaps([(1, 2)])
    assert columns(apart) == [span((0, 10)), span((10, 16))]


def test_what_is_said_to_be_absent_is():
    answers = said({(0, 8): 3.0}, {(8, 16): 3.0})
    gone = answers.mark_absent([2, 5])
    assert columns(gone) == [span((0, 8)), []]
    assert gone.score.tolist() == [3, -3]
    assert answers.mark_absent([5]) is answers
