"""Windows around boxes, from which small things are seen near."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.config import TilingConfig
from grounded_sam2.inference.tiling.tiles import View

__all__ = ["windows_around"]

_CONTEXT = 0.25
"""What a window shows around a box on each side at least, as a share of the box's longer side."""


def windows_around(
    boxes_xyxy: NDArray[np.float32], size_hw: tuple[int, int], options: TilingConfig
) -> dict[View, NDArray[np.intp]]:
    """Windows, and the indices of the boxes to ask in each.

    A window has the size of a tile, or twice, four times … that, for larger boxes. It stands around
    the first box that has none yet, and takes all others that it shows as well.
    """
    height, width = size_hw
    boxes = boxes_xyxy.astype(np.float64)
    longer = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
    found: dict[View, NDArray[np.intp]] = {}
    waiting = np.ones(len(boxes), np.bool_)
    side = options.tile_size
    # Windows of more than half the image would show little more than the whole.
    while side <= max(options.tile_size, max(size_hw) / 2):
        waiting_here = waiting & (longer * (1 + 2 * _CONTEXT) <= side)
        for first in np.flatnonzero(waiting_here).tolist():
            if not waiting[first]:
                continue
            x, y = (boxes[first, :2] + boxes[first, 2:]) / 2
            left, right = _around(x, side, width)
            top, bottom = _around(y, side, height)
            # Beyond the border of the image there is nothing to see: that edge is far away.
            edges = np.array([left, top, right, bottom], np.float64)
            edges[:2][edges[:2] == 0] = -np.inf
            edges[2:][edges[2:] == [width, height]] = np.inf
            room = np.concatenate((boxes[:, :2] - edges[:2], edges[2:] - boxes[:, 2:]), axis=1)
            shown = waiting_here & waiting & (room.min(axis=1) >= _CONTEXT * longer)
            shown[first] = True
            waiting &= ~shown
            window = View(left, top, right, bottom, side)
            before = found.get(window, np.zeros(0, np.intp))  # shifted into the same corner
            found[window] = np.concatenate((before, np.flatnonzero(shown)))
        side *= 2
    return found


def _around(center: float, side: int, whole: int) -> tuple[int, int]:
    """Begin and end of a window along an axis, inside the image."""
    size = min(side, whole)
    begin = min(max(round(center - size / 2), 0), whole - size)
    return begin, begin + size
