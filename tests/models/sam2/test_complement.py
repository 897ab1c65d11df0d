from __future__ import annotations

import pytest
import torch

from grounded_sam2.models.sam2.complement import inverted, is_complement

BOX = (4.0, 4.0, 10.0, 12.0)


def region(top: int, bottom: int, left: int, right: int) -> torch.Tensor:
    """Margins of 16×16 that are 2 in a region and -3 elsewhere."""
    margins = torch.full((16, 16), -3.0)
    margins[top:bottom, left:right] = 2.0
    return margins


THING = region(5, 11, 5, 9)
CASES = {
    "the thing": (THING, BOX, False),
    "everything but the thing": (-THING, BOX, True),
    "nothing": (torch.full((16, 16), -1.0), BOX, False),
    "the whole image": (torch.ones(16, 16), BOX, False),
    "a neighbor": (region(0, 4, 0, 4), BOX, False),
    "half of the outside": (region(0, 16, 10, 16), BOX, False),
    "larger than its box": (region(2, 14, 2, 12), BOX, False),
    "the box is everything": (-THING, (0.0, 0.0, 16.0, 16.0), False),
    "the box has no pixel": (-THING, (6.1, 6.1, 6.3, 6.3), True),
    "the box is off the image": (THING, (20.0, 20.0, 30.0, 30.0), False),
}


@pytest.mark.parametrize(("margins", "box", "expected"), CASES.values(), ids=CASES)
def test_which_masks_are_complements(
    margins: torch.Tensor, box: tuple[float, ...], expected: bool
) -> None:
    assert is_complement(margins[None], torch.tensor([box])).tolist() == [expected]


def test_each_mask_is_judged_by_its_own_box() -> None:
    margins = torch.stack([-THING, THING, -THING])
    boxes = torch.tensor([BOX, BOX, (0.0, 0.0, 16.0, 16.0)])
    assert is_complement(margins, boxes).tolist() == [True, False, False]


def test_no_masks() -> None:
    assert is_complement(torch.zeros(0, 16, 16), torch.zeros(0, 4)).tolist() == []


def test_the_inverse_is_the_thing_and_nothing_outside_its_box() -> None:
    answer = -THING
    answer[0, 0] = -1.0  # a hole of the complement, far from the box
    result = inverted(answer[None], torch.tensor([BOX]))[0]
    assert torch.equal(result > 0, THING > 0)
    assert torch.equal(result.abs(), answer.abs())
