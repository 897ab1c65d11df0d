"""Protocols of the models: grounder, detector, segmenter and tracker.

The engine knows grounders only: a detector with a segmenter is one
(`grounded_sam2.inference.detect_and_segment.DetectThenSegment`), and a model that goes from words
to masks is one by itself. `grounded_sam2.testing` has fakes without weights.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.errors import PromptError
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.results import Candidate, DetectedBoxes, Image, SegmentedMasks

__all__ = [
    "AnyTracker",
    "DeferredGrounder",
    "DeferredMaskSegmenter",
    "Detector",
    "FrameFeatures",
    "FrameMasks",
    "Grounder",
    "Segmenter",
    "TrackPrompt",
    "Tracker",
    "TrackerState",
]


@runtime_checkable
class Grounder(Protocol):
    """Finds the objects that captions name, with their masks."""

    def ground(
        self, images: Sequence[Image], captions: Sequence[Sequence[str]]
    ) -> Sequence[Sequence[Candidate]]:
        """Find the objects that captions name.

        Args:
            images: upright RGB images, ``(h, w, 3)`` ``uint8``, sizes may differ.
            captions: for each image, the captions to detect.

        Returns:
            For each image, in order, its candidates, empty for an image without objects. Captions
            are exactly as given. A mask has the size of the image; ``None`` where the model found a
            box only. Numbers that the model does not give are ``None``. Candidates below
            ``detector.min_confidence`` and ``detector.candidate_confidence`` may be left out.
        """
        ...


@runtime_checkable
class DeferredGrounder(Grounder, Protocol):
    """A grounder that can defer the encoding of masks while it processes other images."""

    def start_ground(
        self, images: Sequence[Image], captions: Sequence[Sequence[str]]
    ) -> Callable[[], Sequence[Sequence[Candidate]]]:
        """`ground` in two steps: run the model now, encode masks in the returned function.

        The returned function can be called once, in any thread, also while this grounder runs in
        another. It holds no image.
        """
        ...


@runtime_checkable
class Detector(Protocol):
    """Detects the objects that captions name."""

    def detect(
        self, images: Sequence[Image], captions: Sequence[Sequence[str]]
    ) -> list[DetectedBoxes]:
        """Detect the objects that captions name.

        Args:
            images: upright RGB images, ``(h, w, 3)`` ``uint8``, sizes may differ.
            captions: for each image, the captions to detect.

        Returns:
            One `DetectedBoxes` per image, in order; empty for an image without detections.
        """
        ...


@runtime_checkable
class Segmenter(Protocol):
    """Segments the objects in boxes."""

    def segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[NDArray[np.float32]]
    ) -> list[SegmentedMasks]:
        """Segment the object in each box.

        Args:
            images: upright RGB images, ``(h, w, 3)`` ``uint8``, sizes may differ.
            boxes_xyxy: for each image ``(n_i, 4)`` in its pixels; numbers may differ, also be 0.

        Returns:
            One `SegmentedMasks` per image, in order, with one mask per box.
        """
        ...


@runtime_checkable
class DeferredMaskSegmenter(Segmenter, Protocol):
    """A segmenter that can defer the encoding of masks while it segments other images."""

    def start_segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[NDArray[np.float32]]
    ) -> Callable[[], list[SegmentedMasks]]:
        """`segment_boxes` in two steps: run the model now, encode masks in the returned function.

        The returned function can be called once, in any thread, also while this segmenter runs in
        another. It holds no image.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class TrackPrompt:
    """A prompt for one object on one frame: a box, points, both, or a mask.

    Lists and arrays of any number type are converted.

    Raises:
        PromptError: an empty prompt, a mask together with a box or points, points without labels,
            a wrong shape, a number that is not finite, a box without area, a label other than 0
            and 1, or an empty mask.
    """

    box_xyxy: NDArray[np.float32] | None = None
    """``(4,)``, pixels of the frame, half-open."""
    points_xy: NDArray[np.float32] | None = None
    """``(p, 2)``, pixels of the frame; ``p`` at least 1."""
    point_labels: NDArray[np.int64] | None = None
    """``(p,)``: 1 inside the object, 0 outside."""
    mask: Rle | None = None
    """Of the frame's size."""

    def __post_init__(self) -> None:
        self._convert("box_xyxy", np.float32, (4,))
        self._convert("points_xy", np.float32, (None, 2))
        self._convert("point_labels", np.int64, (None,))
        points, labels = self.points_xy, self.point_labels
        if self.box_xyxy is None and points is None and self.mask is None:
            raise PromptError("a track prompt is empty; give a box, points or a mask")
        if self.mask is not None and not (self.box_xyxy is None and points is None):
            raise PromptError(
                "a track prompt has a mask and more; give the mask without a box or points"
            )
        if self.mask is not None and not self.mask.area:
            raise PromptError(
                "the mask of a track prompt has no pixels; give the mask of the object"
            )
        if (points is None) != (labels is None):
            raise PromptError("points_xy and point_labels belong together; give both or neither")
        if points is not None and labels is not None and not 0 < len(points) == len(labels):
            raise PromptError(
                f"{len(points)} points_xy with {len(labels)} point_labels; give a label for each "
                "of at least one point"
            )
        if labels is not None:
            for label in np.setdiff1d(labels, (0, 1))[:1]:
                raise PromptError(f"point label {label}: expected 1 or 0")
        if self.box_xyxy is not None and not (self.box_xyxy[:2] < self.box_xyxy[2:]).all():
            raise PromptError(f"box_xyxy is {self.box_xyxy.tolist()}: expected x1 < x2 and y1 < y2")

    def _convert(self, name: str, dtype: type[np.generic], shape: tuple[int | None, ...]) -> None:
        given = getattr(self, name)
        if given is None:
            return
        try:
            values = np.asarray(given, dtype)
        except (TypeError, ValueError) as error:
            raise PromptError(f"{name} is not an array of numbers: {error}") from error
        fits = len(shape) == values.ndim and all(
            want in (None, have) for want, have in zip(shape, values.shape, strict=True)
        )
        if not fits:
            expected = ", ".join("p" if size is None else str(size) for size in shape)
            raise PromptError(f"{name} has shape {values.shape}; expected ({expected})")
        if not np.isfinite(values).all():
            raise PromptError(f"{name} is {values.tolist()}; give finite values")
        object.__setattr__(self, name, values)


