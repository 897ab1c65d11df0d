"""The models of a pipeline, loaded on first use: a finished run loads none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from grounded_sam2.config import Config
from grounded_sam2.config.model_types import ModelSection, find_model_type
from grounded_sam2.errors import ConfigError
from grounded_sam2.inference.detect_and_segment import BoxesOfGrounder, DetectThenSegment
from grounded_sam2.inference.tiling import TiledDetector, TiledSegmenter
from grounded_sam2.inference.tiling.tiles import is_large
from grounded_sam2.models.checkpoint_identity import checkpoint_identity
from grounded_sam2.models.protocols import (
    AnyTracker,
    DeferredGrounder,
    Detector,
    Grounder,
    Segmenter,
    Tracker,
    TrackPrompt,
)
from grounded_sam2.models.registry import (
    build_detector,
    build_grounder,
    build_segmenter,
    build_tracker,
    require_protocol,
)
from grounded_sam2.results import Candidate, DetectedBoxes, Image, SegmentedMasks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LazyGrounder", "LazyModels", "LazyTracker", "ModelRole", "TiledModels"]

ModelRole: TypeAlias = Literal["grounder", "detector", "segmenter", "tracker"]

_SECTION_OF: dict[ModelRole, ModelSection] = {
    "grounder": "detector",
    "detector": "detector",
    "segmenter": "segmenter",
    "tracker": "segmenter",
}
"""The section of the configuration that names the checkpoint of each role."""

_PROTOCOL_OF: dict[ModelRole, type] = {
    "grounder": Grounder,
    "detector": Detector,
    "segmenter": Segmenter,
    "tracker": Tracker,
}


class LazyModels:
    """The detector, segmenter and tracker of a configuration, or its grounder.

    Args:
        config: names their types, checkpoints, device and options.
        grounder: used instead of the configured detector and segmenter.
        detector, segmenter, tracker: used instead of the configured ones.

    Raises:
        ConfigError: a model that is given lacks methods of its Protocol, or a grounder is given
            together with a detector or segmenter.
    """

    def __init__(
        self,
        config: Config,
        *,
        grounder: Grounder | None = None,
        detector: Detector | None = None,
        segmenter: Segmenter | None = None,
        tracker: AnyTracker | None = None,
    ) -> None:
        self.config = config
        given: dict[ModelRole, Any] = {
            "grounder": grounder,
            "detector": detector,
            "segmenter": segmenter,
            "tracker": tracker,
        }
        self._identities: dict[ModelRole, str] = {}
        self._given = {role: model for role, model in given.items() if model is not None}
        for role, model in self._given.items():
            require_protocol(f"the {role} that was given", _PROTOCOL_OF[role], model)
        if grounder is not None and not (detector is None and segmenter is None):
            raise ConfigError(
                "a grounder takes the place of detector and segmenter; give either the grounder, "
                "or detector and segmenter"
            )

    @property
    def has_grounder(self) -> bool:
        """Whether one model goes from words to masks by itself, without a segmenter."""
        if "detector" in self._given:
            return False
        return "grounder" in self._given or self.config.detector.returns_masks

    @cached_property
    def grounder(self) -> Grounder:
        """The model that goes from words to masks by itself (`has_grounder`).

        Raises:
            ConfigError: it lacks methods, or its package is broken.
            CheckpointError: the checkpoint cannot be found, fetched or loaded.
        """
        given = self._given.get("grounder")
        return build_grounder(self.config) if given is None else given

    @cached_property
    def detector(self) -> Detector:
        """The detector; where there is none, the boxes of the grounder.

        Raises:
            ConfigError, CheckpointError: as `grounder`.
        """
        if "detector" in self._given:
            return self._given["detector"]
        return BoxesOfGrounder(self.grounder) if self.has_grounder else build_detector(self.config)

    @cached_property
    def segmenter(self) -> Segmenter:
        """The segmenter.

        Raises:
            ConfigError, CheckpointError: as `grounder`.
        """
        given = self._given.get("segmenter")
        return build_segmenter(self.config) if given is None else given

    @cached_property
    def tracker(self) -> AnyTracker:
        """The tracker: it shares the weights of the configured segmenter.

        Raises:
            ConfigError: as `grounder`; or the type of the segmenter cannot track.
            CheckpointError: the checkpoint cannot be found, fetched or loaded, or cannot track.
        """
        if "tracker" in self._given:
            return self._given["tracker"]
        return build_tracker(self.config, None if "segmenter" in self._given else self.segmenter)

    @property
    def image_roles(self) -> tuple[ModelRole, ...]:
        """Roles of the models that label images."""
        return ("grounder",) if self.has_grounder else ("detector", "segmenter")

    def names(self) -> dict[str, str]:
        """Name of each model by role: its checkpoint, or the class of one that was passed in."""
        roles: tuple[ModelRole, ...] = ("detector", "segmenter", "tracker")
        if self.has_grounder:
            roles = ("grounder", "detector", "tracker")
        return {role: self._name(role) for role in roles}

    def identities(self, *roles: ModelRole) -> dict[str, str]:
        """Models of a run as the store records them: `names`, with a digest of embedded weights."""
        for role in roles:
            if role not in self._identities:  # once: weights are read to tell them apart
                self._identities[role] = self._identity(role)
        return {role: self._identities[role] for role in roles}

    def _name(self, role: ModelRole) -> str:
        if (model := self._given_for(role)) is not None:
            return f"{type(model).__module__}.{type(model).__qualname__}"
        section = _SECTION_OF[role]
        options = self.config.detector if section == "detector" else self.config.segmenter
        return options.checkpoint

    def _identity(self, role: ModelRole) -> str:
        name, section = self._name(role), _SECTION_OF[role]
        if self._given_for(role) is not None:
            return name
        options = self.config.detector if section == "detector" else self.config.segmenter
        return checkpoint_identity(name, find_model_type(section, options.type).embedded)

    def _given_for(self, role: ModelRole) -> object | None:
        """The model that was given for a role; a given grounder is the detector of videos too."""
        if role == "detector" and "grounder" in self._given:
            return self._given["grounder"]
        return self._given.get(role)

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
class LazyGrounder:
    """What labels images, loaded on first use: detector and segmenter, or a grounder.

    Satisfies the Protocol `DeferredGrounder`.
    """

    models: LazyModels
    min_confidence: float = 0.0
    """Boxes below are dropped before they cost a mask."""

    def ground(
        self, images: Sequence[Image], captions: Sequence[Sequence[str]]
    ) -> Sequence[Sequence[Candidate]]:
        return self.start_ground(images, captions)()

    def start_ground(
        self, images: Sequence[Image], captions: Sequence[Sequence[str]]
    ) -> Callable[[], Sequence[Sequence[Candidate]]]:
        if not self.models.has_grounder:
            tiled = TiledModels(self.models)
            pair = DetectThenSegment(tiled, tiled, self.min_confidence)
            return pair.start_ground(images, captions)
        self._check_sizes(images)
        grounder = self.models.grounder
        if isinstance(grounder, DeferredGrounder):
            return grounder.start_ground(images, captions)
        found = grounder.ground(images, captions)
        return lambda: found

    def _check_sizes(self, images: Sequence[Image]) -> None:
        config = self.models.config
        for image in images:
            if is_large(image.shape, config.tiling):
                height, width = image.shape[:2]
                raise ConfigError(
                    f"tiling.mode {config.tiling.mode!r} would tile an image of {width}×{height} "
                    "pixels, and the masks of a model that goes from words to masks by "
                    f"itself (detector.type {config.detector.type!r}) cannot be merged from tiles; "
                    "set tiling.mode to 'never' to process images whole, or choose a detector with "
                    "a segmenter"
                )


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
