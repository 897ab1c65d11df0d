"""The seams between the models and everything that uses them.

Whatever satisfies these can stand in for Florence-2 and SAM 2: see `grounded_sam2.testing` for
fakes that need no weights.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.errors import PromptError
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.results import DetectedBoxes, Image, SegmentedMasks

__all__ = [
    "AnyTracker",
    "DeferredMaskSegmenter",
    "Detector",
    "FrameFeatures",
    "FrameMasks",
    "Segmenter",
    "TrackPrompt",
    "Tracker",
    "TrackerState",
]


@runtime_checkable
class Detector(Protocol):
    """Turns captions into boxes."""

    def detect(
        self, images: Sequence[Image], captions: Sequence[Sequence[str]]
    ) -> list[DetectedBoxes]:
        """Find what the captions name.

        Args:
            images: upright RGB images, ``(h, w, 3)`` ``uint8``, sizes may differ.
            captions: for each image, the captions to ask of it.

        Returns:
            One `DetectedBoxes` per image, in order; empty where nothing was found.
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
            images: upright RGB images, ``(h, w, 3)`` ``uint8``, sizes may differ.
            boxes_xyxy: for each image ``(n_i, 4)`` in its pixels; numbers may differ, also be 0.

        Returns:
            One `SegmentedMasks` per image, in order, with one mask per box.
        """
        ...


@runtime_checkable
class DeferredMaskSegmenter(Segmenter, Protocol):
    """A segmenter whose masks can be made compact while it goes on with other images."""

    def start_segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[NDArray[np.float32]]
    ) -> Callable[[], list[SegmentedMasks]]:
        """As `segment_boxes`, in two steps: the model's now, the rest when the result is called.

        What is returned may be called once, in any thread, also while this segmenter is at work in
        another. It holds no image.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class TrackPrompt:
    """What shows a tracker one object on one frame: a box, points, both, or a mask.

    Lists and arrays of any number type are taken.

    Raises:
        PromptError: nothing is given, a mask together with something else, points without labels,
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
            raise PromptError("a mask says all there is to say; give it without a box or points")
        if self.mask is not None and not self.mask.area:
            raise PromptError("mask of a track prompt: has no pixel; give one of the object")
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
    """One frame as the tracker sees it. Opaque; free it by letting go of it."""

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the frame, in pixels."""
        ...


_Self = TypeVar("_Self")


class TrackerState(Protocol):
    """What a tracker remembers of some objects: a value, never changed in place."""

    @property
    def ids(self) -> tuple[int, ...]:
        """The objects, rising."""
        ...

    def without(self: _Self, ids: Collection[int]) -> _Self:
        """The state of the other objects; ids that it does not hold are none of them."""
        ...

    def select(self: _Self, ids: Collection[int]) -> _Self:
        """The state of these objects."""
        ...


class FrameMasks(Protocol):
    """What a tracker says of ``n`` objects on one frame."""

    @property
    def ids(self) -> tuple[int, ...]:
        """The objects."""
        ...

    @property
    def quality(self) -> NDArray[np.float32]:
        """``(n,)``: predicted IoU of each mask with the object."""
        ...

    @property
    def score(self) -> NDArray[np.float32]:
        """``(n,)``: logit of the object being there; above 0 it is."""
        ...

    def to_rles(self) -> tuple[Rle, ...]:
        """Of the frame's size; empty where the object is absent."""
        ...

    def select(self: _Self, ids: Collection[int]) -> _Self:
        """The answers about these objects, in the order they have here."""
        ...

    def without_overlaps(
        self: _Self,
        groups: Sequence[Collection[int]],
        yielding: Collection[int] = (),
        owners: Collection[tuple[int, int]] = (),
    ) -> _Self:
        """The same where objects of a group share no pixel. No id is in two groups; those that
        are yielding leave to the others whatever those claim, and of a pair of ``owners`` what
        both claim is the first one's."""
        ...

    def mark_absent(self: _Self, ids: Collection[int]) -> _Self:
        """The same, but these objects are not there."""
        ...

    @classmethod
    def concatenate(cls: type[_Self], parts: Sequence[_Self]) -> _Self:
        """FrameMasks about different objects on one frame as one; at least one part."""
        ...


FeaturesT = TypeVar("FeaturesT", bound=FrameFeatures)
StateT = TypeVar("StateT", bound=TrackerState)
MasksT = TypeVar("MasksT", bound=FrameMasks)


@runtime_checkable
class Tracker(Protocol[FeaturesT, StateT, MasksT]):
    """Follows objects through frames. All of it is pure: state goes in, state comes out.

    ``frame`` is a frame's place in the sequence of those that are processed: 0, 1, 2 and so on,
    whatever frames of the video are left out. An object's id is any positive number; the caller
    chooses it.
    """

    def encode(self, image: Image) -> FeaturesT:
        """Look at a frame, once, for however many objects.

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
        """Find all objects of the state on a frame, in the order of its ids; none for none.

        Args:
            encoded: the frame.
            state: what is remembered of other frames.
            frame: the frame's place.
            reverse: the remembered frames come after this one.
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
        """Find objects that are shown to it on a frame, in the order of the prompts.

        An object that the state holds is corrected: what is remembered of it counts as well, and
        ``frame`` must be given. Any other, and each without a state, is seen for the first time.
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
            state: the state before it.
            frame: the frame's place.
            masks: what is to be remembered of the frame. Objects new to the state join it; those
                of the state about which nothing is said stay as they are.
            prompted: objects to which this frame is shown as an example.
        """
        ...

    def save(self, state: StateT) -> bytes:
        """A state as bytes, exactly, so that tracking goes on from `load` as if never stopped."""
        ...

    def load(self, saved: bytes) -> StateT:
        """The inverse of `save`."""
        ...


AnyTracker: TypeAlias = Tracker[Any, Any, Any]
"""For those who only pass a tracker's values on."""
