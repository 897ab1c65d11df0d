"""The toy models: a detector, a segmenter, and a model that goes from words to masks."""

from __future__ import annotations

import numpy as np

from grounded_sam2 import Candidate, Config
from grounded_sam2.geometry.rle import encode
from grounded_sam2.testing import COLORS, FakeDetector, FakeSegmenter


def build_detector(config: Config) -> FakeDetector:
    return FakeDetector(confidence=getattr(config.detector, "score", 0.9))


def build_segmenter(config: Config) -> FakeSegmenter:
    return FakeSegmenter()


class ColorGrounder:
    """Finds all pixels of the color that a caption names, as one object."""

    def __init__(self, config: Config) -> None:
        self.confidence = config.detector.min_confidence

    def ground(self, images, captions):
        return [
            [found for caption in asked if (found := self._find(image, caption)) is not None]
            for image, asked in zip(images, captions, strict=True)
        ]

    def _find(self, image, caption: str) -> Candidate | None:
        color = next(rgb for name, rgb in COLORS.items() if name in caption.split())
        mask = (image == np.array(color, np.uint8)).all(axis=2)
        if not mask.any():
            return None
        rows, columns = np.nonzero(mask)
        box = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        return Candidate(caption, box, encode(mask[None])[0], self.confidence, None)
