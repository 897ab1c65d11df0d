"""PolygonBatch of masks, traced on the edges of their pixels.

The usual tracer walks from pixel center to pixel center, and what it returns is half a pixel too
small on every side. Here the walk is OpenCV's, which is fast and knows what is nested in what,
but its answer is turned into the edges that the walk passes: at each pixel the walk arrives from
one neighbor, turns over background neighbors and leaves to the next, and every upright
background neighbor on that turn is an edge of the outline. Which edges those are depends only on
the two directions, so that a table answers for all steps of all outlines at once.

Pixels of a part touch at a side or at a corner; pixels of a hole, as of all background, touch at
a side. Coordinates are corners of pixels: the pixel in column x and row y spans x to x + 1 and
y to y + 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from grounded_sam2.geometry.polygons.polygon_batch import Polygon, PolygonBatch
from grounded_sam2.geometry.ragged import RaggedOffsets
from grounded_sam2.geometry.rle import Rle, decode_crops, encode

__all__ = ["as_rle", "exact_polygons", "has_holes", "trace_masks"]

_STEPS = {
    (1, 0): 0,
    (1, -1): 1,
    (0, -1): 2,
    (-1, -1): 3,
    (-1, 0): 4,
    (-1, 1): 5,
    (0, 1): 6,
    (1, 1): 7,
}
"""Directions counter-clockwise as seen on the screen, by (dx, dy)."""
_STAYS = 8
_DIRECTIONS = 9
_MOST_EDGES = 4
_DIRECTION = np.array([_STEPS.get((dx, dy), _STAYS) for dx in (-1, 0, 1) for dy in (-1, 0, 1)])


def _edges_by_turn() -> list[list[int]]:
    """The edges passed, by direction of arrival and of departure."""
    edges: list[list[int]] = [[] for _ in range(_DIRECTIONS**2)]
    for arrival in range(8):
        for departure in range(8):
            back = arrival + 4
            turn = (departure - back - 1) % 8 + 1
            passed = [(back + i) % 8 // 2 for i in range(1, turn) if (back + i) % 2 == 0]
            edges[_DIRECTIONS * arrival + departure] = passed
    edges[-1] = [0, 1, 2, 3]  # a single pixel
    return edges


_EDGES_BY_TURN = _edges_by_turn()
_EDGE_NUMBER = np.array([len(edges) for edges in _EDGES_BY_TURN])
_FIRST_EDGE, _LAST_EDGE = (
    np.array([edges[i] if edges else -1 for edges in _EDGES_BY_TURN]) for i in (0, -1)
)
_EDGES = np.array([(edges + [-1] * _MOST_EDGES)[:_MOST_EDGES] for edges in _EDGES_BY_TURN]).ravel()

_Y = 1 << 32
"""Places are one number each, y · 2³² + x: they sort from top to bottom, then left to right."""
_EDGE_START = np.array([_Y + 1, 1, 0, _Y])
"""From a pixel to where the walk along its right, upper, left and lower edge begins."""


def exact_polygons(mask: NDArray[np.bool_] | Rle) -> list[Polygon]:
    """The exact outlines of a mask: filled again, they give the same pixels.

    Args:
        mask: ``(h, w)`` ``bool``, or its `Rle`.

    Returns:
        One `Polygon` per part, from top to bottom; ``[]`` for an empty mask. Coordinates are
        whole numbers, each point is a corner, and each ring begins at its topmost, there its
        leftmost point.

    Raises:
        GeometryError: not a mask, or a damaged one.
    """
    crops = decode_crops([as_rle(mask)])
    return trace_masks(crops.pixels).translate(crops.origins_xy).to_polygons()[0]


def has_holes(mask: NDArray[np.bool_] | Rle) -> bool:
    """Whether a part of the mask encloses background."""
    return any(part.holes for part in exact_polygons(mask))


def as_rle(mask: NDArray[np.bool_] | Rle) -> Rle:
    """The mask in its compact form.

    Raises:
        GeometryError: not a ``(h, w)`` ``bool`` array.
    """
    return mask if isinstance(mask, Rle) else encode(mask)[0]


def trace_masks(masks: Sequence[NDArray[np.bool_]]) -> PolygonBatch:
    """The exact outlines of many masks; see `rings`.

    Args:
        masks: ``(h, w)`` ``bool`` in C order each, of any sizes.
    """
    walks: list[NDArray[np.int32]] = []
    parents: list[NDArray[np.int32]] = []
    numbers: list[int] = []
    for mask in masks:
        found: Sequence[NDArray[np.int32]] = ()
        if mask.size:
            found, hierarchy = cv2.findContours(
                mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
            )
        if found:
            walks += found
            parents.append(hierarchy[0, :, 3])
        numbers.append(len(found))
    of_mask = RaggedOffsets(numbers)
    if not walks:
        return PolygonBatch(
            np.zeros(0, np.complex128), RaggedOffsets([]), RaggedOffsets([]), of_mask
        )
    inside = np.concatenate(parents).astype(np.intp)
    parent = np.where(inside < 0, np.arange(len(walks)), inside + of_mask.repeat(of_mask.starts))
    return _in_order(*_corners(walks), parent, of_mask)


def _corners(walks: Sequence[NDArray[np.int32]]) -> tuple[NDArray[np.int64], RaggedOffsets]:
    """The corners of the pixel edges that walks over pixels pass.

    Args:
        walks: closed walks, ``(n_i, 1, 2)`` x and y, each step to one of the eight neighbors.

    Returns:
        ``(n,)`` places, one ring per walk, and where each ring's are.
    """
    of_walk = RaggedOffsets([len(walk) for walk in walks])
    x, y = np.concatenate(walks)[:, 0].T
    pixels = _Y * y.astype(np.int64) + x
    before = of_walk.previous_index()
    arrival = _DIRECTION[3 * (x - x[before]) + y - y[before] + 4]
    turn = _DIRECTIONS * arrival + arrival[of_walk.next_index()]
    number = _EDGE_NUMBER[turn]

    # At a concave corner the walk may pass a pixel without an edge.
    passed = number > 0
    if not passed.all():
        of_walk = RaggedOffsets(of_walk.count(passed))
        pixels, turn, number = pixels[passed], turn[passed], number[passed]
    bends = _FIRST_EDGE[turn] != _LAST_EDGE[turn][of_walk.previous_index()]
    # Between two edges of one pixel there is always a corner; it is where the second begins.
    of_pixel = RaggedOffsets(number - 1 + bends)
    nth = of_pixel.local_index() + of_pixel.repeat(_MOST_EDGES * turn + ~bends)
    corners = of_pixel.repeat(pixels) + _EDGE_START[_EDGES[nth]]
    return corners, RaggedOffsets(of_walk.sum(of_pixel.sizes))


def _in_order(
    corners: NDArray[np.int64],
    of_ring: RaggedOffsets,
    parents: NDArray[np.intp],
    of_mask: RaggedOffsets,
) -> PolygonBatch:
    """The rings in the order that `rings` promises, whatever OpenCV's is.

    Args:
        corners: ``(n,)`` places, of all rings.
        of_ring: where the corners of each ring are.
        parents: ``(len(of_ring),)`` the exterior around a hole; an exterior's own number.
        of_mask: where the rings of each mask are.
    """
    first = of_ring.argmax(-corners)
    start = corners[first]
    is_hole = parents != np.arange(len(parents))
    order = np.lexsort((start, is_hole, start[parents], of_mask.segment_ids()))

    rings = RaggedOffsets(of_ring.sizes[order])
    corners = corners[of_ring.roll(first)][of_ring.indices(order)]
    points = (corners & (_Y - 1)) + 1j * (corners >> 32)

    exteriors = ~is_hole[order]
    starts_of_parts = np.flatnonzero(exteriors)
    parts = RaggedOffsets(np.diff(starts_of_parts, append=len(order)))
    return PolygonBatch(points, rings, parts, RaggedOffsets(of_mask.count(exteriors)))
