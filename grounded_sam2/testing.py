"""Fake models without weights, for testing code that labels.

The fakes detect objects in plain colors: whatever differs from the color of the upper left pixel is
an object, and a caption stands for the objects of the color that it names. `FakeTracker` identifies
an object by its color and, among those of one color, by its position.

    image = np.zeros((40, 60, 3), np.uint8)
    image[10:20, 5:25] = COLORS["red"]
    model = GroundedSAM2({"red box": "box"}, detector=FakeDetector(), segmenter=FakeSegmenter())

They are deterministic, load no torch, and satisfy the Protocols of
`grounded_sam2.models.protocols`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from grounded_sam2.errors import PromptError
from grounded_sam2.geometry.masks import remove_overlaps
from grounded_sam2.geometry.rle import Rle, bounding_boxes, encode
from grounded_sam2.models.protocols import TrackPrompt
from grounded_sam2.results import DetectedBoxes, Image, SegmentedMasks

__all__ = [
    "COLORS",
    "FakeDetector",
    "FakeFrameFeatures",
    "FakeFrameMasks",
    "FakeSegmenter",
    "FakeTracker",
    "FakeTrackerState",
]

COLORS: Mapping[str, tuple[int, int, int]] = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "white": (255, 255, 255),
}
"""Colors that `FakeDetector` knows, RGB."""

_BACKGROUND, _NO_COLOR = -1, -2
"""Color numbers of the background and of an object without a color."""


class FakeDetector:
    """Finds the connected areas of the color that a caption names.

    Without captions, it finds the areas of all its colors and calls them by the color.

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
        """See `grounded_sam2.models.protocols.Detector`. A caption without a color finds nothing.

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
    """Takes as the mask what, within the box, has not the color of the upper left pixel.

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


@dataclass(frozen=True, slots=True, eq=False)
class FakeFrameFeatures:
    """A frame as `FakeTracker` sees it."""

    colors: NDArray[np.int32]
    """``(h, w)``: a color's three bytes as one number; negative where there is no thing."""

    @property
    def size_hw(self) -> tuple[int, int]:
        """See `grounded_sam2.models.protocols.FrameFeatures`."""
        height, width = self.colors.shape
        return height, width


@dataclass(frozen=True, slots=True)
class FakeTrackerState:
    """What `FakeTracker` remembers: each object's color and the center of where it was last."""

    memories: Mapping[int, tuple[int, float, float]]
    """Colour, x and y by id, which rise."""

    @property
    def ids(self) -> tuple[int, ...]:
        """See `grounded_sam2.models.protocols.TrackerState`."""
        return tuple(self.memories)

    def without(self, ids: Collection[int]) -> FakeTrackerState:
        """See `grounded_sam2.models.protocols.TrackerState`."""
        return FakeTrackerState({i: memory for i, memory in self.memories.items() if i not in ids})

    def select(self, ids: Collection[int]) -> FakeTrackerState:
        """See `grounded_sam2.models.protocols.TrackerState`."""
        return FakeTrackerState({i: memory for i, memory in self.memories.items() if i in ids})


