"""Models that need no weights, for testing code that labels.

The fakes see pictures of things in plain colours: whatever has not the colour of the upper left
pixel is a thing, and a caption means the things of the colour that it names.

    image = np.zeros((40, 60, 3), np.uint8)
    image[10:20, 5:25] = COLORS["red"]
    model = GroundedSAM2({"red box": "box"}, detector=FakeDetector(), segmenter=FakeSegmenter())

They are deterministic, load no torch, and satisfy the Protocols of
`grounded_sam2.models.protocols`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from grounded_sam2.geometry.rle import encode
from grounded_sam2.results import DetectedBoxes, Image, SegmentedMasks

__all__ = ["COLORS", "FakeDetector", "FakeSegmenter"]

COLORS: Mapping[str, tuple[int, int, int]] = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "white": (255, 255, 255),
}
"""Colours that `FakeDetector` knows, RGB."""


class FakeDetector:
    """Finds the connected areas of the colour that a caption names.

    Without captions, it finds the areas of all its colours and calls them by the colour.

    Args:
        confidence: what it says of everything that it finds; ``None`` for a model that gives none.
        colors: names to look for in captions, RGB.
    """

    def __init__(
        self,
        *,
        confidence: float | None = 0.9,
        colors: Mapping[str, tuple[int, int, int]] = COLORS,
    ) -> None:
        self.confidence = confidence
        self.colors = colors

    def detect(
        self, images: Sequence[Image], captions: Sequence[Sequence[str]]
    ) -> list[DetectedBoxes]:
        """See `grounded_sam2.models.protocols.Detector`. A caption without a colour finds nothing.

        Boxes come in the order of the captions; those of one caption from top to bottom.
        """
        return [self._detect(image, asked) for image, asked in zip(images, captions, strict=True)]

    def _detect(self, image: Image, captions: Sequence[str]) -> DetectedBoxes:
        boxes: list[NDArray[np.float32]] = []
        names: list[str] = []
        for caption in captions or self.colors:
            for color in [rgb for name, rgb in self.colors.items() if name in caption.split()]:
                found = _boxes_of_parts((image == np.array(color, np.uint8)).all(axis=2))
                boxes.append(found)
                names += [caption] * len(found)
        confidence = (
            None if self.confidence is None else np.full(len(names), self.confidence, np.float32)
        )
        everything = np.concatenate(boxes) if boxes else np.zeros((0, 4), np.float32)
        return DetectedBoxes(everything, tuple(names), confidence)


class FakeSegmenter:
    """Takes as the mask what, within the box, has not the colour of the upper left pixel.

    Args:
        quality: what it says of every mask.
    """

    def __init__(self, *, quality: float = 0.8) -> None:
        self.quality = quality

    def segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[NDArray[np.float32]]
    ) -> list[SegmentedMasks]:
        """See `grounded_sam2.models.protocols.Segmenter`."""
        return [
            self._segment(image, boxes) for image, boxes in zip(images, boxes_xyxy, strict=True)
        ]

    def _segment(self, image: Image, boxes: NDArray[np.float32]) -> SegmentedMasks:
        things = (image != image[0, 0]).any(axis=2)
        masks = np.zeros((len(boxes), *things.shape), np.bool_)
        for mask, box in zip(masks, boxes, strict=True):
            left, top = np.floor(box[:2]).astype(int)
            right, bottom = np.ceil(box[2:]).astype(int)
            mask[top:bottom, left:right] = things[top:bottom, left:right]
        return SegmentedMasks(
            masks=tuple(encode(masks)),
            quality=np.full(len(boxes), self.quality, np.float32),
            complement=np.zeros(len(boxes), np.bool_),
        )


def _boxes_of_parts(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Half-open boxes of the connected parts: ``(n, 4)`` xyxy, ``(0, 4)`` for an empty mask."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    left, top, width, height = stats[1:, :4].T.astype(np.float32)  # row 0 is the background
    boxes = np.stack([left, top, left + width, top + height], axis=1)
    order = np.lexsort((left, top))
    return boxes[order]
