"""The seams between the models and everything that uses them.

Whatever satisfies these can stand in for Florence-2 and SAM 2: see `grounded_sam2.testing` for
fakes that need no weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.results import DetectedBoxes, Image, SegmentedMasks

__all__ = ["Detector", "Segmenter", "TwoStepSegmenter"]


@runtime_checkable
class Detector(Protocol):
    """Turns captions into boxes."""

    def detect(
        self, images: Sequence[Image], captions: Sequence[Sequence[str]]
    ) -> list[DetectedBoxes]:
        """Find what the captions name.

        Args:
            images: upright RGB pictures, ``(h, w, 3)`` ``uint8``, sizes may differ.
            captions: for each picture, the captions to ask of it.

        Returns:
            One `DetectedBoxes` per picture, in order; empty where nothing was found.
        """
        ...


@runtime_checkable
class Segmenter(Protocol):
    """Turns boxes into masks."""

    def segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[NDArray[np.float32]]
    ) -> list[SegmentedMasks]:
        """Segment what stands in each box.

        Args:
            images: upright RGB pictures, ``(h, w, 3)`` ``uint8``, sizes may differ.
            boxes_xyxy: for each picture ``(n_i, 4)`` in its pixels; numbers may differ, also be 0.

        Returns:
            One `SegmentedMasks` per picture, in order, with one mask per box.
        """
        ...


@runtime_checkable
class TwoStepSegmenter(Segmenter, Protocol):
    """A segmenter whose masks can be made compact while it goes on with other pictures."""

    def start_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[NDArray[np.float32]]
    ) -> Callable[[], list[SegmentedMasks]]:
        """As `segment_boxes`, in two steps: the model's now, the rest when the result is called.

        What is returned may be called once, in any thread, also while this segmenter is at work in
        another. It holds no picture.
        """
        ...
