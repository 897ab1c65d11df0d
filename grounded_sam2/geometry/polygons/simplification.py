"""Simplification of rings within a guaranteed distance.

The algorithm of Ramer, Douglas and Peucker: a chain of points is replaced by the segment between
its ends unless a point is further from it than the tolerance; then the furthest point stays and
both halves are examined again. OpenCV's version measures the distance to the infinite line through
the ends and removes points once more at the end; both can exceed the tolerance. Here the chains of
all rings are measured at once, to the segment between their ends, and split until the bound holds.
A finer tolerance continues from the result of a coarser one.

David Douglas and Thomas Peucker, "Algorithms for the reduction of the number of points required
to represent a digitized line or its caricature", 1973.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry.polygons.polygon_batch import Ring, to_complex
from grounded_sam2.geometry.ragged import RaggedOffsets

__all__ = ["farthest_points", "initial_points", "kept_points", "refine", "simplify_ring"]

Points = NDArray[np.complex128]
"""Points of all rings: ``(n,)`` x + y·i in pixels."""
_MIN_POINTS = 3


def simplify_ring(ring: Ring, tolerance: float, anchored: NDArray[np.bool_] | None = None) -> Ring:
    """Remove points of a ring within a tolerance.

    Args:
        ring: ``(n, 2)`` x and y; the last point connects to the first.
        tolerance: pixels. No point of either outline is further than this from the other one.
        anchored: ``(n,)`` ``bool``, true for points that must stay; ``None`` for none.

    Returns:
        ``(m, 2)`` of the same points in the same order; at least three if `ring` has three.

    Raises:
        GeometryError: not ``(n, 2)``, or a tolerance below 0.
    """
    return ring[kept_points(ring, tolerance, anchored)]


def kept_points(
    ring: Ring, tolerance: float, anchored: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    """The points of a ring that `simplify_ring` keeps: ``(n,)`` ``bool``; arguments as there."""
    if ring.ndim != 2 or ring.shape[1] != 2:
        raise GeometryError(f"ring of shape {ring.shape}: expected (n, 2)")
    if not tolerance >= 0:
        raise GeometryError(f"tolerance {tolerance}: must be 0 or more pixels")
    points, points_per_ring = to_complex(ring.astype(np.float64)), RaggedOffsets([len(ring)])
    rolled = points_per_ring.roll(farthest_points(points, points_per_ring))
    anchors = np.zeros(len(ring), np.bool_) if anchored is None else anchored[rolled]
    initial = initial_points(points[rolled], points_per_ring, anchors)
    kept = np.empty(len(ring), np.bool_)
    kept[rolled] = refine(points[rolled], points_per_ring, initial, tolerance)
    return kept


def farthest_points(points: Points, points_per_ring: RaggedOffsets) -> NDArray[np.intp]:
    """Index of the point of each ring that is farthest from its first point.

    Such a point is an extreme one, which no other point can replace.

    Args:
        points: ``(n,)`` of all rings.
        points_per_ring: offsets of the points of each ring.

    Returns:
        ``(len(points_per_ring),)``; 0 for a ring without points.
    """
    farthest = np.zeros(len(points_per_ring), np.intp)
    nonempty = points_per_ring.sizes > 0
    rings = RaggedOffsets(points_per_ring.sizes[nonempty])
    farthest[nonempty] = rings.argmax(_squared_norm(points - rings.repeat(points[rings.starts])))
    return farthest


def initial_points(
    points: Points, points_per_ring: RaggedOffsets, anchored: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """The coarsest choice of points: the first of each ring and two more that are far from it.

    Args:
        points: ``(n,)`` of all rings; the first of each ring always stays.
        points_per_ring: offsets of the points of each ring.
        anchored: ``(n,)`` ``bool``, true for further points that must stay.

    Returns:
        ``(n,)`` ``bool``, true for the points to keep; all of a ring of three or fewer.
    """
    kept = anchored | points_per_ring.repeat(points_per_ring.sizes <= _MIN_POINTS)
    kept[points_per_ring.starts[points_per_ring.sizes > 0]] = True
    # The second point is farthest from the first, the third from the line between them.
    for number in (1, 2):
        too_few = points_per_ring.count(kept) <= number
        rings = np.flatnonzero(too_few & (points_per_ring.sizes > _MIN_POINTS))
        if not rings.size:
            break
        index = points_per_ring.indices(rings)
        offsets = RaggedOffsets(points_per_ring.sizes[rings])
        kept_offsets = RaggedOffsets(offsets.count(kept[index]))
        present = points[index[kept[index]]]
        distance = _squared_distances(
            points, index, offsets, present[kept_offsets.starts], present[kept_offsets.ends - 1]
        )
        distance[kept[index]] = -1
        kept[index[offsets.argmax(distance)]] = True
    return kept


def refine(
    points: Points, points_per_ring: RaggedOffsets, kept: NDArray[np.bool_], tolerance: float
) -> NDArray[np.bool_]:
    """Keep more points, until no point is further than the tolerance from the outline.

    Args:
        points: ``(n,)`` of all rings.
        points_per_ring: offsets of the points of each ring.
        kept: ``(n,)`` ``bool``, from `initial_points` or a call with a larger tolerance.
        tolerance: pixels.

    Returns:
        ``(n,)`` ``bool``, true for the points to keep.
    """
    kept = kept.copy()
    starts = np.flatnonzero(kept)
    # A chain ends before the next kept point; the last chain of a ring leads to its first point.
    ends = np.append(starts[1:], len(points))
    targets = np.append(starts[1:], 0)
    nonempty = points_per_ring.sizes > 0
    last_chains = np.searchsorted(starts, points_per_ring.ends[nonempty]) - 1
    targets[last_chains] = points_per_ring.starts[nonempty]
    while True:
        has_inner = ends - starts > 1
        starts, ends, targets = starts[has_inner], ends[has_inner], targets[has_inner]
        if not starts.size:
            return kept
        chains = RaggedOffsets(ends - starts - 1)
        inner = chains.local_index() + chains.repeat(starts + 1)
        distance = _squared_distances(points, inner, chains, points[starts], points[targets])
        peaks = chains.argmax(distance)
        split = distance[peaks] > tolerance * tolerance
        furthest = inner[peaks[split]]
        kept[furthest] = True
        starts, ends, targets = (
            np.concatenate((starts[split], furthest)),
            np.concatenate((furthest, ends[split])),
            np.concatenate((furthest, targets[split])),
        )


def _squared_distances(
    points: Points, index: NDArray[np.intp], chains: RaggedOffsets, begins: Points, ends: Points
) -> NDArray[np.float64]:
    """Squared distances of the points of chains to the segments between the ends of the chains.

    Args:
        points: ``(n,)``.
        index: ``(m,)`` indices of the points of all chains.
        chains: offsets of each chain's points in `index`.
        begins, ends: ``(len(chains),)`` ends of the segments.

    Returns:
        ``(m,)``.
    """
    along = ends - begins
    length = _squared_norm(along)
    length[length == 0] = 1  # both ends coincide: the distance to that point
    along_x, along_y = chains.repeat(along.real), chains.repeat(along.imag)
    inner = points[index]
    x = inner.real - chains.repeat(begins.real)
    y = inner.imag - chains.repeat(begins.imag)
    projection = (x * along_x + y * along_y) / chains.repeat(length)
    projection.clip(0, 1, out=projection)
    x -= projection * along_x
    y -= projection * along_y
    return x * x + y * y


def _squared_norm(points: Points) -> NDArray[np.float64]:
    # In real numbers: the rounding of a complex product may depend on its position in the array.
    x, y = points.real, points.imag
    return x * x + y * y
