"""The windows through which a large image is looked at.

Tiles cover the image, each showing again a share of the one before. A thing smaller than that
overlap is whole in one of them. Larger ones are cut everywhere, so there are also tiles of four
times the size, shown at the size of the small ones, and of sixteen times, and in the end the whole
image: everything is whole in some window, and no smaller there than a quarter of the overlap.
All together they cost a tenth more than the small tiles alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from grounded_sam2.config import TilingConfig
from grounded_sam2.results import Image

__all__ = ["STEP", "View", "cut_by_views", "in_batches", "is_large", "shows", "views_of", "windows"]

STEP = 4
"""Ratio of the sizes of tiles. With 2, the larger ones would cost a third of the small ones; with
8, a thing just above the overlap would be shown at a sixteenth of a tile."""
_EDGE = 0.02
"""Boxes that end this near a window's edge, as a share of its side, may go on beyond it. Detectors
are off by a hundredth; and to take something whole for a part costs nothing, as it is in the middle
of another window."""


@dataclass(frozen=True, slots=True)
class View:
    """A window of an image."""

    left: int
    top: int
    right: int
    bottom: int
    longest: int
    """The longer side at which a detector is shown it, in pixels, unless it is smaller anyway."""

    @property
    def origin_xy(self) -> tuple[int, int]:
        """Column and row of the first pixel."""
        return self.left, self.top

    @property
    def pixels(self) -> int:
        """How many it has in the image."""
        return (self.right - self.left) * (self.bottom - self.top)

    def crop(self, image: Image) -> Image:
        """The window at full resolution: ``(h, w, 3)``, no copy."""
        return image[self.top : self.bottom, self.left : self.right]

    def shown(self, image: Image) -> Image:
        """The window no larger than a detector is shown it: ``(h, w, 3)``, C-contiguous."""
        crop = self.crop(image)
        height, width = self._shown_hw()
        if (height, width) == crop.shape[:2]:
            return np.ascontiguousarray(crop)
        smaller: Image = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA)
        return smaller

    def to_image(self, boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float64]:
        """Boxes in the window as shown → boxes in the image: ``(n, 4)``."""
        height, width = self._shown_hw()
        across, down = (self.right - self.left) / width, (self.bottom - self.top) / height
        return boxes_xyxy * np.array([across, down] * 2) + np.array(self.origin_xy * 2)

    def _shown_hw(self) -> tuple[int, int]:
        height, width = self.bottom - self.top, self.right - self.left
        scale = min(1.0, self.longest / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))


def is_large(size_hw: tuple[int, ...], options: TilingConfig) -> bool:
    """Whether an image of this height and width is looked at in tiles."""
    longest = max(size_hw[:2])
    if options.mode == "never" or longest <= options.tile_size:
        return False
    return options.mode == "always" or longest > options.above_side


@lru_cache(maxsize=8)  # images of a folder share a few sizes
def views_of(size_hw: tuple[int, int], options: TilingConfig) -> tuple[View, ...]:
    """The windows of a large image: the smallest first, row by row, the whole image last."""
    sizes = [options.tile_size]
    # A tile of more than half the image shows little that the whole image does not.
    while sizes[-1] * STEP <= max(size_hw) / 2:
        sizes.append(sizes[-1] * STEP)
    found = []
    for size in sizes:
        (tops, height), (lefts, width) = (_cuts(side, size, options.overlap) for side in size_hw)
        for top in tops:
            for left in lefts:
                found.append(View(left, top, left + width, top + height, options.tile_size))
    return (*found, View(0, 0, size_hw[1], size_hw[0], options.tile_size))


def _cuts(side: int, size: int, overlap: float) -> tuple[list[int], int]:
    """Where tiles begin along a side, evenly, and their size; one if it fits."""
    if side <= size:
        return [0], side
    shared = round(size * overlap)
    count = -(-(side - shared) // (size - shared))
    return [round(index * (side - size) / (count - 1)) for index in range(count)], size


def windows(views: Sequence[View]) -> NDArray[np.float64]:
    """As boxes: ``(n, 4)`` xyxy; ``(0, 4)`` for none."""
    edges = [(view.left, view.top, view.right, view.bottom) for view in views]
    return np.array(edges, np.float64).reshape(-1, 4)


def shows(windows_xyxy: NDArray[np.float64], box_xyxy: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which windows a box lies in: ``(n,)`` ``bool``."""
    inside = (windows_xyxy[:, :2] <= box_xyxy[:2]) & (box_xyxy[2:] <= windows_xyxy[:, 2:])
    answer: NDArray[np.bool_] = np.all(inside, axis=1)
    return answer


def cut_by_views(
    boxes_xyxy: NDArray[np.float64], windows_xyxy: NDArray[np.float64], size_hw: tuple[int, int]
) -> NDArray[np.bool_]:
    """Which boxes end where their window does, and may be parts of something larger.

    Where the window ends with the image, nothing goes on.

    Args:
        boxes_xyxy: ``(…, 4)``, in the image.
        windows_xyxy: ``(…, 4)``, of each box, or whatever goes with its shape.
        size_hw: height and width of the image.

    Returns:
        ``(…)`` ``bool``.
    """
    height, width = size_hw
    sides = windows_xyxy[..., 2:] - windows_xyxy[..., :2]
    near = np.abs(boxes_xyxy - windows_xyxy) <= _EDGE * np.concatenate((sides, sides), axis=-1)
    inner = windows_xyxy != np.array([0, 0, width, height])
    cut: NDArray[np.bool_] = (near & inner).any(axis=-1)
    return cut


def in_batches(
    views: Sequence[View], *, count: int, pixels: float = math.inf
) -> Iterator[Sequence[View]]:
    """Views in order, at most so many at a time, and of so many pixels unless one alone has more.

    Args:
        views: may be none.
        count: at least 1.
        pixels: of all together, in the image.
    """
    begin, total = 0, 0
    for index, view in enumerate(views):
        total += view.pixels
        if index > begin and (index - begin == count or total > pixels):
            yield views[begin:index]
            begin, total = index, view.pixels
    if begin < len(views):
        yield views[begin:]
