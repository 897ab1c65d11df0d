"""The models of a pipeline, loaded on first use: a finished run loads none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from grounded_sam2.config import Config
from grounded_sam2.inference.tiling import TiledDetector, TiledSegmenter
from grounded_sam2.models.checkpoint_identity import checkpoint_identity
from grounded_sam2.models.protocols import AnyTracker, Detector, Segmenter, TrackPrompt
from grounded_sam2.results import DetectedBoxes, Image, SegmentedMasks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LazyModels", "LazyTracker", "TiledModels"]


class LazyModels:
    """The detector, segmenter and tracker of a configuration.

    Args:
        config: names their checkpoints, device and options.
        detector, segmenter, tracker: used instead of the configured ones.
    """

    def __init__(
        self,
        config: Config,
        *,
        detector: Detector | None = None,
        segmenter: Segmenter | None = None,
        tracker: AnyTracker | None = None,
    ) -> None:
        self.config = config
        given = {"detector": detector, "segmenter": segmenter, "tracker": tracker}
        self._given: dict[str, Any] = {
            role: model for role, model in given.items() if model is not None
        }

    @cached_property
    def detector(self) -> Detector:
        """The detector.

        Raises:
            CheckpointError: the checkpoint cannot be found, fetched or loaded.
        """
        if "detector" in self._given:
            return self._given["detector"]
        from grounded_sam2.models.florence2 import Florence2Detector

        return Florence2Detector.from_config(self.config)

    @cached_property
    def segmenter(self) -> Segmenter:
        """The segmenter.

        Raises:
            CheckpointError: the checkpoint cannot be found, fetched or loaded.
        """
        if "segmenter" in self._given:
            return self._given["segmenter"]
        from grounded_sam2.models.sam2 import Sam2Segmenter

        return Sam2Segmenter.from_config(self.config)

    @cached_property
    def tracker(self) -> AnyTracker:
        """The tracker: it shares the weights of the configured segmenter.

        Raises:
            CheckpointError: the checkpoint cannot be found, fetched or loaded, or cannot track.
        """
        if "tracker" in self._given:
            return self._given["tracker"]
        from grounded_sam2.models.sam2 import Sam2Segmenter, Sam2Tracker

        if "segmenter" in self._given:
            return Sam2Tracker.from_config(self.config)
        assert isinstance(self.segmenter, Sam2Segmenter)
        return Sam2Tracker.sharing(self.segmenter, self.config.tracker)

    def names(self) -> dict[str, str]:
        """Name of each model by role: its checkpoint, or the class of one that was passed in."""
        checkpoints = {
            "detector": self.config.detector.checkpoint,
            "segmenter": self.config.segmenter.checkpoint,
            "tracker": self.config.segmenter.checkpoint,
        }
        return checkpoints | {
            role: f"{type(model).__module__}.{type(model).__qualname__}"
            for role, model in self._given.items()
        }

    def identities(self, *roles: Literal["detector", "segmenter", "tracker"]) -> dict[str, str]:
        """Models of a run as the store records them: `names`, with a digest of embedded weights."""
        names = self.names()
        return {
            role: names[role]
            if role in self._given
            # the tracker runs on the segmenter's checkpoint
            else checkpoint_identity(names[role], "detector" if role == "detector" else "segmenter")
            for role in roles
        }

    def auto_batch_size(self) -> int:
        """Images per step on the device that the models will run on."""
        from grounded_sam2.models.devices import batch_size_for, resolve_device

        return batch_size_for(resolve_device(self.config.runtime.device))


@dataclass(frozen=True, slots=True)
class TiledModels:
    """Detector and segmenter in one, loaded on first use; large images are processed in tiles.

    Satisfies the Protocols `Detector` and `DeferredMaskSegmenter`.
    """

    models: LazyModels

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


@dataclass(frozen=True, slots=True)
class LazyTracker:
    """The tracker, loaded on first use. Satisfies the Protocol `Tracker`."""

    models: LazyModels

    def encode(self, image: Image) -> Any:
        return self.models.tracker.encode(image)

    def empty_state(self) -> Any:
        return self.models.tracker.empty_state()

    def propagate(self, encoded: Any, state: Any, frame: int, *, reverse: bool = False) -> Any:
        return self.models.tracker.propagate(encoded, state, frame, reverse=reverse)

    def prompt(
        self,
        encoded: Any,
        prompts: Mapping[int, TrackPrompt],
        state: Any = None,
        frame: int | None = None,
        *,
        reverse: bool = False,
    ) -> Any:
        return self.models.tracker.prompt(encoded, prompts, state, frame, reverse=reverse)

    def update_state(
        self,
        encoded: Any,
        state: Any,
        frame: int,
        masks: Any,
        *,
        prompted: Collection[int] = (),
    ) -> Any:
        return self.models.tracker.update_state(encoded, state, frame, masks, prompted=prompted)

    def save(self, state: Any) -> bytes:
        return self.models.tracker.save(state)

    def load(self, saved: bytes) -> Any:
        return self.models.tracker.load(saved)
