"""Segmentation in large images: windows around boxes, and the selection of masks."""

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


class ScriptedSegmenter:
    """Fills boxes as scripted: in one way for the whole image, in another for windows.

    Args:
        far: for the whole image: quality, complement, and the offset of the mask from its box.
        near: the same for windows.
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
        return [self.segment(*each) for each in zip(images, boxes_xyxy, strict=True)]

    def segment(self, image: Image, boxes: Boxes) -> SegmentedMasks:
        quality, complement, offset = self.far if image.shape[:2] == SIZE_HW else self.near
        masks = np.zeros((len(boxes), *image.shape[:2]), np.bool_)
        for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int), strict=True):
            mask[top:bottom, left + offset : right + offset] = True
        return SegmentedMasks(
            tuple(rle.encode(masks)),
            np.full(len(boxes), quality, np.float32),
            np.full(len(boxes), complement),
        )


def segmented(segmenter: Segmenter, *boxes: tuple[float, ...]) -> SegmentedMasks:
    image = np.zeros((*SIZE_HW, 3), np.uint8)
    boxes_xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    (result,) = TiledSegmenter(segmenter, OPTIONS).segment_boxes([image], [boxes_xyxy])
    return result


def shifted(box: tuple[float, ...], by: int) -> tuple[float, ...]:
    return box[0] + by, box[1], box[2] + by, box[3]


def test_it_satisfies_the_protocols() -> None:
    assert isinstance(TiledSegmenter(FakeSegmenter(), OPTIONS), Segmenter)
    assert isinstance(TiledSegmenter(FakeSegmenter(), OPTIONS), DeferredMaskSegmenter)


def test_a_small_box_is_segmented_in_the_whole_image_and_in_one_window() -> None:
    segmenter = ScriptedSegmenter()
    result = segmented(segmenter, CENTER)
    assert segmenter.calls == [[(SIZE_HW, 1)], [((200, 200), 1)]]
    assert result.masks[0].size_hw == SIZE_HW
    assert result.masks[0].bbox_xyxy == CENTER
    assert result.masks[0].area == 30 * 40


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
    segmenter = ScriptedSegmenter()
    segmented(segmenter, box)
    assert segmenter.calls[1:] == ([] if window is None else [[(window, 1)]])


def test_boxes_of_one_window_are_segmented_together() -> None:
    segmenter = ScriptedSegmenter()
    result = segmented(segmenter, CENTER, (5, 5, 20, 20), shifted(CENTER, 35), (890, 690, 900, 700))
    assert [sorted(count for _, count in call) for call in segmenter.calls] == [[4], [1, 1, 2]]
    assert len(result) == 4


def test_windows_that_are_shifted_into_the_same_corner_are_one() -> None:
    segmenter = ScriptedSegmenter()
    result = segmented(
        segmenter, (30, 30, 60, 60), (0, 0, 30, 30), (95, 95, 195, 195), (0, 0, 99, 99)
    )
    assert result.quality.tolist() == pytest.approx([0.9] * 4)
    assert result.masks[3].bbox_xyxy == (0, 0, 99, 99)


def test_masks_come_in_the_order_of_the_boxes() -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers(0, [880, 680], (60, 2))
    boxes = np.concatenate((corners, corners + rng.integers(3, 20, (60, 2))), axis=1)
    boxes = boxes[rng.permutation(60)].clip(0, [900, 700, 900, 700])
    result = segmented(ScriptedSegmenter(), *map(tuple, boxes.tolist()))
    assert [mask.bbox_xyxy for mask in result.masks] == [tuple(map(float, box)) for box in boxes]


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
        pytest.param((0.99, False, 20), (0.1, False, 0), "near", id="another object far"),
        pytest.param((0.1, False, 0), (0.99, False, 20), "far", id="another object near"),
        pytest.param((0.99, False, 20), (0.1, False, 20), "near", id="another object twice"),
        pytest.param((0.1, True, 0), (0.2, False, 20), "near", id="beside it or complement"),
        pytest.param((0.99, False, 2000), (0.1, False, 0), "near", id="empty far"),
    ],
)
def test_the_better_mask_is_kept(
    far: tuple[float, bool, int], near: tuple[float, bool, int], winner: str
) -> None:
    expected = near if winner == "near" else far
    result = segmented(ScriptedSegmenter(far, near), CENTER)
    assert result.quality[0] == np.float32(expected[0])
    assert result.complement[0] == expected[1]
    assert result.masks[0].bbox_xyxy == shifted(CENTER, expected[2])


def test_a_mask_that_runs_into_the_edge_of_its_window_is_cut_off() -> None:
    class Spreading(ScriptedSegmenter):
        def segment(self, image: Image, boxes: Boxes) -> SegmentedMasks:
            if image.shape[:2] == SIZE_HW:
                return super().segment(image, boxes)
            band = rle.rectangle((0, 35, 200, 165), (200, 200))  # two thirds of it in the box
            return SegmentedMasks((band,), np.ones(1, np.float32), np.zeros(1, np.bool_))

    assert segmented(Spreading(), (310, 310, 440, 440)).quality.tolist() == [0.5]
    empty = Spreading(far=(0.5, False, 2000))
    assert segmented(empty, (310, 310, 440, 440)).quality.tolist() == [1]


def test_a_mask_that_runs_into_the_border_of_the_image_is_not_cut_off() -> None:
    result = segmented(ScriptedSegmenter(), (0, 0, 40, 30))
    assert result.quality.tolist() == pytest.approx([0.9])


def test_where_both_masks_exceed_the_box_the_one_of_the_whole_image_is_kept() -> None:
    class Generous(ScriptedSegmenter):
        def segment(self, image: Image, boxes: Boxes) -> SegmentedMasks:
            result = super().segment(image, boxes)
            height, width = image.shape[:2]
            larger = rle.rectangle((20, 20, width - 20, height - 20), (height, width))
            return SegmentedMasks((larger,), result.quality, result.complement)

    assert segmented(Generous(), CENTER).masks[0].bbox_xyxy == (20, 20, 880, 680)


def test_windows_are_segmented_in_batches() -> None:
    segmenter = ScriptedSegmenter()
    boxes = [(x, y, x + 5, y + 5) for x in range(20, 880, 40) for y in range(20, 680, 40)]
    segmented(segmenter, *boxes)
    assert max(len(call) for call in segmenter.calls) == 4
    assert len({shape for call in segmenter.calls for shape, _ in call}) == 2


def test_no_boxes() -> None:
    segmenter = ScriptedSegmenter()
    result = segmented(segmenter)
    assert (len(result), result.quality.shape, result.complement.shape) == (0, (0,), (0,))
    assert segmenter.calls == [[(SIZE_HW, 0)]]


def test_boxes_that_reach_beyond_the_image() -> None:
    result = segmented(FakeSegmenter(), (-4, -4, 30, 30), (880, 690, 910, 705), (50, 50, 50, 60))
    assert len(result) == 3


def test_images_that_are_not_large_go_to_the_segmenter_unchanged_in_one_call() -> None:
    images = [np.zeros((500, 500, 3), np.uint8)]
    boxes = [np.zeros((0, 4), np.float32)]
    result: list[SegmentedMasks] = []

    class RecordingSegmenter:
        def segment_boxes(
            self, given: Sequence[Image], given_boxes: Sequence[Boxes]
        ) -> list[SegmentedMasks]:
            assert given is images
            assert given_boxes is boxes
            return result

    assert TiledSegmenter(RecordingSegmenter(), OPTIONS).segment_boxes(images, boxes) is result


def test_large_and_other_images_together_keep_their_order() -> None:
    segmenter = ScriptedSegmenter()
    small, large = np.zeros((50, 60, 3), np.uint8), np.zeros((*SIZE_HW, 3), np.uint8)
    boxes = [np.array([box], np.float32) for box in [(1, 1, 9, 9), CENTER, (2, 2, 8, 8)]]
    results = TiledSegmenter(segmenter, OPTIONS).segment_boxes([small, large, small], boxes)
    assert [result.masks[0].size_hw for result in results] == [(50, 60), SIZE_HW, (50, 60)]
    assert segmenter.calls[0] == [((50, 60), 1), ((50, 60), 1)]


class DeferredSegmenter(ScriptedSegmenter):
    """Counts how many of its calls have been finished."""

    finished = 0

    def start_segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[Boxes]
    ) -> Callable[[], list[SegmentedMasks]]:
        results = self.segment_boxes(images, boxes_xyxy)

        def finish() -> list[SegmentedMasks]:
            self.finished += 1
            return results

        return finish


def test_a_deferred_mask_segmenter_stays_deferred() -> None:
    segmenter = DeferredSegmenter()
    images = [np.zeros((50, 60, 3), np.uint8), np.zeros((*SIZE_HW, 3), np.uint8)]
    boxes = [np.array([box], np.float32) for box in [(1, 1, 9, 9), CENTER]]
    finish = TiledSegmenter(segmenter, OPTIONS).start_segment_boxes(images, boxes)
    assert (len(segmenter.calls), segmenter.finished) == (3, 0)
    assert [result.masks[0].bbox_xyxy for result in finish()] == [(1, 1, 9, 9), CENTER]
    assert (len(segmenter.calls), segmenter.finished) == (3, 3)
