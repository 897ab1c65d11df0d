"""Detection in the tiles of large images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from grounded_sam2.config import TilingConfig
from grounded_sam2.inference.tiling import TiledDetector
from grounded_sam2.models.protocols import Detector
from grounded_sam2.results import DetectedBoxes, Image
from grounded_sam2.testing import COLORS, FakeDetector

OPTIONS = TilingConfig(above_side=500, tile_size=200, overlap=0.25, tiles_per_batch=4)
RED, BLUE = "red thing", "blue thing"


class NearSighted:
    """Finds plainly colored objects, unless they are too small in the image that it is given."""

    def __init__(self, *, smallest: int = 8, confidence: float | None = 0.9) -> None:
        self.inner = FakeDetector(confidence=confidence)
        self.smallest = smallest
        self.calls: list[list[tuple[int, ...]]] = []

    def detect(
        self, images: Sequence[Image], captions: Sequence[Sequence[str]]
    ) -> list[DetectedBoxes]:
        self.calls.append([image.shape for image in images])
        return [
            self._without_small(found)
            for found in self.inner.detect([_plain(image) for image in images], captions)
        ]

    def _without_small(self, found: DetectedBoxes) -> DetectedBoxes:
        sides = found.boxes_xyxy[:, 2:] - found.boxes_xyxy[:, :2]
        large_enough = (sides >= self.smallest).all(axis=1)
        return DetectedBoxes(
            found.boxes_xyxy[large_enough],
            tuple(found.captions[index] for index in np.flatnonzero(large_enough)),
            None if found.confidence is None else found.confidence[large_enough],
        )


def _plain(image: Image) -> Image:
    """The image without the blended colors that resizing leaves along edges."""
    return np.where(image > 127, 255, 0).astype(np.uint8)


def draw_image(
    size_hw: tuple[int, int], *objects: tuple[str, tuple[int, int, int, int]]
) -> NDArray[np.uint8]:
    image = np.zeros((*size_hw, 3), np.uint8)
    for color, (left, top, right, bottom) in objects:
        image[top:bottom, left:right] = COLORS[color]
    return image


def test_it_satisfies_the_protocol() -> None:
    assert isinstance(TiledDetector(FakeDetector(), OPTIONS), Detector)


def test_small_objects_are_found_in_tiles_and_missed_without() -> None:
    objects = [(20, 30, 40, 45), (430, 500, 445, 520), (190, 700, 210, 720), (880, 880, 900, 900)]
    image = draw_image((900, 900), *(("red", box) for box in objects))
    (without,) = NearSighted().detect([image[::5, ::5]], [[RED]])
    (found,) = TiledDetector(NearSighted(), OPTIONS).detect([image], [[RED]])
    assert len(without) == 0
    assert sorted(map(tuple, found.boxes_xyxy.tolist())) == sorted(objects)
    assert found.captions == (RED,) * 4
    assert found.boxes_xyxy.dtype == found.confidence.dtype == np.float32  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "box",
    {
        "in the corner of four tiles": (155, 155, 195, 195),
        "as large as the overlap": (150, 10, 200, 60),
        "larger than the overlap": (120, 20, 260, 90),
        "larger than a tile": (100, 100, 700, 500),
        "nearly the whole image": (5, 5, 895, 895),
        "a thin line through all tiles": (0, 400, 900, 410),
    }.values(),
    ids=str,
)
def test_an_object_is_one_box_wherever_the_tiles_cut_it(box: tuple[int, int, int, int]) -> None:
    image = draw_image((900, 900), ("red", box))
    (found,) = TiledDetector(NearSighted(), OPTIONS).detect([image], [[RED]])
    assert len(found) == 1
    np.testing.assert_allclose(found.boxes_xyxy[0], box, atol=5)  # a pixel of the whole image


def test_captions_come_in_the_order_in_which_they_were_requested() -> None:
    image = draw_image((600, 600), ("red", (10, 10, 40, 40)), ("blue", (300, 10, 340, 40)))
    detector = TiledDetector(FakeDetector(), OPTIONS)
    assert detector.detect([image], [[BLUE, RED]])[0].captions == (BLUE, RED)
    assert detector.detect([image], [[RED, BLUE]])[0].captions == (RED, BLUE)
    assert sorted(detector.detect([image], [[]])[0].captions) == ["blue", "red"]


def test_an_image_without_objects_has_no_boxes() -> None:
    (found,) = TiledDetector(FakeDetector(), OPTIONS).detect([draw_image((600, 600))], [[RED]])
    assert found.boxes_xyxy.shape == (0, 4)
    assert found.confidence is not None
    assert found.confidence.shape == (0,)


def test_a_detector_without_confidence_gets_none() -> None:
    image = draw_image((600, 600), ("red", (10, 10, 40, 40)))
    (found,) = TiledDetector(FakeDetector(confidence=None), OPTIONS).detect([image], [[RED]])
    assert len(found) == 1
    assert found.confidence is None


def test_images_that_are_not_large_go_to_the_detector_unchanged_in_one_call() -> None:
    images = [draw_image((500, 500)), draw_image((30, 40))]

    class RecordingDetector:
        def detect(
            self, given: Sequence[Image], captions: Sequence[Sequence[str]]
        ) -> list[DetectedBoxes]:
            assert given is images
            assert captions is requested
            return detected

    requested = [[RED], [BLUE]]
    detected: list[DetectedBoxes] = []
    assert TiledDetector(RecordingDetector(), OPTIONS).detect(images, requested) is detected


def test_large_and_other_images_together_keep_their_order() -> None:
    small, large = (draw_image((hw, hw), ("red", (1, 2, 21, 22))) for hw in (100, 600))
    inner = NearSighted()
    found = TiledDetector(inner, OPTIONS).detect([small, large, small], [[RED], [RED], []])
    assert [boxes.captions for boxes in found] == [(RED,), (RED,), ("red",)]
    assert sum(call == [(100, 100, 3)] * 2 for call in inner.calls) == 1


def test_tiles_are_detected_in_batches_and_none_exceeds_the_tile_size() -> None:
    inner = NearSighted()
    TiledDetector(inner, OPTIONS).detect([draw_image((900, 3000))], [[RED]])
    assert max(len(call) for call in inner.calls) == 4
    assert {max(shape) for call in inner.calls for shape in call} == {200}


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_the_number_of_tiles_in_a_batch_changes_nothing(size: int) -> None:
    objects = [("red", (x, y, x + 30, y + 20)) for x, y in [(5, 5), (140, 180), (560, 300)]]
    image = draw_image((600, 600), *objects)
    options = TilingConfig(above_side=500, tile_size=200, tiles_per_batch=size)
    (found,) = TiledDetector(NearSighted(), options).detect([image], [[RED]])
    (same,) = TiledDetector(NearSighted(), OPTIONS).detect([image], [[RED]])
    np.testing.assert_array_equal(found.boxes_xyxy, same.boxes_xyxy)


def test_a_wrong_number_of_captions_is_an_error_of_the_detector() -> None:
    with pytest.raises(ValueError, match="zip"):
        TiledDetector(FakeDetector(), OPTIONS).detect([draw_image((600, 600))], [])
