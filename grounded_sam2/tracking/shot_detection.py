"""Scene cuts: where the colors of a video change from one frame to the next.

A frame is made small and its colors are counted; things that move leave the counts as they are,
another scene does not. Counts are shared between neighboring bins, so that a plain background that
becomes a little brighter does not jump from one bin to the next.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from grounded_sam2.results import Image

__all__ = ["THUMBNAIL_SIDE", "difference", "thumbnail"]

THUMBNAIL_SIDE = 32
"""A thousand pixels tell scenes apart, and a film grain averages out."""
_BINS = 16

Thumbnail = NDArray[np.uint8]


def thumbnail(image: Image) -> Thumbnail:
    """An image made small: ``(32, 32, 3)`` ``uint8``, whatever its shape."""
    size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    small: Thumbnail = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return small


def difference(before: Thumbnail, after: Thumbnail) -> float:
    """Share of the image whose colors are not those of the other, in [0, 1]."""
    return float(np.abs(_counts(before) - _counts(after)).sum() / 6)


def _counts(small: Thumbnail) -> NDArray[np.float64]:
    """Shares of the pixels in the bins of each channel: ``(3, 16)``."""
    place = small.reshape(-1, 3).T * ((_BINS - 1) / 255)
    low = np.minimum(place.astype(np.int64), _BINS - 2)
    part = place - low
    first = low + _BINS * np.arange(3)[:, None]
    counts = np.bincount(first.ravel(), (1 - part).ravel(), 3 * _BINS)
    counts += np.bincount(first.ravel() + 1, part.ravel(), 3 * _BINS)
    shares: NDArray[np.float64] = counts.reshape(3, _BINS) / place.shape[1]
    return shares
