"""Outlines with fewer points, never further away than asked.

Douglas and Peucker's rule: a chain of points is replaced by the line between its ends unless a
point lies further from it than the tolerance, in which case the furthest one stays and both
halves are looked at again. OpenCV's version is fast but measures to the endless line through
the ends, and cleans up once more at the end; both can break the bound. So its answer is only the
first guess: every chain is measured here, and split until the bound holds.

David Douglas and Thomas Peucker, "Algorithms for the reduction of the number of points required
to represent a digitized line or its caricature", 1973.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from grounded_sam2.errors import GeometryError

__all__ = ["kept_points", "simplify"]

Points = NDArray[np.float64]


def simplify(ring: Points, tolerance: float, anchored: NDArray[np.bool_] | None = None) -> Points:
    """Leave out points of a closed outline.

    Args:
        ring: ``(n, 2)`` x and y, the last point joined to the first.
        tolerance: pixels. No point of either outline is further than this from the other one.
        anchored: ``(n,)``, true for points that must stay; none if not given.

    Returns:
        ``(m, 2)`` of the same points in the same order; at least three if `ring` has three.

    Raises:
        GeometryError: not ``(n, 2)``, or a tolerance below 0.
    """
    return ring[kept_points(ring, tolerance, anchored)]


def kept_points(
    ring: Points, tolerance: float, anchored: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    """Which points of a closed outline `simplify` keeps: ``(n,)``; arguments as there."""
    if ring.ndim != 2 or ring.shape[1] != 2:
        raise GeometryError(f"outline of shape {ring.shape}: expected (n, 2)")
    if not tolerance >= 0:
        raise GeometryError(f"tolerance {tolerance}: must be 0 or more pixels")
    if len(ring) <= 3:
        return np.ones(len(ring), np.bool_)
    kept = _first_guess(ring, tolerance)
    if anchored is not None:
        kept |= anchored
    if kept.sum() < 2:
        first = int(np.argmax(kept))
        kept[[first, _furthest(ring, first)]] = True
    while True:
        begins = np.flatnonzero(kept)
        ends = np.append(begins[1:], begins[0] + len(ring))
        long = ends - begins > 1
        if not long.any():
            return kept
        furthest, distances = _furthest_inside(ring, begins[long], ends[long])
        broken = distances > tolerance
        if broken.any():
            kept[furthest[broken]] = True
        elif len(begins) < 3:
            kept[furthest[np.argmax(distances)]] = True
        else:
            return kept


def _first_guess(ring: Points, tolerance: float) -> NDArray[np.bool_]:
    """``(n,)``, true for the points that OpenCV keeps, and others in the same places."""
    points = ring.astype(np.float32)
    guess = cv2.approxPolyDP(points, tolerance, closed=True)
    # OpenCV returns points, not which ones. Each pair of numbers becomes one, to be looked up.
    return np.isin(points.view(np.int64)[:, 0], guess.reshape(-1, 2).view(np.int64)[:, 0])


def _furthest(ring: Points, index: int) -> int:
    """Index of the point furthest from another one of the ring."""
    return int(np.argmax(((ring - ring[index]) ** 2).sum(axis=1)))


def _furthest_inside(
    ring: Points, begins: NDArray[np.intp], ends: NDArray[np.intp]
) -> tuple[NDArray[np.intp], Points]:
    """For each chain of points, the one furthest from the line between the ends.

    Args:
        ring: ``(n, 2)``.
        begins: ``(k,)`` index of each chain's first point.
        ends: ``(k,)`` index of its last point, at least 2 more; counts on beyond the ring's end.

    Returns:
        ``(k,)`` indices, the first of each chain where several are as far, and ``(k,)`` distances
        to the line segment.
    """
    sizes = ends - begins - 1
    offsets = np.cumsum(sizes) - sizes
    index = (np.arange(sizes.sum()) + np.repeat(begins + 1 - offsets, sizes)) % len(ring)
    origin = ring[begins]
    along = ring[ends % len(ring)] - origin
    squared_length = (along**2).sum(axis=1)
    squared_length[squared_length == 0] = 1  # ends in one place: the distance to that place

    x, y = (ring[index] - np.repeat(origin, sizes, axis=0)).T
    along_x, along_y = np.repeat(along, sizes, axis=0).T
    share = np.clip((x * along_x + y * along_y) / np.repeat(squared_length, sizes), 0, 1)
    distance = np.hypot(x - share * along_x, y - share * along_y)

    furthest = np.maximum.reduceat(distance, offsets)
    hits = np.flatnonzero(distance == np.repeat(furthest, sizes))
    return index[hits[np.searchsorted(hits, offsets)]], furthest