@dataclass(frozen=True, slots=True, eq=False)
class FakeFrameMasks:
    """What `FakeTracker` says of the objects of a frame."""

    ids: tuple[int, ...]
    quality: NDArray[np.float32]
    score: NDArray[np.float32]
    found: tuple[Rle, ...]
    colors: tuple[int, ...]

    def to_rles(self) -> tuple[Rle, ...]:
        """See `grounded_sam2.models.protocols.FrameMasks`."""
        return self.found

    def select(self, ids: Collection[int]) -> FakeFrameMasks:
        """See `grounded_sam2.models.protocols.FrameMasks`."""
        places = [place for place, each in enumerate(self.ids) if each in ids]
        return FakeFrameMasks(
            tuple(self.ids[place] for place in places),
            self.quality[places],
            self.score[places],
            tuple(self.found[place] for place in places),
            tuple(self.colors[place] for place in places),
        )

    def without_overlaps(
        self,
        groups: Sequence[Collection[int]],
        yielding: Collection[int] = (),
        owners: Collection[tuple[int, int]] = (),
    ) -> FakeFrameMasks:
        """See `grounded_sam2.models.protocols.FrameMasks`. The first of those that are not yielding
        keeps what others claim too; who is left with nothing is absent."""
        behind = Counter(other for _, other in owners)
        found = list(self.found)
        for group in groups:
            rows = [row for row, each in enumerate(self.ids) if each in group]
            rows.sort(key=lambda row: (self.ids[row] in yielding, behind[self.ids[row]]))
            parted = remove_overlaps([self.found[row] for row in rows])
            for row, mask in zip(rows, parted, strict=True):
                found[row] = mask
        if found == list(self.found):
            return self
        emptied = [
            number
            for number, before, after in zip(self.ids, self.found, found, strict=True)
            if before.area and not after.area
        ]
        return replace(self, found=tuple(found)).mark_absent(emptied)

    def mark_absent(self, ids: Collection[int]) -> FakeFrameMasks:
        """See `grounded_sam2.models.protocols.FrameMasks`."""
        gone = np.array([each in ids for each in self.ids], np.bool_)
        nothing = [encode(np.zeros((1, *mask.size_hw), np.bool_))[0] for mask in self.found]
        return replace(
            self,
            quality=np.where(gone, 0, self.quality).astype(np.float32),
            score=np.where(gone, -5, self.score).astype(np.float32),
            found=tuple(
                empty if is_gone else mask
                for mask, empty, is_gone in zip(self.found, nothing, gone.tolist(), strict=True)
            ),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[FakeFrameMasks]) -> FakeFrameMasks:
        """See `grounded_sam2.models.protocols.FrameMasks`."""
        return cls(
            tuple(each for part in parts for each in part.ids),
            np.concatenate([part.quality for part in parts]),
            np.concatenate([part.score for part in parts]),
            tuple(each for part in parts for each in part.found),
            tuple(each for part in parts for each in part.colors),
        )


class FakeTracker:
    """Follows the connected areas of one color.

    An object is shown to it by a box, a point inside or a mask, and has the color that most of
    the things there have. On other frames it is the area of this color that is nearest to where
    it was last, however far; where there is none, it is absent.

    Args:
        quality: what it says of the mask of everything that is there; 0 of what is absent.
    """

    def __init__(self, *, quality: float = 0.8) -> None:
        self.quality = quality

    def encode(self, image: Image) -> FakeFrameFeatures:
        """See `grounded_sam2.models.protocols.Tracker`."""
        red, green, blue = np.moveaxis(image.astype(np.int32), 2, 0)
        colors = red << 16 | green << 8 | blue
        return FakeFrameFeatures(np.where(colors == colors[0, 0], np.int32(_BACKGROUND), colors))

    def empty_state(self) -> FakeTrackerState:
        """See `grounded_sam2.models.protocols.Tracker`."""
        return FakeTrackerState({})

    def propagate(
        self,
        encoded: FakeFrameFeatures,
        state: FakeTrackerState,
        frame: int,
        *,
        reverse: bool = False,
    ) -> FakeFrameMasks:
        """See `grounded_sam2.models.protocols.Tracker`."""
        found = {
            i: (color, _nearest_part(encoded.colors == color, x, y))
            for i, (color, x, y) in state.memories.items()
        }
        return self._answers(found, encoded.size_hw)

    def prompt(
        self,
        encoded: FakeFrameFeatures,
        prompts: Mapping[int, TrackPrompt],
        state: FakeTrackerState | None = None,
        frame: int | None = None,
        *,
        reverse: bool = False,
    ) -> FakeFrameMasks:
        """See `grounded_sam2.models.protocols.Tracker`. What it remembers makes no difference."""
        found = {i: _shown(encoded.colors, prompt) for i, prompt in prompts.items()}
        return self._answers(found, encoded.size_hw)

    def update_state(
        self,
        encoded: FakeFrameFeatures,
        state: FakeTrackerState,
        frame: int,
        masks: FakeFrameMasks,
        *,
        prompted: Collection[int] = (),
    ) -> FakeTrackerState:
        """See `grounded_sam2.models.protocols.Tracker`."""
        memories = dict(state.memories)
        places = bounding_boxes(masks.found).tolist()
        for i, color, place in zip(masks.ids, masks.colors, places, strict=True):
            left, top, right, bottom = place
            if right > left:
                memories[i] = color, (left + right) / 2, (top + bottom) / 2
            elif i not in memories:
                memories[i] = color, 0.0, 0.0
        return FakeTrackerState(dict(sorted(memories.items())))

    def save(self, state: FakeTrackerState) -> bytes:
        """See `grounded_sam2.models.protocols.Tracker`."""
        return json.dumps(list(state.memories.items())).encode()

    def load(self, saved: bytes) -> FakeTrackerState:
        """See `grounded_sam2.models.protocols.Tracker`."""
        return FakeTrackerState({i: (color, x, y) for i, (color, x, y) in json.loads(saved)})

    def _answers(
        self, found: Mapping[int, tuple[int, NDArray[np.bool_]]], size_hw: tuple[int, int]
    ) -> FakeFrameMasks:
        there = np.array([mask.any() for _, mask in found.values()], np.bool_)
        masks = [mask for _, mask in found.values()]
        return FakeFrameMasks(
            tuple(found),
            np.where(there, self.quality, 0).astype(np.float32),
            np.where(there, 5, -5).astype(np.float32),
            tuple(encode(np.stack(masks))) if masks else (),
            tuple(color for color, _ in found.values()),
        )


