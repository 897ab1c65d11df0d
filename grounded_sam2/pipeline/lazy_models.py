"""Models that are loaded when they are first asked: a finished run needs none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from grounded_sam2.config import Config
from grounded_sam2.inference.tiling import TiledDetector, TiledSegmenter
from grounded_sam2.models.protocols import AnyTracker, Detector, Segmenter
from grounded_sam2.results import DetectedBoxes, Image, SegmentedMasks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["HasModels", "ModelsWhenNeeded", "TrackerWhenNeeded"]


class HasModels(Protocol):
    """Where models come from: they are loaded when they are looked at."""

    config: Config

    @property
    def detector(self) -> Detector:
        """Finds boxes."""
        ...

    @property
    def segmenter(self) -> Segmenter:
        """Turns them into masks."""
        ...

    @property
    def tracker(self) -> AnyTracker:
        """Carries them through videos."""
        ...


@dataclass(frozen=True, slots=True)
class ModelsWhenNeeded:
    """Both models of a pipeline, loaded when they are first asked: a finished run needs none.

    Large images are shown to them in tiles, to those that were given as well.
    """

    models: HasModels

    def detect(
        self, images: Sequence[Image], captions: Sequence[Sequence[str]]
    ) -> list[DetectedBoxes]:
        detector = TiledDetector(self.models.detector, self.models.config.tiling)
        return detector.detect(images, captions)

    def segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[NDArray[np.float32]]
    ) -> list[SegmentedMasks]:
        return self.start_segment_boxes(images, boxes_xyxy)()

    def start_segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[NDArray[np.float32]]
    ) -> Callable[[], list[SegmentedMasks]]:
        segmenter = TiledSegmenter(self.models.segmenter, self.models.config.tiling)
        return segmenter.start_segment_boxes(images, boxes_xyxy)


class TrackerWhenNeeded:
    """The tracker of a pipeline, loaded when it is first used: a finished run needs none."""

    def __init__(self, models: HasModels) -> None:
        self._models = models

    def __getattr__(self, name: str) -> Any:
        return getattr(self._models.tracker, name)
