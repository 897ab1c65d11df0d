"""Fake models without weights, for tests of code that labels images and videos.

The fakes process images of plain colors: the upper left pixel has the background color, every other
color is an object, and a caption matches the objects of the color that it names. `FakeTracker`
associates objects between frames by color and, among those of one color, by distance.

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
"""Color names that `FakeDetector` matches in captions, and their RGB values."""

_BACKGROUND, _NO_OBJECT = -1, -2
"""Color values of background pixels, and of a prompt that contains no object."""


class FakeDetector:
    """Detects the connected components of the color that a caption names.

    Without captions, it detects the components of all its colors and names them by their color.

    Args:
        confidence: confidence of every detection; ``None`` for a model that returns none.
        colors: RGB values by the name that a caption must contain as a word.
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
        """See `grounded_sam2.models.protocols.Detector`.

        Boxes are in the order of the captions; those of one caption from top to bottom, then from
        left to right. A caption without a color has none.
        """
        return [
            self._detect_image(image, image_captions)
            for image, image_captions in zip(images, captions, strict=True)
        ]

    def _detect_image(self, image: Image, captions: Sequence[str]) -> DetectedBoxes:
        boxes = [np.zeros((0, 4), np.float32)]
        box_captions: list[str] = []
        for caption in captions or self.colors:
            for color in [rgb for name, rgb in self.colors.items() if name in caption.split()]:
                color_boxes = _component_boxes((image == np.array(color, np.uint8)).all(axis=2))
                boxes.append(color_boxes)
                box_captions += [caption] * len(color_boxes)
        confidence = (
            None
            if self.confidence is None
            else np.full(len(box_captions), self.confidence, np.float32)
        )
        return DetectedBoxes(np.concatenate(boxes), tuple(box_captions), confidence)


class FakeSegmenter:
    """Segments the pixels inside a box that do not have the background color.

    Args:
        quality: mask quality (predicted IoU) of every mask.
    """

    def __init__(self, *, quality: float = 0.8) -> None:
        self.quality = quality

    def segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[NDArray[np.float32]]
    ) -> list[SegmentedMasks]:
        """See `grounded_sam2.models.protocols.Segmenter`."""
        return [
            self._segment_image(image, boxes)
            for image, boxes in zip(images, boxes_xyxy, strict=True)
        ]

    def _segment_image(self, image: Image, boxes: NDArray[np.float32]) -> SegmentedMasks:
        foreground = (image != image[0, 0]).any(axis=2)
        masks = np.zeros((len(boxes), *foreground.shape), np.bool_)
        for mask, box in zip(masks, boxes, strict=True):
            left, top = np.floor(box[:2]).astype(int)
            right, bottom = np.ceil(box[2:]).astype(int)
            mask[top:bottom, left:right] = foreground[top:bottom, left:right]
        return SegmentedMasks(
            masks=tuple(encode(masks)),
            quality=np.full(len(boxes), self.quality, np.float32),
            complement=np.zeros(len(boxes), np.bool_),
        )


@dataclass(frozen=True, slots=True, eq=False)
class FakeFrameFeatures:
    """Frame features of `FakeTracker`: the color of each pixel."""

    colors: NDArray[np.int32]
    """``(h, w)``: ``0xRRGGBB``; negative for the background."""

    @property
    def size_hw(self) -> tuple[int, int]:
        """See `grounded_sam2.models.protocols.FrameFeatures`."""
        height, width = self.colors.shape
        return height, width


@dataclass(frozen=True, slots=True)
class FakeTrackerState:
    """Tracker state of `FakeTracker`: the color and the last position of each object."""

    objects: Mapping[int, tuple[int, float, float]]
    """``(color, x, y)`` by object id, in ascending order of the ids; x and y are the center of the
    bounding box."""

    @property
    def ids(self) -> tuple[int, ...]:
        """See `grounded_sam2.models.protocols.TrackerState`."""
        return tuple(self.objects)

    def without(self, ids: Collection[int]) -> FakeTrackerState:
        """See `grounded_sam2.models.protocols.TrackerState`."""
        return FakeTrackerState({i: each for i, each in self.objects.items() if i not in ids})

    def select(self, ids: Collection[int]) -> FakeTrackerState:
        """See `grounded_sam2.models.protocols.TrackerState`."""
        return FakeTrackerState({i: each for i, each in self.objects.items() if i in ids})


