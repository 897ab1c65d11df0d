"""Any segmenter on large images: which windows are asked, and whose answer stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from grounded_sam2.config import TilingConfig
from grounded_sam2.geometry import rle
from grounded_sam2.inference.tiling import TiledSegmenter
from grounded_sam2.models.protocols import DeferredMaskSegmenter, Segmenter
from grounded_sam2.results import Image, SegmentedMasks
from grounded_sam2.testing import FakeSegmenter

OPTIONS = TilingConfig(above_side=500, tile_size=200, overlap=0.25, tiles_per_batch=4)
SIZE_HW = (700, 900)
CENTER = (310.0, 330.0, 340.0, 370.0)
"""A box in the middle of the tile from 300 to 500 down and from 290 to 490 across."""

Boxes = NDArray[np.float32]


class Scripted:
    """Fills boxes, or does as it is told: one way for the whole image, another for windows.

    Args:
        far: what to do with the whole image: quality, complement, how far the mask is beside
            its box.
        near: what to do with windows.
    """

    def __init__(
        self,
        far: tuple[float, bool, int] = (0.5, False, 0),
        near: tuple[float, bool, int] = (0.9, False, 0),
    ) -> None:
        self.far, self.near = far, near
        self.calls: list[list[tuple[tuple[int, ...], int]]] = []

    def segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[Boxes]
    ) -> list[SegmentedMasks]:
        self.calls.append([(i.shape[:2], len(b)) for i, b in zip(images, boxes_xyxy, strict=True)])
        return [self._answer(*each) for each in zip(images, boxes_xyxy, strict=True)]

    def _answer(self, image: Image, boxes: Boxes) -> SegmentedMasks:
        quality, complement, beside = self.far if image.shape[:2] == SIZE_HW else self.near
        masks = np.zeros((len(boxes), *image.shape[:2]), np.bool_)
        for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int), strict=True):
            mask[top:bottom, left + beside : right + beside] = True
        return SegmentedMasks(
            tuple(rle.encode(masks)),
            np.full(len(boxes), quality, np.float32),
            np.full(len(boxes), complement),
        )


def asked(segmenter: Segmenter, *boxes: tuple[float, ...]) -> SegmentedMasks:
    image = np.zeros((*SIZE_HW, 3), np.uint8)
    given = np.array(boxes, np.float32).reshape(-1, 4)
    (answer,) = TiledSegmenter(segmenter, OPTIONS).segment_boxes([image], [given])
    return answer


def beside(box: tuple[float, ...], by: int) -> tuple[float, ...]:
    return box[0] + by, box[1], box[2] + by, box[3]


def test_satisfies_the_protocols() -> None:
    assert isinstance(TiledSegmenter(FakeSegmenter(), OPTIONS), Segmenter)
    assert isinstance(TiledSegmenter(FakeSegmenter(), OPTIONS), DeferredMaskSegmenter)


def test_a_small_box_is_asked_of_the_whole_image_and_of_one_window() -> None:
    segmenter = Scripted()
    answer = asked(segmenter, CENTER)
    assert segmenter.calls == [[(SIZE_HW, 1)], [((200, 200), 1)]]
    assert answer.masks[0].size_hw == SIZE_HW
    assert answer.masks[0].bbox_xyxy == CENTER
    assert answer.masks[0].area == 30 * 40


@pytest.mark.parametrize(
    ("box", "window"),
    [
        pytest.param((300, 300, 430, 310), (200, 200), id="with room around it in a tile"),
        pytest.param((300, 300, 440, 310), (400, 400), id="in twice a tile"),
        pytest.param((300, 300, 560, 310), (400, 400), id="just so"),
        pytest.param((300, 300, 580, 310), None, id="as large as half the image"),
        pytest.param((10, 10, 690, 690), None, id="nearly everything"),
    ],
)
def test_the_window_grows_with_the_box(
    box: tuple[int, ...], window: tuple[int, int] | None
) -> None:
    segmenter = Scripted()
    asked(segmenter, box)
    assert segmenter.calls[1:] == ([] if window is None else [[(window, 1)]])


def test_boxes_of_one_window_are_asked_together() -> None:
    segmenter = Scripted()
    answer = asked(segmenter, CENTER, (5, 5, 20, 20), beside(CENTER, 35), (890, 690, 900, 700))
    assert [sorted(count for _, count in call) for call in segmenter.calls] == [[4], [1, 1, 2]]
    assert len(answer) == 4


def test_windows_that_are_shifted_into_the_same_corner() -> None:
    segmenter = Scripted()
    answer = asked(segmenter, (30, 30, 60, 60), (0, 0, 30, 30), (95, 95, 195, 195), (0, 0, 99, 99))
    assert answer.quality.tolist() == pytest.approx([0.9] * 4)
    assert answer.masks[3].bbox_xyxy == (0, 0, 99, 99)


def test_answers_come_in_the_order_of_the_boxes() -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers(0, [880, 680], (60, 2))
    boxes = np.concatenate((corners, corners + rng.integers(3, 20, (60, 2))), axis=1)
    boxes = boxes[rng.permutation(60)].clip(0, [900, 700, 900, 700])
    answer = asked(Scripted(), *map(tuple, boxes.tolist()))
    assert [mask.bbox_xyxy for mask in answer.masks] == [tuple(map(float, box)) for box in boxes]


@pytest.mark.parametrize(
    ("far", "near", "winner"),
    [
        pytest.param((0.5, False, 0), (0.9, False, 0), "near", id="higher quality near"),
        pytest.param((0.9, False, 0), (0.5, False, 0), "far", id="higher quality far"),
        pytest.param((0.9, False, 0), (0.9, False, 0), "near", id="same quality"),
        pytest.param((0.90001, False, 0), (0.9, False, 0), "near", id="all but the same"),
        pytest.param((0.5, False, 0), (0.9, False, 4), "far", id="fills its box far"),
        pytest.param((0.9, False, 4), (0.5, False, 0), "near", id="fills its box near"),
        pytest.param((0.9, False, 4), (0.5, False, 4), "far", id="fill their boxes alike"),
        pytest.param((0.99, True, 0), (0.1, False, 0), "near", id="complement far"),
        pytest.param((0.1, False, 0), (0.99, True, 0), "far", id="complement near"),
        pytest.param((0.1, True, 0), (0.2, True, 0), "near", id="complements"),
        pytest.param((0.99, False, 20), (0.1, False, 0), "near", id="another thing far"),
        pytest.param((0.1, False, 0), (0.99, False, 20), "far", id="another thing near"),
        pytest.param((0.99, False, 20), (0.1, False, 20), "near", id="another thing twice"),
        pytest.param((0.1, True, 0), (0.2, False, 20), "near", id="beside it or complement"),
        pytest.param((0.99, False, 2000), (0.1, False, 0), "near", id="empty far"),
    ],
)
def test_the_better_answer_stays(
    far: tuple[float, bool, int], near: tuple[float, bool, int], winner: str
) -> None:
    expected = near if winner == "near" else far
    answer = asked(Scripted(far, near), CENTER)
    assert answer.quality[0] == np.float32(expected[0])
    assert answer.complement[0] == expected[1]
    assert answer.masks[0].bbox_xyxy == beside(CENTER, expected[2])


def test_a_mask_that_runs_into_the_edge_of_its_window_is_cut_off() -> None:
    class Spreading(Scripted):
        def _answer(self, image: Image, boxes: Boxes) -> SegmentedMasks:
            if image.shape[:2] == SIZE_HW:
                return super()._answer(image, boxes)
            band = rle.rectangle((0, 35, 200, 165), (200, 200))  # two thirds of it in the box
            return SegmentedMasks((band,), np.ones(1, np.float32), np.zeros(1, np.bool_))

    assert asked(Spreading(), (310, 310, 440, 440)).quality.tolist() == [0.5]
    empty = Spreading(far=(0.5, False, 2000))
    assert asked(empty, (310, 310, 440, 440)).quality.tolist() == [1]


def test_a_mask_that_runs_into_the_border_of_the_image_is_not() -> None:
    answer = asked(Scripted(), (0, 0, 40, 30))
    assert answer.quality.tolist() == pytest.approx([0.9])


def test_where_both_masks_go_beyond_the_box_the_whole_image_shows_the_thing() -> None:
    class Generous(Scripted):
        def _answer(self, image: Image, boxes: Boxes) -> SegmentedMasks:
            answer = super()._answer(image, boxes)
            height, width = image.shape[:2]
            larger = rle.rectangle((20, 20, width - 20, height - 20), (height, width))
            return SegmentedMasks((larger,), answer.quality, answer.complement)

    assert asked(Generous(), CENTER).masks[0].bbox_xyxy == (20, 20, 880, 680)


def test_windows_are_asked_some_at_a_time() -> None:
    segmenter = Scripted()
    boxes = [(x, y, x + 5, y + 5) for x in range(20, 880, 40) for y in range(20, 680, 40)]
    asked(segmenter, *boxes)
    assert max(len(call) for call in segmenter.calls) == 4
    assert len({shape for call in segmenter.calls for shape, _ in call}) == 2


def test_no_boxes() -> None:
    segmenter = Scripted()
    answer = asked(segmenter)
    assert (len(answer), answer.quality.shape, answer.complement.shape) == (0, (0,), (0,))
    assert segmenter.calls == [[(SIZE_HW, 0)]]


def test_boxes_that_reach_beyond_the_image() -> None:
    answer = asked(FakeSegmenter(), (-4, -4, 30, 30), (880, 690, 910, 705), (50, 50, 50, 60))
    assert len(answer) == 3


def test_images_that_are_not_large_go_as_they_are_in_one_call() -> None:
    images = [np.zeros((500, 500, 3), np.uint8)]
    boxes = [np.zeros((0, 4), np.float32)]
    answer: list[SegmentedMasks] = []

    class Asked:
        def segment_boxes(
            self, given: Sequence[Image], given_boxes: Sequence[Boxes]
        ) -> list[SegmentedMasks]:
            assert given is images
            assert given_boxes is boxes
            return answer

    assert TiledSegmenter(Asked(), OPTIONS).segment_boxes(images, boxes) is answer


def test_large_and_other_images_together_keep_their_order() -> None:
    segmenter = Scripted()
    small, large = np.zeros((50, 60, 3), np.uint8), np.zeros((*SIZE_HW, 3), np.uint8)
    boxes = [np.array([box], np.float32) for box in [(1, 1, 9, 9), CENTER, (2, 2, 8, 8)]]
    answers = TiledSegmenter(segmenter, OPTIONS).segment_boxes([small, large, small], boxes)
    assert [answer.masks[0].size_hw for answer in answers] == [(50, 60), SIZE_HW, (50, 60)]
    assert segmenter.calls[0] == [((50, 60), 1), ((50, 60), 1)]


class InTwoSteps(Scripted):
    """Says which of its answers have been finished."""

    finished = 0

    def start_segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[Boxes]
    ) -> Callable[[], list[SegmentedMasks]]:
        answers = self.segment_boxes(images, boxes_xyxy)

        def finish() -> list[SegmentedMasks]:
            self.finished += 1
            return answers

        return finish


def test_a_segmenter_of_two_steps_stays_one() -> None:
    segmenter = InTwoSteps()
    images = [np.zeros((50, 60, 3), np.uint8), np.zeros((*SIZE_HW, 3), np.uint8)]
    boxes = [np.array([box], np.float32) for box in [(1, 1, 9, 9), CENTER]]
    finish = TiledSegmenter(segmenter, OPTIONS).start_segment_boxes(images, boxes)
    assert (len(segmenter.calls), segmenter.finished) == (3, 0)
    assert [answer.masks[0].bbox_xyxy for answer in finish()] == [(1, 1, 9, 9), CENTER]
    assert (len(segmenter.calls), segmenter.finished) == (3, 3)
