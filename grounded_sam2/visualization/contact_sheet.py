"""Contact sheets: many images of any size in one image."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

import cv2
import numpy as np

from grounded_sam2.results import Image

__all__ = ["contact_sheet"]

_BACKGROUND = 255
_GAP = 6  # pixels around each cell


def contact_sheet(images: Iterable[Image], *, columns: int = 6, cell: int = 256) -> Image:
    """Arrange images in rows on a white background.

    Args:
        images: RGB, ``(h, w, 3)`` ``uint8``, of any sizes. Each is scaled to fill its cell, keeping
            its aspect ratio, and centered.
        columns: largest number of images in a row.
        cell: side of a square cell in pixels.

    Returns:
        RGB, ``(h, w, 3)`` ``uint8``; one empty cell if there are no images.
    """
    cells = [_resize_to_cell(image, cell) for image in images]
    columns = max(1, min(columns, len(cells)))
    rows = max(1, ceil(len(cells) / columns))
    pitch = cell + _GAP
    sheet = np.full((rows * pitch + _GAP, columns * pitch + _GAP, 3), _BACKGROUND, np.uint8)
    for index, image in enumerate(cells):
        row, column = divmod(index, columns)
        height, width = image.shape[:2]
        top = _GAP + row * pitch + (cell - height) // 2
        left = _GAP + column * pitch + (cell - width) // 2
        sheet[top : top + height, left : left + width] = image
    return sheet


def _resize_to_cell(image: Image, cell: int) -> Image:
    height, width = image.shape[:2]
    scale = cell / max(height, width)
    size_wh = max(1, round(width * scale)), max(1, round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size_wh, interpolation=method), np.uint8)
