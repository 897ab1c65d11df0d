"""Synthetic scenes: pictures of coloured shapes whose every mask is known.

The embedded models are trained, tested and shown on these. A scene is made in two steps so that
the same shapes can be drawn again elsewhere: `place` decides what stands where (`Sprite`s, from
back to front), `render` paints them. Every random choice comes from one seeded generator, so a
seed always gives the same picture.

The pictures are varied enough that a model must look: textured and shaded fills, backgrounds
with gradients, stripes, checks and blotches, grey clutter that is never the answer, uneven light,
blur, noise, rotation, scale, and shapes that hide parts of each other.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from grounded_sam2.results import Image

__all__ = [
    "COLOURS",
    "SHAPES",
    "Scene",
    "SceneObject",
    "Sprite",
    "make_scene",
    "make_scenes",
    "outline",
    "place",
    "render",
]

COLOURS: dict[str, tuple[float, float]] = {
    # name: (hue in degrees, half-width of the jitter); no two ranges touch, so that names are fair
    "red": (357.0, 7.0),
    "orange": (28.0, 5.0),
    "yellow": (56.0, 6.0),
    "green": (122.0, 22.0),
    "blue": (218.0, 15.0),
    "purple": (285.0, 14.0),
}
SHAPES: tuple[str, ...] = ("circle", "square", "triangle", "star", "ring", "cross")

MIN_RADIUS, MAX_RADIUS = 0.11, 0.25
"""Circumscribed radius as a share of the picture's shorter side."""
MIN_VISIBLE = 0.6
"""A shape that is hidden more than this is hard to name even for people: place it elsewhere."""
_SUBPIXEL_BITS = 4


@dataclass(frozen=True, slots=True)
class Sprite:
    """One shape in the plane. Lengths are in pixels, angles in radians."""

    colour: str
    shape: str
    centre_xy: tuple[float, float]
    radius: float
    angle: float


@dataclass(frozen=True, slots=True, eq=False)
class SceneObject:
    """What is visible of one sprite."""

    colour: str
    shape: str
    mask: NDArray[np.bool_]
    """``(h, w)``: visible pixels, holes and all."""
    box_xyxy: tuple[float, float, float, float]
    """Extent of the visible pixels, half-open."""

    @property
    def name(self) -> str:
        """Colour and shape, as in ``red circle``."""
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture and the whole truth about it."""

    image: Image
    objects: tuple[SceneObject, ...]


def make_scene(seed: int, size_hw: tuple[int, int] | None = None) -> Scene:
    """Make the scene of a seed.

    Args:
        seed: any non-negative integer; the same seed gives the same pixels.
        size_hw: height and width in pixels; ``None`` lets the seed choose (208 to 320 a side).
    """
    rng = np.random.default_rng([seed, 0x5CE9E])
    height, width = size_hw or _random_size(rng)
    sprites = place(rng, (height, width), count=int(rng.integers(1, 7)))
    return render(rng, (height, width), sprites)


def make_scenes(count: int, seed: int = 0) -> Iterator[Scene]:
    """Make ``count`` scenes; scenes of different base seeds never repeat each other's."""
    for index in range(count):
        yield make_scene(seed * 1_000_003 + index)


def place(rng: np.random.Generator, size_hw: tuple[int, int], count: int) -> list[Sprite]:
    """Choose up to ``count`` sprites, back to front, that all stay recognisable.

    A sprite that would hide another (or touch one of its own colour, where nobody could tell
    the border) is tried again elsewhere and given up after some tries.
    """
    height, width = size_hw
    side = min(size_hw)
    placed: list[Sprite] = []
    silhouettes: list[NDArray[np.bool_]] = []
    visible: list[NDArray[np.bool_]] = []
    for _ in range(count):
        for _attempt in range(12):
            radius = side * rng.uniform(MIN_RADIUS, MAX_RADIUS)
            margin = 0.8 * radius  # shapes may leave the picture a little
            sprite = Sprite(
                colour=str(rng.choice(list(COLOURS))),
                shape=str(rng.choice(SHAPES)),
                centre_xy=(
                    rng.uniform(margin, width - margin),
                    rng.uniform(margin, height - margin),
                ),
                radius=radius,
                angle=rng.uniform(0, 2 * np.pi),
            )
            silhouette = _coverage(sprite, size_hw) > 0.5
            remaining = [mask & ~silhouette for mask in visible]
            hides = any(
                left.sum() < MIN_VISIBLE * whole.sum()
                for left, whole in zip(remaining, silhouettes, strict=True)
            )
            grown = cv2.dilate(silhouette.view(np.uint8), np.ones((5, 5), np.uint8)).view(np.bool_)
            blends = any(
                other.colour == sprite.colour and bool((mask & grown).any())
                for other, mask in zip(placed, silhouettes, strict=True)
            )
            if not hides and not blends and silhouette.any():
                placed.append(sprite)
                silhouettes.append(silhouette)
                visible = [*remaining, silhouette]
                break
    return placed


