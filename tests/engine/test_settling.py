"""Settling: images are asked in parts that fit, and let go of as soon as they were seen."""

from __future__ import annotations

import weakref
from concurrent.futures import Future

import numpy as np
import pytest

from grounded_sam2.engine.batched_inference import Asking
from grounded_sam2.engine.loader import Opened, Opening
from grounded_sam2.engine.memory_budget import MemoryBudget
from grounded_sam2.engine.settling import ask
from grounded_sam2.engine.stages import Occupancy
from grounded_sam2.store import Item
from grounded_sam2.testing import COLORS, FakeDetector, FakeSegmenter

SIZE = 20 * 30 * 3


def opening(number: int, budget: MemoryBudget) -> Opening:
    image = np.zeros((20, 30, 3), np.uint8)
    image[5:10, number : number + 5] = COLORS["red"]
    item = Item(f"{number}.png", path=None, size_hw=(20, 30))
    opening = Opening(Future(), Future())
    opening.size.set_result(SIZE)
    opening.opened.set_result(Opened(item, image, ["red thing"]))
    budget.take(budget.ticket(), SIZE)
    return opening


class Watching(FakeDetector):
    """Notes how many images of earlier calls are still in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[weakref.ref] = []
        self.held: list[int] = []

    def detect(self, images, captions):
        self.held.append(sum(image() is not None for image in self.seen))
        self.seen += [weakref.ref(image) for image in images]
        return super().detect(images, captions)


@pytest.mark.parametrize(("room", "parts"), [(100, [5]), (10, [5]), (8, [4, 1]), (2, [1] * 5)])
def test_parts_are_what_fits_into_half_of_the_budget(room, parts):
    budget = MemoryBudget(room * SIZE)
    detector = Watching()
    asking = Asking(detector, FakeSegmenter(), min_confidence=0.1)
    batch = [opening(number, MemoryBudget(10**9)) for number in range(5)]
    answers = ask(batch, asking, budget, Occupancy({"models": 1}))()
    assert [opened.item.item_id for opened, _ in answers] == [f"{n}.png" for n in range(5)]
    assert [candidates[0].box_xyxy[0] for _, candidates in answers] == [0, 1, 2, 3, 4]
    assert len(detector.held) == len(parts)


def test_images_that_were_seen_are_let_go():
    budget = MemoryBudget(5 * SIZE)
    detector = Watching()
    asking = Asking(detector, FakeSegmenter(), min_confidence=0.1)
    batch = [opening(number, budget) for number in range(5)]
    finish = ask(batch, asking, budget, Occupancy({"models": 1}))
    assert detector.held == [0, 0, 0]
    answers = finish()
    del finish
    assert all(opened.image is None for opened, _ in answers)
    assert [image() for image in detector.seen] == [None] * 5
    budget.take(budget.ticket(), 5 * SIZE)  # all room was given back
