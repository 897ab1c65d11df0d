"""Color histogram of a masked object: the appearance by which it is re-identified.

Where objects of a class cross, masks hardly tell them apart, and an object that was absent is not
where it was. Its colors are still its own. The histogram counts chromaticity (the shares of red and
green in the light, which stay the same in the shadow) and brightness in three coarse steps. Counts
are shared between neighboring bins. Of a large mask, a sample of evenly spread pixels is counted.

Measured on the embedded clips: the share of cases in which an object, 15 or 30 frames later, is
more similar to itself than to another object of the same named color:

    this histogram                                          999 of 1 000
    histogram in CIELAB                                     987
    mean of SAM 2's image features inside the mask, cosine  810
    SAM 2's object pointers, cosine                         720

In CIELAB, an object in half the light is another object (similarity 0.03, here 0.8).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.geometry import rle
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.results import Image

__all__ = ["ColorHistogram"]

_BINS = np.array([3, 16, 16])
"""Bins along brightness, red and green."""
_STRIDES = np.array([_BINS[1] * _BINS[2], _BINS[2], 1])
_CHROMATICITY_RANGE = 1 / 3
"""The bins span this much to both sides of gray, which has a third of each color. Values beyond
count in the outermost bin."""
_CHANNEL_OFFSET = 10.0
"""Added to every channel: the color shares of a nearly black pixel are noise."""
_MAX_PIXELS = 256


@dataclass(frozen=True, slots=True)
class ColorHistogram:
    """Share of each color among the pixels of a mask."""

    sqrt_shares: bytes
    """Square roots of the shares of 3 × 16 × 16 colors, in units of 1/255, ``uint8``."""

    @classmethod
    def from_mask(cls, image: Image, mask: Rle) -> ColorHistogram:
        """Count the colors of a mask.

        Args:
            image: RGB, ``(h, w, 3)`` ``uint8``.
            mask: of the image's size, with at least one pixel.
        """
        pixels = _sample_pixels(image, mask).astype(np.float64)
        light = pixels.sum(axis=1)
        red_green = (pixels[:, :2] + _CHANNEL_OFFSET) / (light + 3 * _CHANNEL_OFFSET)[:, None]
        chromaticity = (red_green - 1 / 3) / (2 * _CHROMATICITY_RANGE) + 0.5
        position = np.column_stack([light / 765, chromaticity])
        position = position.clip(0, 1) * (_BINS - 1)
        low = np.minimum(position.astype(np.int64), _BINS - 2)
        fraction = position - low
        counts = np.zeros(int(_BINS.prod()))
        for corner in product((0, 1), repeat=3):
            weights = np.where(corner, fraction, 1 - fraction).prod(axis=1)
            counts += np.bincount((low + corner) @ _STRIDES, weights, len(counts))
        return cls._from_shares(counts / len(pixels))

    @classmethod
    def _from_shares(cls, shares: NDArray[np.float64]) -> ColorHistogram:
        return cls(np.round(np.sqrt(shares) * 255).astype(np.uint8).tobytes())

    def similarity(self, other: ColorHistogram) -> float:
        """Bhattacharyya coefficient: 1 for the same colors, 0 where none is common."""
        a, b = self._as_array(), other._as_array()
        return float(a @ b / np.sqrt((a @ a) * (b @ b)))

    def blend(self, other: ColorHistogram, weight: float) -> ColorHistogram:
        """Weighted mean of two histograms; `weight`, in [0, 1], is that of the other."""
        a, b = self._as_array(), other._as_array()
        return self._from_shares((1 - weight) * a**2 + weight * b**2)

    def _as_array(self) -> NDArray[np.float64]:
        return np.frombuffer(self.sqrt_shares, np.uint8) / 255.0


def _sample_pixels(image: Image, mask: Rle) -> Image:
    """Up to `_MAX_PIXELS` pixels of a mask, evenly spread over it: ``(n, 3)``."""
    run_lengths, _ = rle.decode_run_lengths([mask])
    lengths = run_lengths[1::2]
    starts = run_lengths.cumsum()[::2][: len(lengths)]
    ends = lengths.cumsum()
    sampled = np.linspace(0, ends[-1] - 1, min(int(ends[-1]), _MAX_PIXELS)).astype(np.int64)
    index = np.searchsorted(ends, sampled, side="right")
    columns, rows = np.divmod(starts[index] + sampled - (ends - lengths)[index], image.shape[0])
    pixels: Image = image[rows, columns]
    return pixels
