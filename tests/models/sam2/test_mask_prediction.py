"""Detection and inversion of masks that are the complement of the object in their box."""

from __future__ import annotations

import pytest
import torch

from grounded_sam2.models.sam2.mask_prediction import invert_in_box, is_complement

BOX = (4.0, 4.0, 10.0, 12.0)


def region(top: int, bottom: int, left: int, right: int) -> torch.Tensor:
    """Margins of 16×16: 2 in a region and -3 elsewhere."""
    margins = torch.full((16, 16), -3.0)
    margins[top:bottom, left:right] = 2.0
    return margins


OBJECT = region(5, 11, 5, 9)
CASES = {
    "the object": (OBJECT, BOX, False),
    "everything but the object": (-OBJECT, BOX, True),
    "nothing": (torch.full((16, 16), -1.0), BOX, False),
    "the whole image": (torch.ones(16, 16), BOX, False),
    "a neighbor": (region(0, 4, 0, 4), BOX, False),
    "half of the outside": (region(0, 16, 10, 16), BOX, False),
    "larger than its box": (region(2, 14, 2, 12), BOX, False),
    "the box is everything": (-OBJECT, (0.0, 0.0, 16.0, 16.0), False),
    "the box has no pixel": (-OBJECT, (6.1, 6.1, 6.3, 6.3), True),
    "the box is off the image": (OBJECT, (20.0, 20.0, 30.0, 30.0), False),
}


@pytest.mark.parametrize(("margins", "box", "expected"), CASES.values(), ids=CASES)
def test_masks_that_are_complements(
    margins: torch.Tensor, box: tuple[float, ...], expected: bool
) -> None:
    assert is_complement(margins[None], torch.tensor([box])).tolist() == [expected]


def test_each_mask_is_compared_with_its_own_box() -> None:
    margins = torch.stack([-OBJECT, OBJECT, -OBJECT])
    boxes = torch.tensor([BOX, BOX, (0.0, 0.0, 16.0, 16.0)])
    assert is_complement(margins, boxes).tolist() == [True, False, False]


def test_no_masks() -> None:
    assert is_complement(torch.zeros(0, 16, 16), torch.zeros(0, 4)).tolist() == []


def test_the_inverse_is_the_object_and_empty_outside_its_box() -> None:
    predicted = -OBJECT
    predicted[0, 0] = -1.0  # a hole of the complement, far from the box
    result = invert_in_box(predicted[None], torch.tensor([BOX]))[0]
    assert torch.equal(result > 0, OBJECT > 0)
    assert torch.equal(result.abs(), predicted.abs())
