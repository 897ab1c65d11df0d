"""Synthetic scenes: images of colored shapes with known masks.

The embedded models are trained, tested and demonstrated on these. A scene is made in two steps:
`place` chooses the shapes and their positions (`Sprite`, from back to front), `render` paints them.
All random choices come from one seeded generator, so a seed always gives the same image.

The images vary in many ways: textured and shaded fills, backgrounds with gradients, stripes, checks
and smooth noise, gray lines as distractors, uneven light, blur, noise, rotation, scale, and shapes
that occlude parts of each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from grounded_sam2.demo.painting import Exposure, Shadow, background, coverage, fill
from grounded_sam2.results import Image

__all__ = [
    "COLORS",
    "SHAPES",
    "Scene",
    "SceneObject",
    "Sprite",
    "make_scene",
    "make_scenes",
    "outline",
    "place",
    "random_size",
    "render",
]

COLORS: dict[str, tuple[float, float]] = {
    # name: (hue in degrees, half-width of the jitter); the ranges of no two colors touch
    "red": (357.0, 7.0),
    "orange": (28.0, 5.0),
    "yellow": (56.0, 6.0),
    "green": (122.0, 22.0),
    "blue": (218.0, 15.0),
    "purple": (285.0, 14.0),
}
SHAPES: tuple[str, ...] = ("circle", "square", "triangle", "star", "ring", "cross")

MIN_RADIUS, MAX_RADIUS = 0.11, 0.25
"""Circumscribed radius as a share of the image's shorter side."""
MIN_VISIBLE = 0.6
"""Least visible share of a shape: one that is occluded more is hard to name even for people."""


@dataclass(frozen=True, slots=True)
class Sprite:
    """One shape in the plane. Lengths are in pixels, angles in radians."""

    color: str
    shape: str
    center_xy: tuple[float, float]
    radius: float
    angle: float


@dataclass(frozen=True, slots=True, eq=False)
class SceneObject:
    """The visible part of one sprite."""

    color: str
    shape: str
    mask: NDArray[np.bool_]
    """``(h, w)``: visible pixels."""
    box_xyxy: tuple[float, float, float, float]
    """Extent of the visible pixels, half-open."""

    @property
    def name(self) -> str:
        """Color and shape, as in ``red circle``."""
        return f"{self.color} {self.shape}"


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """An image and the masks of all its objects."""

    image: Image
    objects: tuple[SceneObject, ...]


def make_scene(seed: int, size_hw: tuple[int, int] | None = None) -> Scene:
    """The scene of a seed.

    Args:
        seed: any non-negative integer; the same seed gives the same pixels.
        size_hw: height and width in pixels; ``None`` lets the seed choose (208 to 320 a side).
    """
    rng = np.random.default_rng([seed, 0x5CE9E])
    height, width = size_hw or random_size(rng)
    sprites = place(rng, (height, width), count=int(rng.integers(1, 7)))
    return render(rng, (height, width), sprites)


def make_scenes(count: int, seed: int = 0) -> Iterator[Scene]:
    """``count`` scenes; different base seeds have no scene in common."""
    for index in range(count):
        yield make_scene(seed * 1_000_003 + index)


def place(rng: np.random.Generator, size_hw: tuple[int, int], count: int) -> list[Sprite]:
    """Up to ``count`` random sprites, back to front, all recognizable.

    A sprite that would occlude another too much, or touch one of its own color, so that their
    boundary were invisible, is drawn again, and dropped after 12 attempts.
    """
    height, width = size_hw
    side = min(size_hw)
    placed: list[Sprite] = []
    silhouettes: list[NDArray[np.bool_]] = []
    visible: list[NDArray[np.bool_]] = []
    for _ in range(count):
        for _attempt in range(12):
            radius = side * rng.uniform(MIN_RADIUS, MAX_RADIUS)
            margin = 0.8 * radius  # shapes may leave the image a little
            sprite = Sprite(
                color=str(rng.choice(list(COLORS))),
                shape=str(rng.choice(SHAPES)),
                center_xy=(
                    rng.uniform(margin, width - margin),
                    rng.uniform(margin, height - margin),
                ),
                radius=radius,
                angle=rng.uniform(0, 2 * np.pi),
            )
            silhouette = coverage(outline(sprite), size_hw) > 0.5
            remaining = [mask & ~silhouette for mask in visible]
            occludes = any(
                rest.sum() < MIN_VISIBLE * whole.sum()
                for rest, whole in zip(remaining, silhouettes, strict=True)
            )
            grown = cv2.dilate(silhouette.view(np.uint8), np.ones((5, 5), np.uint8)).view(np.bool_)
            merges = any(
                other.color == sprite.color and bool((mask & grown).any())
                for other, mask in zip(placed, silhouettes, strict=True)
            )
            if not occludes and not merges and silhouette.any():
                placed.append(sprite)
                silhouettes.append(silhouette)
                visible = [*remaining, silhouette]
                break
    return placed


def render(rng: np.random.Generator, size_hw: tuple[int, int], sprites: Sequence[Sprite]) -> Scene:
    """The scene of sprites, back to front, on a random background under random light."""
    canvas = background(rng, size_hw)
    masks: list[NDArray[np.bool_]] = []
    for sprite in sprites:
        covered = coverage(outline(sprite), size_hw)
        if rng.random() < 0.5:
            canvas *= 1 - Shadow.draw(rng).darkening(covered, sprite.radius)[..., None]
        canvas += covered[..., None] * (fill(rng, COLORS[sprite.color], size_hw) - canvas)
        solid = covered > 0.5
        masks = [*(mask & ~solid for mask in masks), solid]
    image = Exposure.draw(rng, size_hw).apply(rng, canvas)
    objects = tuple(
        SceneObject(sprite.color, sprite.shape, mask, _bounding_box(mask))
        for sprite, mask in zip(sprites, masks, strict=True)
        if mask.any()
    )
    return Scene(image, objects)


def outline(sprite: Sprite) -> list[NDArray[np.float64]]:
    """Rings ``(n, 2)`` of a sprite in pixels; all but the first are holes."""
    if sprite.shape == "circle":
        rings = [_regular_polygon(64)]
    elif sprite.shape == "ring":
        rings = [_regular_polygon(64), 0.55 * _regular_polygon(64)]
    elif sprite.shape == "square":
        rings = [_regular_polygon(4)]
    elif sprite.shape == "triangle":
        rings = [_regular_polygon(3)]
    elif sprite.shape == "star":
        spikes = _regular_polygon(10)
        spikes[1::2] *= 0.45
        rings = [spikes]
    elif sprite.shape == "cross":
        arm = 0.33
        corners = [(1, arm), (arm, arm), (arm, 1), (-arm, 1), (-arm, arm), (-1, arm)]
        rings = [np.array([*corners, *((-x, -y) for x, y in corners)])]
    else:
        raise AssertionError(f"no outline for shape {sprite.shape!r}")
    cos, sin = np.cos(sprite.angle), np.sin(sprite.angle)
    rotation: NDArray[np.float64] = np.array([[cos, sin], [-sin, cos]])
    return [sprite.radius * ring @ rotation + np.array(sprite.center_xy) for ring in rings]


def _regular_polygon(corners: int) -> NDArray[np.float64]:
    """Corners ``(n, 2)`` on the unit circle."""
    angles = np.arange(corners) * (2 * np.pi / corners)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def random_size(rng: np.random.Generator) -> tuple[int, int]:
    """Random height and width in pixels, each from 208 to 320."""
    height = int(rng.integers(208, 321))
    return height, int(np.clip(height * rng.uniform(0.8, 1.25), 208, 320))


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
