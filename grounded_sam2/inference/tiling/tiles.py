"""Tiles of a large image: overlapping windows at several scales.

Neighboring tiles overlap by a share of their side. An object smaller than that overlap lies whole
in one of them. Larger objects are cut by every tile, so there are also tiles of four times the side
(reduced to the size of the small ones), of sixteen times, and in the end the whole image: each
object lies whole in some tile, and is no smaller there than a quarter of the overlap. All levels
together cost a tenth more than the small tiles alone.
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

__all__ = [
    "LEVEL_RATIO",
    "Tile",
    "are_cut",
    "are_inside",
    "is_large",
    "make_tiles",
    "tile_batches",
    "tile_boxes",
]

LEVEL_RATIO = 4
"""Ratio of the sides of tiles of neighboring levels. With 2, the larger tiles would cost a third of
the small ones; with 8, an object just above the overlap would be reduced to a sixteenth of a
tile."""
_EDGE_MARGIN = 0.02
"""A box that ends this close to its tile's edge, as a share of the tile's side, may continue beyond
it. Detectors are off by a hundredth, and a whole box that is taken for a cut one costs nothing: it
lies in the middle of another tile."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A window of an image: half-open, in pixels."""

    left: int
    top: int
    right: int
    bottom: int
    max_side: int
    """Longer side in pixels to which the tile is reduced for the detector; it is never enlarged."""

    @property
    def origin_xy(self) -> tuple[int, int]:
        """Column and row of the first pixel."""
        return self.left, self.top

    @property
    def area(self) -> int:
        """Number of pixels in the image."""
        return (self.right - self.left) * (self.bottom - self.top)

    def crop(self, image: Image) -> Image:
        """The tile at full resolution: ``(h, w, 3)``, no copy."""
        return image[self.top : self.bottom, self.left : self.right]

    def resized_crop(self, image: Image) -> Image:
        """The tile reduced to `max_side`: ``(h, w, 3)``, C-contiguous."""
        crop = self.crop(image)
        height, width = self._resized_hw()
        if (height, width) == crop.shape[:2]:
            return np.ascontiguousarray(crop)
        smaller: Image = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA)
        return smaller

    def boxes_to_image(self, boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float64]:
        """Convert boxes from pixels of the resized tile to pixels of the image: ``(n, 4)``."""
        height, width = self._resized_hw()
        scale_x, scale_y = (self.right - self.left) / width, (self.bottom - self.top) / height
        return boxes_xyxy * np.array([scale_x, scale_y] * 2) + np.array(self.origin_xy * 2)

    def _resized_hw(self) -> tuple[int, int]:
        height, width = self.bottom - self.top, self.right - self.left
        scale = min(1.0, self.max_side / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))


def is_large(size_hw: tuple[int, ...], options: TilingConfig) -> bool:
    """Whether an image of this height and width is tiled."""
    longest = max(size_hw[:2])
    if options.mode == "never" or longest <= options.tile_size:
        return False
    return options.mode == "always" or longest > options.above_side


@lru_cache(maxsize=8)  # images of a folder share a few sizes
def make_tiles(size_hw: tuple[int, int], options: TilingConfig) -> tuple[Tile, ...]:
    """Return the tiles of a large image: the smallest first, row by row, the whole image last."""
    sides = [options.tile_size]
    # A tile of more than half the image shows little that the whole image does not.
    while sides[-1] * LEVEL_RATIO <= max(size_hw) / 2:
        sides.append(sides[-1] * LEVEL_RATIO)
    tiles = []
    for side in sides:
        (tops, height), (lefts, width) = (_starts(each, side, options.overlap) for each in size_hw)
        for top in tops:
            for left in lefts:
                tiles.append(Tile(left, top, left + width, top + height, options.tile_size))
    return (*tiles, Tile(0, 0, size_hw[1], size_hw[0], options.tile_size))


def _starts(length: int, side: int, overlap: float) -> tuple[list[int], int]:
    """Evenly spaced starts of tiles along an axis of the image, and their side; one if it fits."""
    if length <= side:
        return [0], length
    shared = round(side * overlap)
    count = -(-(length - shared) // (side - shared))
    return [round(index * (length - side) / (count - 1)) for index in range(count)], side


def tile_boxes(tiles: Sequence[Tile]) -> NDArray[np.float64]:
    """Return tiles as boxes: ``(n, 4)`` xyxy; ``(0, 4)`` for none."""
    edges = [(tile.left, tile.top, tile.right, tile.bottom) for tile in tiles]
    return np.array(edges, np.float64).reshape(-1, 4)


def are_inside(tiles_xyxy: NDArray[np.float64], box_xyxy: NDArray[np.float64]) -> NDArray[np.bool_]:
    """For each tile, whether a box lies inside it: ``(n,)`` ``bool``."""
    inside = (tiles_xyxy[:, :2] <= box_xyxy[:2]) & (box_xyxy[2:] <= tiles_xyxy[:, 2:])
    result: NDArray[np.bool_] = np.all(inside, axis=1)
    return result


def are_cut(
    boxes_xyxy: NDArray[np.float64], tiles_xyxy: NDArray[np.float64], size_hw: tuple[int, int]
) -> NDArray[np.bool_]:
    """Whether boxes end where their tile does, and may be fragments of larger objects.

    An edge of the tile that is an edge of the image cuts nothing.

    Args:
        boxes_xyxy: ``(…, 4)``, in the image.
        tiles_xyxy: ``(…, 4)``, the tile of each box, or an array that broadcasts to its shape.
        size_hw: height and width of the image.

    Returns:
        ``(…)`` ``bool``.
    """
    height, width = size_hw
    sides = tiles_xyxy[..., 2:] - tiles_xyxy[..., :2]
    near = np.abs(boxes_xyxy - tiles_xyxy) <= _EDGE_MARGIN * np.concatenate((sides, sides), axis=-1)
    inner = tiles_xyxy != np.array([0, 0, width, height])
    cut: NDArray[np.bool_] = (near & inner).any(axis=-1)
    return cut


def tile_batches(
    tiles: Sequence[Tile], *, max_tiles: int, max_area: float = math.inf
) -> Iterator[Sequence[Tile]]:
    """Yield tiles in order, in batches of bounded number and area.

    Args:
        tiles: may be none.
        max_tiles: number of tiles in a batch, at least 1.
        max_area: pixels of the image in a batch; a tile of more is a batch of its own.
    """
    begin, area = 0, 0
    for index, tile in enumerate(tiles):
        area += tile.area
        if index > begin and (index - begin == max_tiles or area > max_area):
            yield tiles[begin:index]
            begin, area = index, tile.area
    if begin < len(tiles):
        yield tiles[begin:]
