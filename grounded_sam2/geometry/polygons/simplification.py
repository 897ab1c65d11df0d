"""PolygonBatch with fewer points, never further away than asked.

Douglas and Peucker's rule: a chain of points is replaced by the line between its ends unless a
point lies further from it than the tolerance, in which case the furthest one stays and both
halves are looked at again. OpenCV's version measures to the endless line through the ends, and
cleans up once more at the end; both can break the bound. Here the chains of all outlines are
measured at once, to the piece of line between their ends, and split until the bound holds. A
finer tolerance goes on where a coarser one has stopped.

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
"""Of all rings, ``(n,)`` x + y·i in pixels."""
_FEWEST = 3


def simplify_ring(ring: Ring, tolerance: float, anchored: NDArray[np.bool_] | None = None) -> Ring:
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
    ring: Ring, tolerance: float, anchored: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    """Which points of a closed outline `simplify` keeps: ``(n,)``; arguments as there."""
    if ring.ndim != 2 or ring.shape[1] != 2:
        raise GeometryError(f"outline of shape {ring.shape}: expected (n, 2)")
    if not tolerance >= 0:
        raise GeometryError(f"tolerance {tolerance}: must be 0 or more pixels")
    points, rings = to_complex(ring.astype(np.float64)), RaggedOffsets([len(ring)])
    turned = rings.roll(farthest_points(points, rings))
    anchors = np.zeros(len(ring), np.bool_) if anchored is None else anchored[turned]
    begin = initial_points(points[turned], rings, anchors)
    kept = np.empty(len(ring), np.bool_)
    kept[turned] = refine(points[turned], rings, begin, tolerance)
    return kept


def farthest_points(points: Points, rings: RaggedOffsets) -> NDArray[np.intp]:
    """Index of a point of each ring that no other could stand for: the furthest from the first.

    Args:
        points: ``(n,)`` of all rings.
        rings: where the points of each are; 0 for one without.
    """
    found = np.zeros(len(rings), np.intp)
    filled = rings.sizes > 0
    those = RaggedOffsets(rings.sizes[filled])
    found[filled] = those.argmax(_squared(points - those.repeat(points[those.starts])))
    return found


def initial_points(
    points: Points, rings: RaggedOffsets, anchored: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """The points to begin with: of each ring the first, and two more that lie far off.

    Args:
        points: ``(n,)`` of all rings, which begin at a point that shall stay.
        rings: where the points of each are.
        anchored: ``(n,)``, true for points that must stay, too.

    Returns:
        ``(n,)``, true for the points to keep; all of a ring of three or fewer.
    """
    kept = anchored | rings.repeat(rings.sizes <= _FEWEST)
    kept[rings.starts[rings.sizes > 0]] = True
    # The second is furthest from the first, the third from the line between them.
    for number in (1, 2):
        few = np.flatnonzero((rings.count(kept) <= number) & (rings.sizes > _FEWEST))
        if not few.size:
            break
        index = rings.indices(few)
        those = RaggedOffsets(rings.sizes[few])
        ends = RaggedOffsets(those.count(kept[index]))
        present = points[index[kept[index]]]
        distance = _squared_distances(
            points, index, those, present[ends.starts], present[ends.ends - 1]
        )
        distance[kept[index]] = -1
        kept[index[those.argmax(distance)]] = True
    return kept


def refine(
    points: Points, rings: RaggedOffsets, kept: NDArray[np.bool_], tolerance: float
) -> NDArray[np.bool_]:
    """Keep more points, until no point is further than the tolerance from the outline.

    Args:
        points: ``(n,)`` of all rings.
        rings: where the points of each are.
        kept: ``(n,)``, as `coarsest` says, or an earlier call with a larger tolerance.
        tolerance: pixels.

    Returns:
        ``(n,)``, true for the points to keep.
    """
    kept = kept.copy()
    starts = np.flatnonzero(kept)
    # A chain ends before the next kept point; the last chain of a ring leads to its first point.
    ends = np.append(starts[1:], len(points))
    targets = np.append(starts[1:], 0)
    filled = rings.sizes > 0
    targets[np.searchsorted(starts, rings.ends[filled]) - 1] = rings.starts[filled]
    while True:
        long = ends - starts > 1
        starts, ends, targets = starts[long], ends[long], targets[long]
        if not starts.size:
            return kept
        chains = RaggedOffsets(ends - starts - 1)
        inner = chains.local_index() + chains.repeat(starts + 1)
        distance = _squared_distances(points, inner, chains, points[starts], points[targets])
        peaks = chains.argmax(distance)
        broken = distance[peaks] > tolerance * tolerance
        furthest = inner[peaks[broken]]
        kept[furthest] = True
        starts, ends, targets = (
            np.concatenate((starts[broken], furthest)),
            np.concatenate((furthest, ends[broken])),
            np.concatenate((furthest, targets[broken])),
        )


def _squared_distances(
    points: Points, index: NDArray[np.intp], chains: RaggedOffsets, begins: Points, ends: Points
) -> NDArray[np.float64]:
    """Of each point of chains to the piece of line between the ends of its chain.

    Args:
        points: ``(n,)``.
        index: ``(m,)`` those that belong to chains.
        chains: where each chain's are.
        begins, ends: ``(len(chains),)``.

    Returns:
        ``(m,)``.
    """
    along = ends - begins
    length = _squared(along)
    length[length == 0] = 1  # ends in one place: the distance to that place
    along_x, along_y = chains.repeat(along.real), chains.repeat(along.imag)
    chosen = points[index]
    x = chosen.real - chains.repeat(begins.real)
    y = chosen.imag - chains.repeat(begins.imag)
    share = (x * along_x + y * along_y) / chains.repeat(length)
    share.clip(0, 1, out=share)
    x -= share * along_x
    y -= share * along_y
    return x * x + y * y


def _squared(points: Points) -> NDArray[np.float64]:
    # In real numbers: how complex ones are multiplied may depend on where they stand in an array.
    x, y = points.real, points.imag
    return x * x + y * y
