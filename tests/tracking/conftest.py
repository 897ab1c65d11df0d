"""Clips of things in plain colors, and a detector that does as it is told.

The background of a frame says its index, so that whatever is told of a frame is found again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from grounded_sam2.config import Config
from grounded_sam2.geometry.rle import rectangle
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.results import DetectedBoxes, TrackedFrame, VideoFrame
from grounded_sam2.testing import COLORS, FakeDetector, FakeTracker
from grounded_sam2.tracking import track_frames

Thing = tuple[str, int, int, int, int]
"""Colour, left, top, right, bottom."""

SIZE_HW = (40, 60)
ONTOLOGY = CaptionOntology({"red thing": "ball", "yellow thing": "ball", "blue thing": "box"})


def draw_image(index: int, things: Iterable[Thing], *, scene: int = 0) -> np.ndarray:
    """Later things hide earlier ones."""
    image = np.empty((*SIZE_HW, 3), np.uint8)
    image[:] = index, 100 * scene, 200 * scene
    for color, left, top, right, bottom in things:
        image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = COLORS[color]
    return image


def clip(count: int, things: Callable[[int], Iterable[Thing]]) -> list[VideoFrame]:
    """Frames on which there is what `things` says of their index."""
    return [VideoFrame(i, i / 10, draw_image(i, things(i))) for i in range(count)]


class ToldDetector:
    """Finds colored areas, but for what it is told of a frame.

    Args:
        told: by frame, boxes with caption and confidence; what it says there instead.
        confidence: of all others.
    """

    def __init__(
        self,
        told: Mapping[int, list[tuple[str, float, tuple[float, ...]]]] | None = None,
        *,
        confidence: float | None = 0.9,
    ) -> None:
        self.told = told or {}
        self.fake = FakeDetector(confidence=confidence)
        self.looked: list[int] = []

    def detect(self, images, captions):
        [image] = images
        index = int(image[0, 0, 0])
        self.looked.append(index)
        if index not in self.told:
            return self.fake.detect(images, captions)
        said = self.told[index]
        return [
            DetectedBoxes(
                np.array([box for _, _, box in said], np.float32).reshape(-1, 4),
                tuple(caption for caption, _, _ in said),
                np.array([confidence for _, confidence, _ in said], np.float32),
            )
        ]


class DriftingTracker(FakeTracker):
    """Says something else of a color on some frames.

    Args:
        mask: by frame and color, the box that it takes for the object; ``None`` for absent.
        quality: by frame, of everything.
    """

    def __init__(self, mask=None, quality=None) -> None:
        super().__init__()
        self.mask = mask or {}
        self.quality_at = quality or {}

    def propagate(self, encoded, state, frame, *, reverse=False):
        answers = super().propagate(encoded, state, frame, reverse=reverse)
        found, scores = list(answers.found), answers.score.copy()
        for place, color in enumerate(answers.colors):
            for name, box in self.mask.get(frame, {}).items():
                red, green, blue = COLORS[name]
                if color == red << 16 | green << 8 | blue:
                    found[place] = rectangle(box or (0, 0, 0, 0), SIZE_HW)
                    scores[place] = -5 if box is None else 5
        quality = np.full_like(answers.quality, self.quality_at.get(frame, self.quality))
        return replace(answers, found=tuple(found), score=scores, quality=quality)


def options(**values: object) -> Config:
    """The default but for options of ``tracking``, or with their section: ``cleanup__nms``."""
    return Config().with_options(
        {
            name.replace("__", ".") if "__" in name else f"tracking.{name}": value
            for name, value in values.items()
        }
    )


def track(frames, detector=None, tracker=None, ontology=ONTOLOGY, **values) -> list[TrackedFrame]:
    return list(
        track_frames(
            frames,
            detector or ToldDetector(),
            tracker or FakeTracker(),
            ontology,
            options(**values),
        )
    )


def story(frames: list[TrackedFrame]) -> dict[int, str]:
    """What became of each track: by id, a letter per frame. ``d``, ``f``, ``b`` is where its label
    comes from, ``.`` is none."""
    told: dict[int, list[str]] = {}
    for place, frame in enumerate(frames):
        for label in frame.labels.objects:
            letters = told.setdefault(label.track_id, ["."] * len(frames))
            letters[place] = label.track_origin[0]
    return {track_id: "".join(letters) for track_id, letters in sorted(told.items())}


def boxes(frames: list[TrackedFrame], track_id: int) -> dict[int, tuple[float, ...]]:
    """Where a track was, by index of the frame."""
    return {
        frame.index: label.box_xyxy
        for frame in frames
        for label in frame.labels.objects
        if label.track_id == track_id
    }


class Studio:
    """Makes clips and tracks them."""

    ontology = ONTOLOGY
    draw_image = staticmethod(draw_image)
    clip = staticmethod(clip)
    options = staticmethod(options)
    track = staticmethod(track)
    story = staticmethod(story)
    boxes = staticmethod(boxes)
    ToldDetector = ToldDetector
    DriftingTracker = DriftingTracker


@pytest.fixture(scope="session")
def studio() -> Studio:
    return Studio()