class FrameFeatures(Protocol):
    """Encoded features of one frame. Opaque to callers; freed with the last reference."""

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the frame, in pixels."""
        ...


_Self = TypeVar("_Self")


class TrackerState(Protocol):
    """A tracker's memory of some objects: an immutable value."""

    @property
    def ids(self) -> tuple[int, ...]:
        """The objects' ids, ascending."""
        ...

    def without(self: _Self, ids: Collection[int]) -> _Self:
        """The state without some objects; ids that it does not contain are ignored."""
        ...

    def select(self: _Self, ids: Collection[int]) -> _Self:
        """The state of some objects; ids that it does not contain are ignored."""
        ...


class FrameMasks(Protocol):
    """The masks that a tracker predicts for ``n`` objects on one frame: an immutable value."""

    @property
    def ids(self) -> tuple[int, ...]:
        """The objects' ids."""
        ...

    @property
    def quality(self) -> NDArray[np.float32]:
        """``(n,)``: predicted IoU of each mask with the object."""
        ...

    @property
    def score(self) -> NDArray[np.float32]:
        """``(n,)``: logit that the object is present; above 0 it is."""
        ...

    def to_rles(self) -> tuple[Rle, ...]:
        """The masks, of the frame's size; empty for absent objects."""
        ...

    def select(self: _Self, ids: Collection[int]) -> _Self:
        """The masks of some objects, in the order that they have here."""
        ...

    def without_overlaps(
        self: _Self,
        groups: Sequence[Collection[int]],
        yielding: Collection[int] = (),
        owners: Collection[tuple[int, int]] = (),
    ) -> _Self:
        """These masks without overlaps between objects of a group.

        Args:
            groups: ids of objects, which may be absent here; no id is in two groups.
            yielding: ids of objects that yield all shared pixels to the others.
            owners: pairs of ids; the first of a pair gets all pixels that both share.
        """
        ...

    def mark_absent(self: _Self, ids: Collection[int]) -> _Self:
        """These masks with some objects marked as absent."""
        ...

    @classmethod
    def concatenate(cls: type[_Self], parts: Sequence[_Self]) -> _Self:
        """The masks of different objects of one frame as one value; at least one part."""
        ...


FeaturesT = TypeVar("FeaturesT", bound=FrameFeatures)
StateT = TypeVar("StateT", bound=TrackerState)
MasksT = TypeVar("MasksT", bound=FrameMasks)


@runtime_checkable
class Tracker(Protocol[FeaturesT, StateT, MasksT]):
    """Propagates masks of objects from frame to frame. Pure: states are passed in and returned.

    ``frame`` is the position of a frame among those that are processed: 0, 1, 2 and so on,
    whichever frames of the video are left out. An object's id is any positive number, chosen by the
    caller.
    """

    def encode(self, image: Image) -> FeaturesT:
        """Encode a frame, once for any number of objects.

        Args:
            image: upright RGB, ``(h, w, 3)`` ``uint8``.
        """
        ...

    def empty_state(self) -> StateT:
        """The state of no objects."""
        ...

    def propagate(
        self, encoded: FeaturesT, state: StateT, frame: int, *, reverse: bool = False
    ) -> MasksT:
        """Predict the masks of all objects of a state on a frame.

        Args:
            encoded: the frame.
            state: memory of other frames.
            frame: position of the frame.
            reverse: the frames in memory come after this one.

        Returns:
            Masks in the order of ``state.ids``; none for no objects.
        """
        ...

    def prompt(
        self,
        encoded: FeaturesT,
        prompts: Mapping[int, TrackPrompt],
        state: StateT | None = None,
        frame: int | None = None,
        *,
        reverse: bool = False,
    ) -> MasksT:
        """Predict the masks of prompted objects on a frame, in the order of the prompts.

        An object of the state is corrected: its memory counts as well as the prompt, and ``frame``
        is required. Any other object, and each without a state, is new.
        """
        ...

    def update_state(
        self,
        encoded: FeaturesT,
        state: StateT,
        frame: int,
        masks: MasksT,
        *,
        prompted: Collection[int] = (),
    ) -> StateT:
        """The state after a frame.

        Args:
            encoded: the frame.
            state: the state before it; not changed.
            frame: position of the frame.
            masks: masks to add to the memory. Objects that are new to the state join it; objects
                of the state without a mask here keep their memory.
            prompted: objects for which the frame is kept like a prompted one.
        """
        ...

    def save(self, state: StateT) -> bytes:
        """A state as bytes, losslessly: tracking continues from `load` as if uninterrupted."""
        ...

    def load(self, saved: bytes) -> StateT:
        """The inverse of `save`."""
        ...


AnyTracker: TypeAlias = Tracker[Any, Any, Any]
"""A tracker whose values the caller only passes on."""
