"""The colors of Pascal VOC, which DAVIS has taken over."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["voc_palette"]


def voc_palette() -> NDArray[np.uint8]:
    """The colors of Pascal VOC: ``(256, 3)`` ``uint8`` RGB, by pixel value.

    Each color takes its bits from those of its number, three by three, the lowest into the
    highest bits of red, green and blue.
    """
    number = np.arange(256)[:, None]
    channel = np.arange(3)
    colors = np.zeros((256, 3), np.uint8)
    for place in range(8):
        bit = number >> (3 * place + channel) & 1
        colors |= (bit << (7 - place)).astype(np.uint8)
    return colors