def _nearest_part(mask: NDArray[np.bool_], x: float, y: float) -> NDArray[np.bool_]:
    """The connected part whose box has its center nearest to a point."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count <= 2:
        return mask
    left, top, width, height = stats[1:, :4].T
    distance = np.hypot(left + width / 2 - x, top + height / 2 - y)
    nearest: NDArray[np.bool_] = parts == 1 + int(np.argmin(distance))
    return nearest


def _shown(colors: NDArray[np.int32], prompt: TrackPrompt) -> tuple[int, NDArray[np.bool_]]:
    """The color of the object of a prompt, and its mask: ``(h, w)``."""
    where = np.zeros(colors.shape, np.bool_)
    x, y = 0, 0
    if prompt.mask is not None:
        where |= prompt.mask.decode()
    elif prompt.box_xyxy is not None:
        left, top = np.maximum(np.floor(prompt.box_xyxy[:2]), 0).astype(int)
        right, bottom = np.ceil(prompt.box_xyxy[2:]).astype(int)
        where[top:bottom, left:right] = True
    elif prompt.points_xy is not None and prompt.point_labels is not None:
        inside = prompt.points_xy[prompt.point_labels == 1].astype(int)
        if not len(inside):
            raise PromptError("track prompt: all points lie outside the object; give one inside")
        x, y = inside[0].tolist()
        where[y, x] = True
    values, counts = np.unique(colors[where & (colors >= 0)], return_counts=True)
    if not len(values):
        return _NO_COLOR, np.zeros(colors.shape, np.bool_)
    color = int(values[np.argmax(counts)])
    if prompt.box_xyxy is None and prompt.mask is None:
        _, parts = cv2.connectedComponents((colors == color).astype(np.uint8), connectivity=8)
        where = parts == parts[y, x]
    return color, where & (colors == color)


def _boxes_of_parts(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Half-open boxes of the connected parts: ``(n, 4)`` xyxy, ``(0, 4)`` for an empty mask."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    left, top, width, height = stats[1:, :4].T.astype(np.float32)  # row 0 is the background
    boxes = np.stack([left, top, left + width, top + height], axis=1)
    order = np.lexsort((left, top))
    return boxes[order]
