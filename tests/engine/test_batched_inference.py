"""Asking: a failure costs its image, want of memory costs speed, and neither costs the run."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.engine.batched_inference import Asking, reason
from grounded_sam2.errors import CheckpointError, OutOfMemoryError
from grounded_sam2.testing import COLORS, FakeDetector, FakeSegmenter

CAPTION = ["red thing"]


def draw_image(number: int, height: int = 20) -> np.ndarray:
    image = np.zeros((height, 30, 3), np.uint8)
    image[5:10, number : number + 5] = COLORS["red"]
    return image


def ask(asking: Asking, images: list) -> list:
    return asking.start(images, [CAPTION] * len(images))()


def lefts(answers: list) -> list[float]:
    """Where the one thing of each image begins."""
    return [candidates[0].box_xyxy[0] for candidates in answers]


class Small(FakeDetector):
    """Has memory for so many images."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.calls: list[int] = []

    def detect(self, images, captions):
        self.calls.append(len(images))
        if len(images) > self.room:
            raise OutOfMemoryError("detector: not enough GPU memory")
        return super().detect(images, captions)


class LateSegmenter(FakeSegmenter):
    """Runs out of memory in its second step, for more images than it has room for."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def start_segment_boxes(self, images, boxes_xyxy):
        def finish():
            if len(images) > self.room:
                raise OutOfMemoryError("segmenter: not enough GPU memory")
            return self.segment_boxes(images, boxes_xyxy)

        return finish


def test_a_batch_that_is_too_large_is_halved_and_the_next_is_asked_in_such_parts():
    detector = Small(room=2)
    asking = Asking(detector, FakeSegmenter(), min_confidence=0.1)
    images = [draw_image(n) for n in range(7)]
    assert lefts(ask(asking, images)) == list(range(7))
    assert detector.calls == [7, 4, 2, 2, 3, 2, 1]
    assert asking.most_at_once == 2

    detector.calls.clear()
    assert lefts(ask(asking, images)) == list(range(7))
    assert detector.calls == [2, 2, 2, 1]


def test_a_second_step_that_is_too_large_is_halved_as_well():
    asking = Asking(FakeDetector(), LateSegmenter(room=1), min_confidence=0.1)
    assert lefts(ask(asking, [draw_image(n) for n in range(4)])) == [0, 1, 2, 3]
    assert asking.most_at_once == 1


def test_one_image_that_is_too_large_by_itself_fails_with_the_reason():
    asking = Asking(Small(room=0), FakeSegmenter(), min_confidence=0.1)
    assert ask(asking, [draw_image(0)]) == ["detector: not enough GPU memory"]


def test_only_the_culprit_fails():
    class Picky(FakeDetector):
        def detect(self, images, captions):
            if any(image.shape[0] == 99 for image in images):
                raise RuntimeError("index 7 is\nout of bounds")
            return super().detect(images, captions)

    asking = Asking(Picky(), FakeSegmenter(), min_confidence=0.1)
    first, culprit, last = ask(asking, [draw_image(1), draw_image(2, height=99), draw_image(3)])
    assert lefts([first, last]) == [1, 3]
    assert culprit == "RuntimeError: index 7 is out of bounds"
    assert asking.most_at_once is None


def test_fatal_errors_are_raised():
    class Broken(FakeDetector):
        def detect(self, images, captions):
            raise CheckpointError("gone")

    asking = Asking(Broken(), FakeSegmenter(), min_confidence=0.1, fatal=(CheckpointError,))
    with pytest.raises(CheckpointError):
        asking.start([draw_image(0)], [CAPTION])


def test_no_images_ask_nothing():
    detector = Small(room=9)
    asking = Asking(detector, FakeSegmenter(), min_confidence=0.1)
    assert asking.start([], [])() == []
    assert detector.calls == []


def test_a_reason_is_one_line_and_says_what_kind_of_error_it_is():
    assert reason(ValueError("a\n  b")) == "ValueError: a b"
    assert reason(OutOfMemoryError("not enough")) == "not enough"
