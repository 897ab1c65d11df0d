"""Shot boundaries: frames whose colors differ from those of the frame before.

A frame is reduced to a thumbnail and its colors are counted. Moving objects leave the counts as
they are; another scene does not. Counts are shared between neighboring bins, so that a plain
background that becomes a little brighter does not jump from one bin to the next.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from grounded_sam2.results import Image

__all__ = ["THUMBNAIL_SIDE", "color_difference", "thumbnail"]

THUMBNAIL_SIDE = 32
"""A thousand pixels tell scenes apart, and film grain averages out."""
_BINS = 16

Thumbnail = NDArray[np.uint8]


def thumbnail(image: Image) -> Thumbnail:
    """Return an image of any shape, reduced to ``(32, 32, 3)`` ``uint8``."""
    size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    small: Thumbnail = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return small


def color_difference(before: Thumbnail, after: Thumbnail) -> float:
    """Share of the image whose colors are not those of the other image, in [0, 1]."""
    return float(np.abs(_histograms(before) - _histograms(after)).sum() / 6)


def _histograms(small: Thumbnail) -> NDArray[np.float64]:
    """Shares of the pixels in the bins of each channel: ``(3, 16)``."""
    position = small.reshape(-1, 3).T * ((_BINS - 1) / 255)
    low = np.minimum(position.astype(np.int64), _BINS - 2)
    fraction = position - low
    index = low + _BINS * np.arange(3)[:, None]
    counts = np.bincount(index.ravel(), (1 - fraction).ravel(), 3 * _BINS)
    counts += np.bincount(index.ravel() + 1, fraction.ravel(), 3 * _BINS)
    shares: NDArray[np.float64] = counts.reshape(3, _BINS) / position.shape[1]
    return shares