@dataclass(frozen=True, slots=True, eq=False)
class FakeFrameMasks:
    """Masks that `FakeTracker` predicts for ``n`` objects on one frame."""

    ids: tuple[int, ...]
    """``n`` object ids."""
    quality: NDArray[np.float32]
    """``(n,)``: mask quality (predicted IoU); 0 for an absent object."""
    score: NDArray[np.float32]
    """``(n,)``: object score logit; 5 for a visible object, -5 for an absent one."""
    rles: tuple[Rle, ...]
    """``n`` masks of the frame's size; empty for an absent object."""
    colors: tuple[int, ...]
    """``n`` colors, ``0xRRGGBB``."""

    def to_rles(self) -> tuple[Rle, ...]:
        """See `grounded_sam2.models.protocols.FrameMasks`."""
        return self.rles

    def select(self, ids: Collection[int]) -> FakeFrameMasks:
        """See `grounded_sam2.models.protocols.FrameMasks`."""
        rows = [row for row, object_id in enumerate(self.ids) if object_id in ids]
        return FakeFrameMasks(
            tuple(self.ids[row] for row in rows),
            self.quality[rows],
            self.score[rows],
            tuple(self.rles[row] for row in rows),
            tuple(self.colors[row] for row in rows),
        )

    def without_overlaps(
        self,
        groups: Sequence[Collection[int]],
        yielding: Collection[int] = (),
        owners: Collection[tuple[int, int]] = (),
    ) -> FakeFrameMasks:
        """See `grounded_sam2.models.protocols.FrameMasks`.

        The first object of a group that is not yielding keeps the shared pixels. An object that
        loses all its pixels becomes absent.
        """
        owner_counts = Counter(owned for _, owned in owners)
        rles = list(self.rles)
        for group in groups:
            rows = [row for row, object_id in enumerate(self.ids) if object_id in group]
            rows.sort(key=lambda row: (self.ids[row] in yielding, owner_counts[self.ids[row]]))
            disjoint = remove_overlaps([self.rles[row] for row in rows])
            for row, mask in zip(rows, disjoint, strict=True):
                rles[row] = mask
        if rles == list(self.rles):
            return self
        emptied = [
            object_id
            for object_id, before, after in zip(self.ids, self.rles, rles, strict=True)
            if before.area and not after.area
        ]
        return replace(self, rles=tuple(rles)).mark_absent(emptied)

    def mark_absent(self, ids: Collection[int]) -> FakeFrameMasks:
        """See `grounded_sam2.models.protocols.FrameMasks`."""
        absent = np.array([object_id in ids for object_id in self.ids], np.bool_)
        return replace(
            self,
            quality=np.where(absent, 0, self.quality).astype(np.float32),
            score=np.where(absent, -5, self.score).astype(np.float32),
            rles=tuple(
                encode(np.zeros((1, *mask.size_hw), np.bool_))[0] if is_absent else mask
                for mask, is_absent in zip(self.rles, absent.tolist(), strict=True)
            ),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[FakeFrameMasks]) -> FakeFrameMasks:
        """See `grounded_sam2.models.protocols.FrameMasks`."""
        return cls(
            tuple(object_id for part in parts for object_id in part.ids),
            np.concatenate([part.quality for part in parts]),
            np.concatenate([part.score for part in parts]),
            tuple(mask for part in parts for mask in part.rles),
            tuple(color for part in parts for color in part.colors),
        )


