"""The colours of Pascal VOC, which DAVIS has taken over."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["voc_palette"]


def voc_palette() -> NDArray[np.uint8]:
    """The colours of Pascal VOC: ``(256, 3)`` ``uint8`` RGB, by pixel value.

    Each colour takes its bits from those of its number, three by three, the lowest into the
    highest bits of red, green and blue.
    """
    number = np.arange(256)[:, None]
    channel = np.arange(3)
    colours = np.zeros((256, 3), np.uint8)
    for place in range(8):
        bit = number >> (3 * place + channel) & 1
        colours |= (bit << (7 - place)).astype(np.uint8)
    return colours
