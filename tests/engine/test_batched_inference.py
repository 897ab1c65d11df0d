"""Batched inference: out of memory halves the batch, and an error fails only its image."""

from __future__ import annotations

import weakref
from concurrent.futures import Future

import numpy as np
import pytest

from grounded_sam2.engine.batched_inference import BatchedInference, detect_batch
from grounded_sam2.engine.loader import PendingImage
from grounded_sam2.engine.memory_budget import MemoryBudget
from grounded_sam2.engine.stages import StageTimer
from grounded_sam2.engine.work_item import WorkItem
from grounded_sam2.errors import CheckpointError, OutOfMemoryError
from grounded_sam2.inference.detect_and_segment import DetectThenSegment
from grounded_sam2.store import Item
from grounded_sam2.testing import COLORS, FakeDetector, FakeSegmenter

IMAGE_BYTES = 20 * 30 * 3


def to_detect(number: int, *, height: int = 20) -> WorkItem:
    """An item with an image whose only object begins in column `number`."""
    image = np.zeros((height, 30, 3), np.uint8)
    image[5:10, number : number + 5] = COLORS["red"]
    item = Item(f"{number}.png", path=None, size_hw=(height, 30))
    return WorkItem(item, "detect", captions=("red object",), image=image)


def left_edges(items: list[WorkItem]) -> list[float]:
    """First column of the only object of each image."""
    assert all(item.state == "postprocess" for item in items)
    return [item.predictions.candidates[0].box_xyxy[0] for item in items if item.predictions]


class SmallDetector(FakeDetector):
    """A detector that runs out of memory for more than `capacity` images."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.batches: list[int] = []

    def detect(self, images, captions):
        self.batches.append(len(images))
        if len(images) > self.capacity:
            raise OutOfMemoryError("detector: not enough GPU memory")
        return super().detect(images, captions)


class SmallDeferredSegmenter(FakeSegmenter):
    """A segmenter whose deferred step runs out of memory for more than `capacity` images."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity

    def start_segment_boxes(self, images, boxes_xyxy):
        def finish():
            if len(images) > self.capacity:
                raise OutOfMemoryError("segmenter: not enough GPU memory")
            return self.segment_boxes(images, boxes_xyxy)

        return finish


def inference(detector, segmenter=None, **options) -> BatchedInference:
    grounder = DetectThenSegment(detector, segmenter or FakeSegmenter(), 0.1)
    return BatchedInference(grounder, min_confidence=0.1, **options)


class TestOutOfMemory:
    def test_a_batch_that_does_not_fit_is_halved_and_later_batches_are_cut_to_that_size(self):
        detector = SmallDetector(capacity=2)
        models = inference(detector)
        items = [to_detect(n) for n in range(7)]
        assert left_edges(models.start(items)()) == list(range(7))
        assert detector.batches == [7, 4, 2, 2, 2, 1]
        assert models.max_batch_size == 2

        detector.batches.clear()
        assert left_edges(models.start(items)()) == list(range(7))
        assert detector.batches == [2, 2, 2, 1]

    def test_a_deferred_step_that_does_not_fit_is_halved_as_well(self):
        models = inference(FakeDetector(), SmallDeferredSegmenter(capacity=1))
        assert left_edges(models.start([to_detect(n) for n in range(4)])()) == [0, 1, 2, 3]
        assert models.max_batch_size == 1

    def test_a_single_image_that_does_not_fit_fails_with_the_reason(self):
        [item] = inference(SmallDetector(capacity=0)).start([to_detect(0)])()
        assert (item.state, item.error) == ("failed", "detector: not enough GPU memory")
        assert item.image is None


class TestErrors:
    def test_only_the_image_that_causes_an_error_fails(self):
        class FailingDetector(FakeDetector):
            def detect(self, images, captions):
                if any(image.shape[0] == 99 for image in images):
                    raise RuntimeError("index 7 is\nout of bounds")
                return super().detect(images, captions)

        models = inference(FailingDetector())
        items = [to_detect(1), to_detect(2, height=99), to_detect(3)]
        first, culprit, last = models.start(items)()
        assert left_edges([first, last]) == [1, 3]
        assert culprit.state == "failed"
        assert culprit.error == "RuntimeError: index 7 is out of bounds"
        assert models.max_batch_size is None

    def test_fatal_errors_are_raised(self):
        class BrokenDetector(FakeDetector):
            def detect(self, images, captions):
                raise CheckpointError("gone")

        with pytest.raises(CheckpointError):
            inference(BrokenDetector(), fatal=(CheckpointError,)).start([to_detect(0)])

    def test_an_empty_batch_calls_no_model(self):
        detector = SmallDetector(capacity=9)
        assert inference(detector).start([])() == []
        assert detector.batches == []


def pending(work: WorkItem, budget: MemoryBudget, *, size: int = IMAGE_BYTES) -> PendingImage:
    """An image that is loaded and holds its bytes of the budget."""
    image = PendingImage(Future(), Future())
    image.size.set_result(size)
    image.work.set_result(work)
    budget.acquire(budget.ticket(), size)
    return image


class MemoryRecordingDetector(FakeDetector):
    """Records, for each call, how many images of earlier calls are still in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[weakref.ref] = []
        self.alive_before: list[int] = []

    def detect(self, images, captions):
        self.alive_before.append(sum(image() is not None for image in self.images))
        self.images += [weakref.ref(image) for image in images]
        return super().detect(images, captions)


class TestBudget:
    @pytest.mark.parametrize(
        ("budget_images", "parts"), [(100, [5]), (10, [5]), (8, [4, 1]), (2, [1] * 5)]
    )
    def test_a_batch_is_cut_into_parts_that_fit_into_half_of_the_budget(self, budget_images, parts):
        budget = MemoryBudget(budget_images * IMAGE_BYTES)
        detector = MemoryRecordingDetector()
        batch = [pending(to_detect(n), MemoryBudget(10**9)) for n in range(5)]
        done = detect_batch(batch, inference(detector), budget, StageTimer({"models": 1}))()
        assert [work.item.item_id for work in done] == [f"{n}.png" for n in range(5)]
        assert left_edges(done) == [0, 1, 2, 3, 4]
        assert len(detector.alive_before) == len(parts)

    def test_pixels_are_freed_and_their_bytes_released(self):
        budget = MemoryBudget(5 * IMAGE_BYTES)
        detector = MemoryRecordingDetector()
        batch = [pending(to_detect(n), budget) for n in range(5)]
        finish = detect_batch(batch, inference(detector), budget, StageTimer({"models": 1}))
        assert detector.alive_before == [0, 0, 0]
        done = finish()
        del finish
        assert all(work.image is None for work in done)
        assert [image() for image in detector.images] == [None] * 5
        budget.acquire(budget.ticket(), 5 * IMAGE_BYTES)  # blocks unless all was released

    def test_items_without_inference_keep_their_place(self):
        budget = MemoryBudget(10**9)
        skipped = WorkItem(Item("a.png", None), "skip")
        failed = WorkItem(Item("b.png", None), "failed", error="cannot be read")
        items = [skipped, to_detect(1), failed, to_detect(2)]
        batch = [pending(work, budget, size=0) for work in items]
        done = detect_batch(batch, inference(FakeDetector()), budget, StageTimer({"models": 1}))()
        assert [work.state for work in done] == ["skip", "postprocess", "failed", "postprocess"]
        assert [work.item.item_id for work in done] == ["a.png", "1.png", "b.png", "2.png"]
