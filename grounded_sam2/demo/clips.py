"""Synthetic clips: moving scenes whose every mask is known in every frame.

Made of what the scenes are made of (`grounded_sam2.demo.scenes`), so that whoever knows the scenes
knows the clips: the same shapes, colors, backgrounds and light, but every paint is mixed once
and then moves with its object. Objects hide each other in a constant order, leave the image and
come back, or enter later; the camera pans and shakes.

A clip is a recipe. Its frames are painted as they are asked for and not kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from grounded_sam2.demo.clip_motion import Body, Camera
from grounded_sam2.demo.painting import Exposure, Shadow, background, coverage, fill
from grounded_sam2.demo.scenes import (
    COLORS,
    MAX_RADIUS,
    MIN_RADIUS,
    SHAPES,
    Sprite,
    outline,
    random_size,
)
from grounded_sam2.results import Image

__all__ = ["Clip", "ClipFrame", "ClipObject", "make_clip", "make_clips"]

SMALLEST_SIGHTING = 0.0005
"""Share of the image's pixels. What shows less of itself than this (33 pixels of 256 × 256) could
not be named or outlined by anybody: it counts as hidden."""
_PATCH_REACH = 1.1
"""Half a side of an object's paint in radii; the arms of a cross reach a little over its circle."""


@dataclass(frozen=True, slots=True)
class ClipObject:
    """One thing of a clip."""

    track_id: int
    """From 1, in the order of drawing: what has a greater one is in front."""
    color: str
    shape: str

    @property
    def name(self) -> str:
        """Colour and shape, as in ``red circle``."""
        return f"{self.color} {self.shape}"


@dataclass(frozen=True, slots=True, eq=False)
class ClipFrame:
    """An image of a clip and the whole truth about it."""

    index: int
    image: Image
    masks: Mapping[int, NDArray[np.bool_]]
    """Visible pixels ``(h, w)`` of every object by its ``track_id``; empty where it is not seen."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A recipe of moving images; iterating it paints them, every time the same."""

    seed: int
    frames: int
    size_hw: tuple[int, int]
    objects: tuple[ClipObject, ...]
    bodies: tuple[Body, ...]
    """The objects, back to front, on the first frame."""
    camera: Camera

    def __len__(self) -> int:
        return self.frames

    def __iter__(self) -> Iterator[ClipFrame]:
        stage = _Stage(self)
        motion, noise = self._random("motion"), self._random("noise")
        bodies = self.bodies
        side = min(self.size_hw)
        extent_xy = self.size_hw[1] / side, self.size_hw[0] / side
        for index in range(self.frames):
            yield stage.paint(index, bodies, self.camera.offset(motion, index), noise)
            bodies = tuple(body.step(motion, extent_xy) for body in bodies)

    def _random(self, purpose: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, 0xC119, *purpose.encode()])


class _Stage:
    """The paints of a clip, mixed once, and the painter."""

    def __init__(self, clip: Clip) -> None:
        rng = clip._random("paint")
        self.clip, self.side = clip, min(clip.size_hw)
        height, width = clip.size_hw
        self.margin = int(np.ceil(clip.camera.reach * self.side)) + 1
        self.world = background(rng, (height + 2 * self.margin, width + 2 * self.margin))
        self.paints: list[NDArray[np.float32]] = []
        self.shadows: list[Shadow | None] = []
        for thing, body in zip(clip.objects, clip.bodies, strict=True):
            patch = max(8, int(2 * _PATCH_REACH * body.size * self.side))
            self.paints.append(fill(rng, COLORS[thing.color], (patch, patch)))
            self.shadows.append(Shadow.draw(rng) if rng.random() < 0.5 else None)
        self.exposure = Exposure.draw(rng, clip.size_hw)

    def paint(
        self,
        index: int,
        bodies: tuple[Body, ...],
        offset_xy: tuple[float, float],
        noise: np.random.Generator,
    ) -> ClipFrame:
        clip = self.clip
        shift = [self.margin + self.side * offset for offset in offset_xy]
        canvas = cv2.warpAffine(
            self.world,
            np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float64),
            clip.size_hw[::-1],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        masks: list[NDArray[np.bool_]] = []
        for thing, body, paint, shadow in zip(
            clip.objects, bodies, self.paints, self.shadows, strict=True
        ):
            sprite = Sprite(
                thing.color,
                thing.shape,
                (
                    self.side * (body.center_xy[0] - offset_xy[0]),
                    self.side * (body.center_xy[1] - offset_xy[1]),
                ),
                self.side * body.radius,
                body.angle,
            )
            covered = coverage(outline(sprite), clip.size_hw)
            if covered.any():
                if shadow is not None:
                    canvas *= 1 - shadow.darkening(covered, sprite.radius)[..., None]
                _lay(canvas, covered, paint, sprite)
            solid = covered > 0.5
            masks = [*(mask & ~solid for mask in masks), solid]
        least = SMALLEST_SIGHTING * canvas.shape[0] * canvas.shape[1]
        return ClipFrame(
            index,
            self.exposure.photograph(noise, canvas),
            {
                thing.track_id: mask if mask.sum() >= least else np.zeros_like(mask)
                for thing, mask in zip(clip.objects, masks, strict=True)
            },
        )


