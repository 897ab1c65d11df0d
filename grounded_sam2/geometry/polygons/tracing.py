"""Exact polygons of masks, traced along the edges of their pixels.

Common contour tracers go from pixel center to pixel center, which makes the result half a pixel too
small on every side. This module uses the contours of OpenCV, which are fast and nested, and
converts them to the pixel edges that they pass: at each pixel the contour arrives from one
neighbor, turns over background neighbors and leaves to the next, and every background neighbor at a
side on that turn is an edge of the outline. These edges depend only on the two directions, so that
one table lookup converts all steps of all contours at once.

Components are 8-connected; holes, as all background, are 4-connected. Coordinates are corners of
pixels: the pixel in column x and row y spans x to x + 1 and y to y + 1.
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
"""Directions by (dx, dy), counter-clockwise on the screen."""
_NO_STEP = 8
_DIRECTIONS = 9
_MAX_EDGES = 4
_DIRECTION = np.array([_STEPS.get((dx, dy), _NO_STEP) for dx in (-1, 0, 1) for dy in (-1, 0, 1)])


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
_EDGE_COUNT = np.array([len(edges) for edges in _EDGES_BY_TURN])
_FIRST_EDGE, _LAST_EDGE = (
    np.array([edges[i] if edges else -1 for edges in _EDGES_BY_TURN]) for i in (0, -1)
)
_EDGES = np.array([(edges + [-1] * _MAX_EDGES)[:_MAX_EDGES] for edges in _EDGES_BY_TURN]).ravel()

_Y = 1 << 32
"""Positions are single numbers y · 2³² + x, which sort from top to bottom, then left to right."""
_EDGE_START = np.array([_Y + 1, 1, 0, _Y])
"""Offset from a pixel to the start of its right, upper, left and lower edge."""


def exact_polygons(mask: NDArray[np.bool_] | Rle) -> list[Polygon]:
    """The exact polygons of a mask: filled again, they give the same pixels.

    Args:
        mask: ``(h, w)`` ``bool``, or its `Rle`.

    Returns:
        One `Polygon` per component, from top to bottom; ``[]`` for an empty mask. Coordinates are
        whole numbers, each point is a corner, and each ring starts at its topmost, then leftmost
        point.

    Raises:
        GeometryError: not a mask, or a damaged one.
    """
    crops = decode_crops([as_rle(mask)])
    return trace_masks(crops.pixels).translate(crops.origins_xy).to_polygons()[0]


def has_holes(mask: NDArray[np.bool_] | Rle) -> bool:
    """Whether a component of the mask encloses background."""
    return any(polygon.holes for polygon in exact_polygons(mask))


def as_rle(mask: NDArray[np.bool_] | Rle) -> Rle:
    """The mask as `Rle`, encoded if it is dense.

    Raises:
        GeometryError: not a ``(h, w)`` ``bool`` array.
    """
    return mask if isinstance(mask, Rle) else encode(mask)[0]


def trace_masks(masks: Sequence[NDArray[np.bool_]]) -> PolygonBatch:
    """The exact polygons of many masks; see `exact_polygons`.

    Args:
        masks: ``(h, w)`` ``bool`` in C order each, of any sizes.
    """
    contours: list[NDArray[np.int32]] = []
    parents: list[NDArray[np.int32]] = []
    contour_counts: list[int] = []
    for mask in masks:
        found: Sequence[NDArray[np.int32]] = ()
        if mask.size:
            found, hierarchy = cv2.findContours(
                mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
            )
        if found:
            contours += found
            parents.append(hierarchy[0, :, 3])
        contour_counts.append(len(found))
    per_mask = RaggedOffsets(contour_counts)
    if not contours:
        empty = RaggedOffsets([])
        return PolygonBatch(np.zeros(0, np.complex128), empty, empty, per_mask)
    local_parent = np.concatenate(parents).astype(np.intp)
    parent = np.where(
        local_parent < 0, np.arange(len(contours)), local_parent + per_mask.repeat(per_mask.starts)
    )
    return _ordered_polygons(*_corners(contours), parent, per_mask)


def _corners(contours: Sequence[NDArray[np.int32]]) -> tuple[NDArray[np.int64], RaggedOffsets]:
    """The corners of the pixel edges that contours pass.

    Args:
        contours: closed, ``(n_i, 1, 2)`` x and y of pixels, each step to one of the 8 neighbors.

    Returns:
        ``(n,)`` positions, one ring per contour, and the offsets of each ring's.
    """
    per_contour = RaggedOffsets([len(contour) for contour in contours])
    x, y = np.concatenate(contours)[:, 0].T
    pixels = _Y * y.astype(np.int64) + x
    before = per_contour.previous_index()
    arrival = _DIRECTION[3 * (x - x[before]) + y - y[before] + 4]
    turn = _DIRECTIONS * arrival + arrival[per_contour.next_index()]
    edge_count = _EDGE_COUNT[turn]

    # At a concave corner the contour may pass a pixel without an edge.
    has_edges = edge_count > 0
    if not has_edges.all():
        per_contour = RaggedOffsets(per_contour.count(has_edges))
        pixels, turn, edge_count = pixels[has_edges], turn[has_edges], edge_count[has_edges]
    bends = _FIRST_EDGE[turn] != _LAST_EDGE[turn][per_contour.previous_index()]
    # There is a corner between any two edges of one pixel: the start of the second edge.
    per_pixel = RaggedOffsets(edge_count - 1 + bends)
    edge = per_pixel.local_index() + per_pixel.repeat(_MAX_EDGES * turn + ~bends)
    corners = per_pixel.repeat(pixels) + _EDGE_START[_EDGES[edge]]
    return corners, RaggedOffsets(per_contour.sum(per_pixel.sizes))


def _ordered_polygons(
    corners: NDArray[np.int64],
    corners_per_ring: RaggedOffsets,
    parents: NDArray[np.intp],
    rings_per_mask: RaggedOffsets,
) -> PolygonBatch:
    """The polygons in the order that `exact_polygons` documents, whatever OpenCV's order is.

    Args:
        corners: ``(n,)`` positions, of all rings.
        corners_per_ring: offsets of the corners of each ring.
        parents: ``(len(corners_per_ring),)`` index of the exterior around a hole; its own index for
            an exterior.
        rings_per_mask: offsets of the rings of each mask.
    """
    first = corners_per_ring.argmax(-corners)
    start = corners[first]
    is_hole = parents != np.arange(len(parents))
    order = np.lexsort((start, is_hole, start[parents], rings_per_mask.segment_ids()))

    points_per_ring = RaggedOffsets(corners_per_ring.sizes[order])
    corners = corners[corners_per_ring.roll(first)][corners_per_ring.indices(order)]
    points = (corners & (_Y - 1)) + 1j * (corners >> 32)

    is_exterior = ~is_hole[order]
    rings_per_polygon = RaggedOffsets(np.diff(np.flatnonzero(is_exterior), append=len(order)))
    polygons_per_mask = RaggedOffsets(rings_per_mask.count(is_exterior))
    return PolygonBatch(points, points_per_ring, rings_per_polygon, polygons_per_mask)