def render(rng: np.random.Generator, size_hw: tuple[int, int], sprites: Sequence[Sprite]) -> Scene:
    """Paint sprites, back to front, on a random background under random light."""
    canvas = _background(rng, size_hw)
    masks: list[NDArray[np.bool_]] = []
    for sprite in sprites:
        coverage = _coverage(sprite, size_hw)
        if rng.random() < 0.5:  # a soft shadow below, which is not part of the shape
            canvas *= 1 - _shadow(rng, coverage, sprite.radius)[..., None]
        canvas += coverage[..., None] * (_fill(rng, sprite, size_hw) - canvas)
        solid = coverage > 0.5
        masks = [*(mask & ~solid for mask in masks), solid]
    image = _photograph(rng, canvas)
    objects = tuple(
        SceneObject(sprite.colour, sprite.shape, mask, _extent(mask))
        for sprite, mask in zip(sprites, masks, strict=True)
        if mask.any()
    )
    return Scene(image, objects)


def outline(sprite: Sprite) -> list[NDArray[np.float64]]:
    """Rings of a sprite in pixels, ``(n, 2)`` each; all but the first are holes."""
    if sprite.shape == "circle":
        rings = [_regular(64)]
    elif sprite.shape == "ring":
        rings = [_regular(64), 0.55 * _regular(64)]
    elif sprite.shape == "square":
        rings = [_regular(4)]
    elif sprite.shape == "triangle":
        rings = [_regular(3)]
    elif sprite.shape == "star":
        spikes = _regular(10)
        spikes[1::2] *= 0.45
        rings = [spikes]
    elif sprite.shape == "cross":
        arm = 0.33
        corners = [(1, arm), (arm, arm), (arm, 1), (-arm, 1), (-arm, arm), (-1, arm)]
        rings = [np.array([*corners, *((-x, -y) for x, y in corners)])]
    else:
        raise AssertionError(f"no outline for shape {sprite.shape!r}")
    cos, sin = np.cos(sprite.angle), np.sin(sprite.angle)
    turn: NDArray[np.float64] = np.array([[cos, sin], [-sin, cos]])
    return [sprite.radius * ring @ turn + np.array(sprite.centre_xy) for ring in rings]


def _regular(corners: int) -> NDArray[np.float64]:
    angles = np.arange(corners) * (2 * np.pi / corners)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _random_size(rng: np.random.Generator) -> tuple[int, int]:
    height = int(rng.integers(208, 321))
    return height, int(np.clip(height * rng.uniform(0.8, 1.25), 208, 320))


