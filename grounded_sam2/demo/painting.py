"""Rendering of the synthetic images: backgrounds, fills, shadows, light and noise.

The random properties of an image are drawn once, as values (a fill, a `Shadow`, an `Exposure`), and
then applied, so that objects of a clip keep them from frame to frame.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from grounded_sam2.results import Image

__all__ = ["Exposure", "Shadow", "background", "coverage", "fill"]

_SUBPIXEL_BITS = 4


def coverage(rings: Sequence[NDArray[np.float64]], size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Share of each pixel inside rings, ``(h, w)`` in [0, 1]; all but the first are holes."""
    canvas = np.zeros(size_hw, np.uint8)
    # OpenCV puts integer coordinates on pixel centers, ours are on pixel edges: hence the half.
    corners = [np.round((ring - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32) for ring in rings]
    cv2.fillPoly(canvas, corners, 255, lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)
    return np.divide(canvas, 255, dtype=np.float32)


def background(rng: np.random.Generator, size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """A textured background of low saturation with gray lines: ``(h, w, 3)`` in [0, 255]."""
    hue, saturation = rng.uniform(0, 360), rng.uniform(0, 0.22)
    dark, bright = sorted(rng.uniform(0.15, 0.95, 2))
    blend = 0.5 + 0.5 * _texture(rng, size_hw)[..., None]
    canvas = _hsv(hue, saturation, dark) * (1 - blend) + _hsv(hue, saturation, bright) * blend
    canvas = np.ascontiguousarray(canvas, np.float32)
    height, width = size_hw
    for _ in range(int(rng.integers(0, 5))):
        ends = rng.uniform(0, [width, height], (2, 2)).astype(int)
        gray = [float(rng.uniform(20, 235))] * 3
        start, end = (int(ends[0, 0]), int(ends[0, 1])), (int(ends[1, 0]), int(ends[1, 1]))
        cv2.line(canvas, start, end, gray, int(rng.integers(1, 5)), cv2.LINE_AA)
    return canvas


def fill(
    rng: np.random.Generator, hue_and_jitter: tuple[float, float], size_hw: tuple[int, int]
) -> NDArray[np.float32]:
    """A lightly textured color near a hue in degrees: ``(h, w, 3)`` in [0, 255]."""
    hue, jitter = hue_and_jitter
    color = _hsv(hue + rng.uniform(-jitter, jitter), rng.uniform(0.7, 1.0), rng.uniform(0.65, 1.0))
    strength = rng.uniform(0.0, 0.16)
    return color * (1 + strength * _texture(rng, size_hw))[..., None]


@dataclass(frozen=True, slots=True)
class Shadow:
    """A soft shadow beside a shape; not part of its mask."""

    offset_xy: tuple[float, float]
    """As a share of the shape's radius."""
    strength: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Shadow:
        """A random shadow."""
        x, y = rng.uniform(-0.25, 0.25, 2)
        return cls((x, y), rng.uniform(0.15, 0.5))

    def darkening(self, covered: NDArray[np.float32], radius: float) -> NDArray[np.float32]:
        """Share of the light that the shadow removes, ``(h, w)`` in [0, 0.5]."""
        x, y = self.offset_xy
        move = np.array([[1, 0, x * radius], [0, 1, y * radius]], np.float32)
        moved = cv2.warpAffine(covered, move, covered.shape[::-1])
        softness = max(1.0, 0.12 * radius)
        return self.strength * cv2.GaussianBlur(moved, (0, 0), softness)


@dataclass(frozen=True, slots=True, eq=False)
class Exposure:
    """Uneven light, blur and noise of an image."""

    light: NDArray[np.float32]
    """``(h, w)``: factor."""
    blur: float | None
    """Standard deviation in pixels; ``None`` for none."""
    noise: float
    """Standard deviation in gray levels."""

    @classmethod
    def draw(cls, rng: np.random.Generator, size_hw: tuple[int, int]) -> Exposure:
        """A random exposure."""
        light = rng.uniform(0.8, 1.1) * (1 + rng.uniform(0, 0.25) * _smooth_noise(rng, size_hw, 2))
        blur = rng.uniform(0.4, 1.2) if rng.random() < 0.4 else None
        return cls(light, blur, rng.uniform(1, 9))

    def apply(self, rng: np.random.Generator, canvas: NDArray[np.float32]) -> Image:
        """The image of a canvas ``(h, w, 3)`` in [0, 255]; ``rng`` gives the noise."""
        image = canvas * self.light[..., None]
        if self.blur is not None:
            image = cv2.GaussianBlur(image, (0, 0), self.blur)
        image += self.noise * rng.standard_normal(image.shape, dtype=np.float32)
        return np.clip(image + 0.5, 0, 255).astype(np.uint8)


def _smooth_noise(
    rng: np.random.Generator, size_hw: tuple[int, int], cells: int
) -> NDArray[np.float32]:
    """A smooth random field ``(h, w)`` in [-1, 1]."""
    coarse = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    return cv2.resize(coarse, size_hw[::-1], interpolation=cv2.INTER_CUBIC)


def _stripes(rng: np.random.Generator, size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Sinusoidal stripes ``(h, w)`` of random direction and width, in [-1, 1]."""
    height, width = size_hw
    angle, period = rng.uniform(0, np.pi), rng.uniform(8, 40)
    columns = np.arange(width, dtype=np.float32)[None, :]
    rows = np.arange(height, dtype=np.float32)[:, None]
    along = np.float32(np.cos(angle)) * columns + np.float32(np.sin(angle)) * rows
    return np.sin(along * np.float32(2 * np.pi / period) + np.float32(rng.uniform(0, 6)))


def _texture(rng: np.random.Generator, size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """A random texture ``(h, w)`` in [-1, 1]: noise, stripes, checks or a gradient."""
    kind = rng.integers(4)
    if kind == 0:
        return _smooth_noise(rng, size_hw, int(rng.integers(3, 12)))
    if kind == 1:
        return _stripes(rng, size_hw)
    if kind == 2:
        return np.sign(_stripes(rng, size_hw) * _stripes(rng, size_hw))  # checks
    return _smooth_noise(rng, size_hw, 2)


def _hsv(hue_degrees: float, saturation: float, value: float) -> NDArray[np.float32]:
    return 255 * np.array(
        colorsys.hsv_to_rgb(hue_degrees % 360 / 360, saturation, value), np.float32
    )
