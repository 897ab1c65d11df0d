"""Synthetic clips: moving scenes with known masks in every frame.

Clips have the shapes, colors, backgrounds and light of the scenes (`grounded_sam2.demo.scenes`);
the fill of an object is drawn once and moves with it. Objects occlude each other in a constant
order, leave the image and return, or enter later; the camera pans and shakes.

A clip is a description. Its frames are rendered on iteration and not kept.
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

MIN_VISIBLE_AREA = 0.0005
"""Share of the image's pixels. An object that shows less (33 pixels of 256 × 256) could not be
named or outlined by anybody: it counts as hidden."""
_PATCH_EXTENT = 1.1
"""Half a side of an object's fill in radii; the arms of a cross extend a little over its circle."""


@dataclass(frozen=True, slots=True)
class ClipObject:
    """One object of a clip."""

    track_id: int
    """From 1, in the order of drawing: a greater id is in front."""
    color: str
    shape: str

    @property
    def name(self) -> str:
        """Color and shape, as in ``red circle``."""
        return f"{self.color} {self.shape}"


@dataclass(frozen=True, slots=True, eq=False)
class ClipFrame:
    """One frame of a clip and the masks of all objects."""

    index: int
    image: Image
    masks: Mapping[int, NDArray[np.bool_]]
    """Visible pixels ``(h, w)`` of every object by its ``track_id``; empty if it is hidden."""


@dataclass(frozen=True, slots=True)
class Clip:
    """Description of a clip; each iteration renders the same frames."""

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
        renderer = _Renderer(self)
        motion, noise = self.generator("motion"), self.generator("noise")
        bodies = self.bodies
        side = min(self.size_hw)
        extent_xy = self.size_hw[1] / side, self.size_hw[0] / side
        for index in range(self.frames):
            yield renderer.render(index, bodies, self.camera.offset(motion, index), noise)
            bodies = tuple(body.step(motion, extent_xy) for body in bodies)

    def generator(self, purpose: str) -> np.random.Generator:
        """The random numbers of the clip for one purpose."""
        return np.random.default_rng([self.seed, 0xC119, *purpose.encode()])


class _Renderer:
    """Background, fills, shadows and exposure of a clip, and the rendering of its frames."""

    def __init__(self, clip: Clip) -> None:
        rng = clip.generator("paint")
        self.clip, self.side = clip, min(clip.size_hw)
        height, width = clip.size_hw
        self.margin = int(np.ceil(clip.camera.reach * self.side)) + 1
        self.background = background(rng, (height + 2 * self.margin, width + 2 * self.margin))
        self.fills: list[NDArray[np.float32]] = []
        self.shadows: list[Shadow | None] = []
        for each, body in zip(clip.objects, clip.bodies, strict=True):
            patch = max(8, int(2 * _PATCH_EXTENT * body.size * self.side))
            self.fills.append(fill(rng, COLORS[each.color], (patch, patch)))
            self.shadows.append(Shadow.draw(rng) if rng.random() < 0.5 else None)
        self.exposure = Exposure.draw(rng, clip.size_hw)

    def render(
        self,
        index: int,
        bodies: tuple[Body, ...],
        offset_xy: tuple[float, float],
        noise: np.random.Generator,
    ) -> ClipFrame:
        clip = self.clip
        shift = [self.margin + self.side * offset for offset in offset_xy]
        canvas = cv2.warpAffine(
            self.background,
            np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float64),
            clip.size_hw[::-1],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        masks: list[NDArray[np.bool_]] = []
        for each, body, texture, shadow in zip(
            clip.objects, bodies, self.fills, self.shadows, strict=True
        ):
            sprite = Sprite(
                each.color,
                each.shape,
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
                _composite(canvas, covered, texture, sprite)
            solid = covered > 0.5
            masks = [*(mask & ~solid for mask in masks), solid]
        least = MIN_VISIBLE_AREA * canvas.shape[0] * canvas.shape[1]
        return ClipFrame(
            index,
            self.exposure.apply(noise, canvas),
            {
                each.track_id: mask if mask.sum() >= least else np.zeros_like(mask)
                for each, mask in zip(clip.objects, masks, strict=True)
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
    """The clip of a seed.

    Args:
        seed: any non-negative integer; the same seed gives the same pixels, and a longer clip
            begins with the shorter one.
        frames: number of frames.
        size_hw: height and width in pixels; ``None`` lets the seed choose (208 to 320 a side).
        objects: number of objects, at most 36 without twins; ``None`` lets the seed choose
            (3 to 6).
        twins: let objects share color and shape. Without, no two do, so that every name is unique.
        colors: number of colors of the objects; at most six objects per color without twins.
    """
    rng = np.random.default_rng([seed, 0xC11B])
    size_hw = size_hw or random_size(rng)
    count = objects or int(rng.integers(3, 7))
    palette = list(COLORS)
    if colors < len(palette):
        palette = [palette[i] for i in rng.choice(len(palette), colors, replace=False)]
    names = [(color, shape) for color in palette for shape in SHAPES]
    drawn = rng.choice(len(names), count, replace=twins)
    if twins and count > 1:
        drawn[1] = drawn[0]
    clip_objects = tuple(ClipObject(i + 1, *names[name]) for i, name in enumerate(drawn))
    side = min(size_hw)
    extent_xy = size_hw[1] / side, size_hw[0] / side
    # Many objects are smaller, so that there is room to move.
    largest = MIN_RADIUS + (MAX_RADIUS - MIN_RADIUS) * min(1.0, 4 / count)
    bodies = []
    for index in range(count):
        late = index > 0 and rng.random() < 0.25
        delay = int(rng.integers(1, 31)) if late else 0
        bodies.append(Body.draw(rng, extent_xy, rng.uniform(MIN_RADIUS, largest), delay))
    # The depth is drawn last: the first object, which has no delay, is not always at the back.
    depth = rng.permutation(count)
    return Clip(
        seed, frames, size_hw, clip_objects, tuple(bodies[i] for i in depth), Camera.draw(rng)
    )


def make_clips(
    count: int,
    seed: int = 0,
    frames: int = 60,
    size_hw: tuple[int, int] | None = None,
    objects: int | None = None,
) -> Iterator[Clip]:
    """``count`` clips; different base seeds have no clip in common."""
    for index in range(count):
        yield make_clip(seed * 1_000_003 + index, frames, size_hw, objects)


def _composite(
    canvas: NDArray[np.float32],
    covered: NDArray[np.float32],
    texture: NDArray[np.float32],
    sprite: Sprite,
) -> None:
    """Blend an object's fill into the canvas, rotated and scaled with the object."""
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    part = covered[top:bottom, left:right, None]
    scale = texture.shape[0] / (2 * _PATCH_EXTENT * sprite.radius)
    cos, sin = scale * np.cos(sprite.angle), scale * np.sin(sprite.angle)
    rotation = np.array([[cos, sin], [-sin, cos]])
    # From a pixel of the part to one of the fill; both count from pixel centers.
    corner = np.array([left, top]) + 0.5 - np.array(sprite.center_xy)
    shift = rotation @ corner + texture.shape[0] / 2 - 0.5
    here = cv2.warpAffine(
        texture,
        np.column_stack([rotation, shift]),
        (int(right - left), int(bottom - top)),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    view = canvas[top:bottom, left:right]
    view += part * (here - view)
