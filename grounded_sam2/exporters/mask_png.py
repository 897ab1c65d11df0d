"""Masks as PNG files with one value per pixel, and the color palette of Pascal VOC."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

__all__ = ["voc_palette", "write_mask_png"]


def voc_palette() -> NDArray[np.uint8]:
    """Return the color palette of Pascal VOC and DAVIS: ``(256, 3)`` ``uint8`` RGB by pixel value.

    Bits 0, 1 and 2 of a value become the highest bit of red, green and blue, bits 3, 4 and 5 the
    next lower, and so on.
    """
    value = np.arange(256)[:, None]
    channel = np.arange(3)
    colors = np.zeros((256, 3), np.uint8)
    for place in range(8):
        bit = value >> (3 * place + channel) & 1
        colors |= (bit << (7 - place)).astype(np.uint8)
    return colors


def write_mask_png(
    values: NDArray[np.uint8] | NDArray[np.uint16],
    path: Path,
    *,
    palette: NDArray[np.uint8] | None = None,
) -> None:
    """Write a mask as PNG; the folder is created if missing.

    Args:
        values: ``(h, w)``: 8 or 16-bit gray levels, or with a palette, 8-bit indices into it.
        path: the file.
        palette: ``(256, 3)`` RGB; ``None`` for a gray image.
    """
    image = PIL.Image.fromarray(values)
    if palette is not None:
        image.putpalette(palette.tobytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    # Masks compress by runs of equal values alone: smaller files in two thirds of the time.
    image.save(path, format="PNG", compress_type=zlib.Z_RLE)
