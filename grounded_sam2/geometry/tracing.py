"""Outlines of a mask, traced on the edges of its pixels.

The usual tracer walks from pixel centre to pixel centre, and what it returns is half a pixel too
small on every side. Here the walk is OpenCV's, which is fast and knows what is nested in what,
but its answer is turned into the edges that the walk passes: at each pixel the walk arrives from
one neighbour, turns over background neighbours and leaves to the next, and every upright
background neighbour on that turn is an edge of the outline. Which edges those are depends only on
the two directions, so that a table answers for all steps of all outlines at once.

Pixels of a part touch at a side or at a corner; pixels of a hole, as of all background, touch at
a side. Coordinates are corners of pixels: the pixel in column x and row y spans x to x + 1 and
y to y + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from grounded_sam2.geometry.rle import Rle, encode

__all__ = ["Polygon", "Ring", "as_rle", "has_holes", "rings"]

Ring = NDArray[np.float64]
"""A closed outline: ``(n, 2)`` x and y in pixels, the last point joined to the first."""

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
_DIRECTION = np.array([[_STEPS.get((dx, dy), _STAYS) for dx in (-1, 0, 1)] for dy in (-1, 0, 1)])
_EDGE_START = np.array([(1, 1), (1, 0), (0, 0), (0, 1)])
"""Where the walk along a pixel's right, upper, left and lower edge begins (x, y)."""


def _edges_by_turn() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Number and list of the edges passed, by direction of arrival and of departure."""
    number = np.zeros((9, 9), np.intp)
    edges = np.zeros((9, 9, 4), np.intp)
    for arrival in range(8):
        for departure in range(8):
            back = arrival + 4
            turn = (departure - back - 1) % 8 + 1
            passed = [(back + i) % 8 // 2 for i in range(1, turn) if (back + i) % 2 == 0]
            number[arrival, departure] = len(passed)
            edges[arrival, departure, : len(passed)] = passed
    number[_STAYS, _STAYS] = 4  # a single pixel
    edges[_STAYS, _STAYS] = (0, 1, 2, 3)
    return number, edges


_EDGE_NUMBER, _EDGES = _edges_by_turn()


@dataclass(frozen=True, slots=True, eq=False)
class Polygon:
    """One part of a mask: its outline and the outlines of its holes.

    On the screen the exterior runs counter-clockwise and the holes clockwise, so that the inside
    is always to the left.
    """

    exterior: Ring
    holes: tuple[Ring, ...] = ()


def rings(mask: NDArray[np.bool_] | Rle) -> list[Polygon]:
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
    crop, origin_xy = as_rle(mask).decode_crop()
    if not crop.size:
        return []
    walks, hierarchy = cv2.findContours(crop.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outlines = [ring + np.array(origin_xy, np.float64) for ring in _on_edges(walks)]
    parents: list[int] = hierarchy[0, :, 3].tolist()
    holes: dict[int, list[Ring]] = {i: [] for i, parent in enumerate(parents) if parent < 0}
    for outline, parent in zip(outlines, parents, strict=True):
        if parent >= 0:
            holes[parent].append(outline)
    # OpenCV does not promise an order of its answers; ours has to be the same with any version.
    parts = [Polygon(outlines[i], tuple(sorted(inner, key=_start))) for i, inner in holes.items()]
    return sorted(parts, key=lambda part: _start(part.exterior))


def has_holes(mask: NDArray[np.bool_] | Rle) -> bool:
    """Whether a part of the mask encloses background."""
    return any(part.holes for part in rings(mask))


def as_rle(mask: NDArray[np.bool_] | Rle) -> Rle:
    """The mask in its compact form.

    Raises:
        GeometryError: not a ``(h, w)`` ``bool`` array.
    """
    return mask if isinstance(mask, Rle) else encode(mask)[0]


def _on_edges(walks: Sequence[NDArray[np.int32]]) -> list[Ring]:
    """The corners of the pixel edges that walks over pixels pass, one ring per walk.

    Args:
        walks: closed walks, ``(n_i, 1, 2)`` x and y, each step to one of the eight neighbours.
    """
    pixels = np.concatenate(walks)[:, 0].astype(np.intp)
    ends = np.cumsum([len(walk) for walk in walks])
    steps = pixels - pixels[_previous(ends)]
    arrival = _DIRECTION[steps[:, 1] + 1, steps[:, 0] + 1]
    departure = np.empty_like(arrival)
    departure[_previous(ends)] = arrival

    number = _EDGE_NUMBER[arrival, departure]
    pixel = np.repeat(np.arange(len(pixels)), number)
    nth = np.arange(len(pixel)) - np.repeat(np.cumsum(number) - number, number)
    edges = _EDGES[arrival[pixel], departure[pixel], nth]
    edge_ends = np.cumsum(number)[ends - 1]

    corner = edges != edges[_previous(edge_ends)]
    corners = (pixels[pixel] + _EDGE_START[edges])[corner].astype(np.float64)
    corner_ends = np.cumsum(corner)[edge_ends - 1]
    return [_from_start(ring) for ring in np.split(corners, corner_ends[:-1])]


def _previous(ends: NDArray[np.intp]) -> NDArray[np.intp]:
    """Index of each element's predecessor, where closed sequences lie one behind another."""
    previous = np.arange(-1, ends[-1] - 1)
    previous[np.concatenate(([0], ends[:-1]))] = ends - 1
    return previous


def _from_start(ring: Ring) -> Ring:
    start = np.lexsort((ring[:, 0], ring[:, 1]))[0]
    return np.roll(ring, -start, axis=0)


def _start(ring: Ring) -> tuple[float, float]:
    return float(ring[0, 1]), float(ring[0, 0])