class FakeTracker:
    """Tracks connected components by color and position.

    A prompt (box, mask or a point inside the object) gives an object the most frequent color of
    its foreground pixels. Propagation predicts the component of this color whose center is nearest
    to the object's last position, at any distance. Without such a component the object is absent:
    its mask is empty and its state keeps the last position.

    Args:
        quality: mask quality (predicted IoU) of every visible object; that of absent ones is 0.
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
        return self._to_frame_masks(
            {
                i: (color, _nearest_component(encoded.colors == color, x, y))
                for i, (color, x, y) in state.objects.items()
            }
        )

    def prompt(
        self,
        encoded: FakeFrameFeatures,
        prompts: Mapping[int, TrackPrompt],
        state: FakeTrackerState | None = None,
        frame: int | None = None,
        *,
        reverse: bool = False,
    ) -> FakeFrameMasks:
        """See `grounded_sam2.models.protocols.Tracker`. The state is ignored."""
        return self._to_frame_masks(
            {i: _segment_prompt(encoded.colors, prompt) for i, prompt in prompts.items()}
        )

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
        objects = dict(state.objects)
        boxes = bounding_boxes(masks.rles).tolist()
        for i, color, box in zip(masks.ids, masks.colors, boxes, strict=True):
            left, top, right, bottom = box
            if right > left:
                objects[i] = color, (left + right) / 2, (top + bottom) / 2
            elif i not in objects:
                objects[i] = color, 0.0, 0.0
        return FakeTrackerState(dict(sorted(objects.items())))

    def save(self, state: FakeTrackerState) -> bytes:
        """See `grounded_sam2.models.protocols.Tracker`."""
        return json.dumps(list(state.objects.items())).encode()

    def load(self, saved: bytes) -> FakeTrackerState:
        """See `grounded_sam2.models.protocols.Tracker`."""
        return FakeTrackerState({i: (color, x, y) for i, (color, x, y) in json.loads(saved)})

    def _to_frame_masks(
        self, objects: Mapping[int, tuple[int, NDArray[np.bool_]]]
    ) -> FakeFrameMasks:
        """Frame masks of a color and a mask ``(h, w)`` by object id."""
        masks = [mask for _, mask in objects.values()]
        visible = np.array([mask.any() for mask in masks], np.bool_)
        return FakeFrameMasks(
            tuple(objects),
            np.where(visible, self.quality, 0).astype(np.float32),
            np.where(visible, 5, -5).astype(np.float32),
            tuple(encode(np.stack(masks))) if masks else (),
            tuple(color for color, _ in objects.values()),
        )


def _nearest_component(mask: NDArray[np.bool_], x: float, y: float) -> NDArray[np.bool_]:
    """Mask ``(h, w)`` of the connected component whose bounding box center is nearest to a point;
    empty if there is no component."""
    count, components, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=8
    )
    if count <= 2:
        return mask
    left, top, width, height = stats[1:, :4].T
    distance = np.hypot(left + width / 2 - x, top + height / 2 - y)
    nearest: NDArray[np.bool_] = components == 1 + int(np.argmin(distance))
    return nearest


def _segment_prompt(
    colors: NDArray[np.int32], prompt: TrackPrompt
) -> tuple[int, NDArray[np.bool_]]:
    """Color and mask ``(h, w)`` of the prompted object; `_NO_OBJECT` and an empty mask if the
    prompt contains background only."""
    region = np.zeros(colors.shape, np.bool_)
    x, y = 0, 0
    if prompt.mask is not None:
        region |= prompt.mask.decode()
    elif prompt.box_xyxy is not None:
        left, top = np.maximum(np.floor(prompt.box_xyxy[:2]), 0).astype(int)
        right, bottom = np.ceil(prompt.box_xyxy[2:]).astype(int)
        region[top:bottom, left:right] = True
    elif prompt.points_xy is not None and prompt.point_labels is not None:
        inside = prompt.points_xy[prompt.point_labels == 1].astype(int)
        if not len(inside):
            raise PromptError("track prompt: all points lie outside the object; give one inside")
        x, y = inside[0].tolist()
        region[y, x] = True
    values, counts = np.unique(colors[region & (colors >= 0)], return_counts=True)
    if not len(values):
        return _NO_OBJECT, np.zeros(colors.shape, np.bool_)
    color = int(values[np.argmax(counts)])
    if prompt.box_xyxy is None and prompt.mask is None:
        _, components = cv2.connectedComponents((colors == color).astype(np.uint8), connectivity=8)
        region = components == components[y, x]
    return color, region & (colors == color)


def _component_boxes(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Half-open boxes of the connected components, from top to bottom, then from left to right:
    ``(n, 4)`` xyxy, ``(0, 4)`` for an empty mask."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    left, top, width, height = stats[1:, :4].T.astype(np.float32)  # row 0 is the background
    boxes = np.stack([left, top, left + width, top + height], axis=1)
    order = np.lexsort((left, top))
    return boxes[order]