def _coverage(sprite: Sprite, size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Share of each pixel that the sprite covers, ``(h, w)`` in [0, 1]."""
    canvas = np.zeros(size_hw, np.uint8)
    # OpenCV puts integer coordinates on pixel centres, ours are on pixel edges: hence the half.
    rings = [
        np.round((ring - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32) for ring in outline(sprite)
    ]
    cv2.fillPoly(canvas, rings, 255, lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)
    return np.divide(canvas, 255, dtype=np.float32)


def _extent(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _blotches(
    rng: np.random.Generator, size_hw: tuple[int, int], cells: int
) -> NDArray[np.float32]:
    """Smooth random field in [-1, 1], ``(h, w)``."""
    coarse = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    return cv2.resize(coarse, size_hw[::-1], interpolation=cv2.INTER_CUBIC)


def _waves(rng: np.random.Generator, size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Stripes of a random direction and width in [-1, 1], ``(h, w)``."""
    height, width = size_hw
    angle, period = rng.uniform(0, np.pi), rng.uniform(8, 40)
    columns = np.arange(width, dtype=np.float32)[None, :]
    rows = np.arange(height, dtype=np.float32)[:, None]
    along = np.float32(np.cos(angle)) * columns + np.float32(np.sin(angle)) * rows
    return np.sin(along * np.float32(2 * np.pi / period) + np.float32(rng.uniform(0, 6)))


def _texture(rng: np.random.Generator, size_hw: tuple[int, int]) -> NDArray[np.float32]:
    kind = rng.integers(4)
    if kind == 0:
        return _blotches(rng, size_hw, int(rng.integers(3, 12)))
    if kind == 1:
        return _waves(rng, size_hw)
    if kind == 2:
        return np.sign(_waves(rng, size_hw) * _waves(rng, size_hw))  # checks
    return _blotches(rng, size_hw, 2)


def _hsv(hue_degrees: float, saturation: float, value: float) -> NDArray[np.float32]:
    return 255 * np.array(
        colorsys.hsv_to_rgb(hue_degrees % 360 / 360, saturation, value), np.float32
    )


def _background(rng: np.random.Generator, size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Muted, textured, with grey clutter: ``(h, w, 3)`` in [0, 255]."""
    hue, saturation = rng.uniform(0, 360), rng.uniform(0, 0.22)
    dark, bright = sorted(rng.uniform(0.15, 0.95, 2))
    blend = 0.5 + 0.5 * _texture(rng, size_hw)[..., None]
    canvas = _hsv(hue, saturation, dark) * (1 - blend) + _hsv(hue, saturation, bright) * blend
    canvas = np.ascontiguousarray(canvas, np.float32)
    height, width = size_hw
    for _ in range(int(rng.integers(0, 5))):
        ends = rng.uniform(0, [width, height], (2, 2)).astype(int)
        grey = [float(rng.uniform(20, 235))] * 3
        start, end = (int(ends[0, 0]), int(ends[0, 1])), (int(ends[1, 0]), int(ends[1, 1]))
        cv2.line(canvas, start, end, grey, int(rng.integers(1, 5)), cv2.LINE_AA)
    return canvas


def _fill(
    rng: np.random.Generator, sprite: Sprite, size_hw: tuple[int, int]
) -> NDArray[np.float32]:
    """Colour of the sprite at every pixel, ``(h, w, 3)``."""
    hue, jitter = COLOURS[sprite.colour]
    colour = _hsv(hue + rng.uniform(-jitter, jitter), rng.uniform(0.7, 1.0), rng.uniform(0.65, 1.0))
    strength = rng.uniform(0.0, 0.16)
    return colour * (1 + strength * _texture(rng, size_hw))[..., None]


def _shadow(
    rng: np.random.Generator, coverage: NDArray[np.float32], radius: float
) -> NDArray[np.float32]:
    """Darkening beside a shape, ``(h, w)`` in [0, 0.5]."""
    offset = rng.uniform(-0.25, 0.25, 2) * radius
    move = np.array([[1, 0, offset[0]], [0, 1, offset[1]]], np.float32)
    moved = cv2.warpAffine(coverage, move, coverage.shape[::-1])
    softness = max(1.0, 0.12 * radius)
    return rng.uniform(0.15, 0.5) * cv2.GaussianBlur(moved, (0, 0), softness)


def _photograph(rng: np.random.Generator, canvas: NDArray[np.float32]) -> Image:
    """Uneven light, blur and sensor noise."""
    size_hw = canvas.shape[:2]
    light = rng.uniform(0.8, 1.1) * (1 + rng.uniform(0, 0.25) * _blotches(rng, size_hw, 2))
    picture = canvas * light[..., None]
    if rng.random() < 0.4:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.2))
    picture += rng.uniform(1, 9) * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)