def make_clip(
    seed: int,
    frames: int = 60,
    size_hw: tuple[int, int] | None = None,
    objects: int | None = None,
    *,
    twins: bool = False,
    colors: int = len(COLORS),
) -> Clip:
    """Make the clip of a seed.

    Args:
        seed: any non-negative integer; the same seed gives the same pixels, and a longer clip
            begins with the shorter one.
        frames: how many.
        size_hw: height and width in pixels; ``None`` lets the seed choose (208 to 320 a side).
        objects: how many, at most 36 without twins; ``None`` lets the seed choose (3 to 6).
        twins: let objects share color and shape. Without, no two do, so that their names tell
            them apart.
        colors: that all the objects share; with fewer, at most six times as many objects.
    """
    rng = np.random.default_rng([seed, 0xC11B])
    size_hw = size_hw or random_size(rng)
    count = objects or int(rng.integers(3, 7))
    names = list(COLORS)
    if colors < len(names):
        names = [names[i] for i in rng.choice(len(names), colors, replace=False)]
    kinds = [(color, shape) for color in names for shape in SHAPES]
    drawn = rng.choice(len(kinds), count, replace=twins)
    if twins and count > 1:
        drawn[1] = drawn[0]
    things = tuple(ClipObject(i + 1, *kinds[kind]) for i, kind in enumerate(drawn))
    side = min(size_hw)
    extent_xy = size_hw[1] / side, size_hw[0] / side
    # Many things are smaller, so that there is room to move.
    largest = MIN_RADIUS + (MAX_RADIUS - MIN_RADIUS) * min(1.0, 4 / count)
    bodies = []
    for index in range(count):
        late = index > 0 and rng.random() < 0.25
        waits = int(rng.integers(1, 31)) if late else 0
        bodies.append(Body.draw(rng, extent_xy, rng.uniform(MIN_RADIUS, largest), waits))
    # Depth is chosen last: the first object, which never waits, is not always behind.
    depth = rng.permutation(count)
    return Clip(seed, frames, size_hw, things, tuple(bodies[i] for i in depth), Camera.draw(rng))


def make_clips(
    count: int,
    seed: int = 0,
    frames: int = 60,
    size_hw: tuple[int, int] | None = None,
    objects: int | None = None,
) -> Iterator[Clip]:
    """Make ``count`` clips; clips of different base seeds never repeat each other's."""
    for index in range(count):
        yield make_clip(seed * 1_000_003 + index, frames, size_hw, objects)


def _lay(
    canvas: NDArray[np.float32],
    covered: NDArray[np.float32],
    paint: NDArray[np.float32],
    sprite: Sprite,
) -> None:
    """Put an object's paint where it covers the canvas, turned and scaled with the object."""
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    part = covered[top:bottom, left:right, None]
    scale = paint.shape[0] / (2 * _PATCH_REACH * sprite.radius)
    cos, sin = scale * np.cos(sprite.angle), scale * np.sin(sprite.angle)
    turn = np.array([[cos, sin], [-sin, cos]])
    # From a pixel of the part to one of the paint; both are counted from pixel centers.
    corner = np.array([left, top]) + 0.5 - np.array(sprite.center_xy)
    move = turn @ corner + paint.shape[0] / 2 - 0.5
    here = cv2.warpAffine(
        paint,
        np.column_stack([turn, move]),
        (int(right - left), int(bottom - top)),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    view = canvas[top:bottom, left:right]
    view += part * (here - view)
