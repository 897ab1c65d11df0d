"""One ring made of several: bridges of zero width between them.

Formats with one ring per object can still hold separate components and holes: go to the next ring,
around it and back the same way. The way there and back encloses nothing, so even-odd filling gives
the same pixels; only a rasterizer that also sets the pixels under the ring draws the bridge as
a thin line. Bridges are therefore short: they form the minimum spanning tree of the rings, over
the distances between their points. All edges of that tree are also edges of the Delaunay
triangulation of the points, which keeps the search near-linear however many rings there are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.geometry.polygons.polygon_batch import Ring, to_complex, to_xy
from grounded_sam2.geometry.polygons.simplification import kept_points
from grounded_sam2.geometry.ragged import RaggedOffsets

__all__ = ["bridge_rings", "bridged_traversal", "bridged_traversal_batch"]

_CORNERS_ONLY_ABOVE = 1000
"""Points of all rings above which the triangulation takes a noticeable time (1.5 ms). Bridges then
end at corners only: the steps of a jagged edge are hardly nearer to the next ring than its corners,
but ten times as many."""
_MAX_PAIRS = 2**20
"""Pairs of points of two rings up to which measuring all of them is faster than triangulating."""
_SUBSAMPLING = 8
"""Step of the subsample of points that gives a first upper bound on the distance of two rings."""
_CORNER_TOLERANCE = 1.0
"""Pixels by which a point stands out from its neighbors to count as a corner."""


def bridge_rings(
    rings: Sequence[Ring],
    *,
    corners_only_above: int = _CORNERS_ONLY_ABOVE,
    max_pairs: int = _MAX_PAIRS,
) -> tuple[Ring, NDArray[np.bool_]]:
    """Join closed rings into one.

    Args:
        rings: ``(n_i, 2)`` x and y each, at least three points, not all on one line.
        corners_only_above: points of all rings above which bridges end at corners only.
        max_pairs: pairs of points up to which all distances of two rings are measured instead of
            triangulating.

    Returns:
        ``(n, 2)`` the joined ring, and ``(n,)`` ``bool``, true for the ends of bridges: a bridge
        has zero width only as long as all four of its ends stay. A single ring is returned
        unchanged; ``(0, 2)`` and ``(0,)`` for no rings.
    """
    points = np.concatenate([np.zeros((0, 2)), *rings])
    order, bridge_ends = bridged_traversal(
        to_complex(points),
        RaggedOffsets([len(ring) for ring in rings]),
        corners_only_above=corners_only_above,
        max_pairs=max_pairs,
    )
    return points[order], bridge_ends


def bridged_traversal(
    points: NDArray[np.complex128],
    points_per_ring: RaggedOffsets,
    *,
    corners_only_above: int = _CORNERS_ONLY_ABOVE,
    max_pairs: int = _MAX_PAIRS,
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The order in which one joined ring visits the points of several rings.

    Args:
        points: ``(n,)`` x + y·i of all rings.
        points_per_ring: offsets of the points of each ring.
        corners_only_above, max_pairs: as for `bridge_rings`.

    Returns:
        ``(m,)`` indices into `points`, the ends of bridges twice; and ``(m,)`` ``bool``, true for
        those ends.
    """
    total = points_per_ring.total
    if len(points_per_ring) < 2:
        return np.arange(total), np.zeros(total, np.bool_)
    if len(points_per_ring) == 2:
        pair = _nearest_pair(*points_per_ring.split(points), max_pairs=max_pairs)
        if pair is not None:
            return _traverse_two(*pair, *points_per_ring.sizes.tolist())
    bridges = _shortest_bridges(to_xy(points), points_per_ring, corners_only_above)

    # The traversal as a linked list: the successor of each visit. A bridge adds a second visit to
    # each of its ends: begin, end, around the other ring, end again, begin again, and on.
    ring_of_point = points_per_ring.segment_ids().tolist()
    first = points_per_ring.starts.tolist()
    visited = list(range(total))
    successor = points_per_ring.next_index().tolist()
    for begin, end in bridges:
        end_again, begin_again = len(visited), len(visited) + 1
        visited += (end, begin)
        ring = ring_of_point[end]
        before_end = points_per_ring.ends[ring] - 1 if end == first[ring] else end - 1
        successor[before_end] = end_again
        successor += (begin_again, successor[begin])
        successor[begin] = end
    order, visit = [0], successor[0]
    while visit:
        order.append(visited[visit])
        visit = successor[visit]
    return np.array(order), np.isin(order, bridges)


def bridged_traversal_batch(
    points: NDArray[np.complex128],
    points_per_ring: RaggedOffsets,
    rings_per_group: RaggedOffsets,
) -> tuple[NDArray[np.intp], RaggedOffsets, NDArray[np.bool_]]:
    """`bridged_traversal` of the rings of each group.

    Args:
        points: ``(n,)`` x + y·i of all rings.
        points_per_ring: offsets of the points of each ring.
        rings_per_group: offsets of the rings of each group.

    Returns:
        ``(m,)`` indices into `points`, the offsets of those of each group, and ``(m,)`` ``bool``,
        true for the ends of bridges.
    """
    points_per_group = RaggedOffsets(rings_per_group.sum(points_per_ring.sizes))
    sizes = points_per_group.sizes.copy()
    orders, bridge_ends = [], []
    done = 0
    for group in np.flatnonzero(rings_per_group.sizes > 1).tolist():
        start, end = points_per_group.starts[group], points_per_group.ends[group]
        of_group = slice(rings_per_group.starts[group], rings_per_group.ends[group])
        rings = RaggedOffsets(points_per_ring.sizes[of_group])
        order, ends = bridged_traversal(points[start:end], rings)
        orders += [np.arange(done, start), order + start]
        bridge_ends += [np.zeros(start - done, np.bool_), ends]
        sizes[group] = len(order)
        done = end
    orders.append(np.arange(done, points_per_ring.total))
    bridge_ends.append(np.zeros(points_per_ring.total - done, np.bool_))
    return np.concatenate(orders), RaggedOffsets(sizes), np.concatenate(bridge_ends)


def _traverse_two(
    begin: int, end: int, first_size: int, second_size: int
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """`bridged_traversal` of two rings, over a bridge from point `begin` of the first to point
    `end` of the second."""
    order = np.concatenate(
        (
            np.arange(begin + 1),
            first_size + np.arange(end, second_size),
            first_size + np.arange(end + 1),
            np.arange(begin, first_size),
        )
    )
    bridge_ends = np.zeros(len(order), np.bool_)
    bridge_ends[[begin, begin + 1, begin + second_size + 1, begin + second_size + 2]] = True
    return order, bridge_ends


def _nearest_pair(
    first: NDArray[np.complex128], second: NDArray[np.complex128], *, max_pairs: int
) -> tuple[int, int] | None:
    """Indices of the nearest points of two rings; ``None`` if too many pairs must be compared.

    A point needs no comparison if it is further from the bounding box of the other ring than some
    two points of the rings are from each other.
    """
    bound = _squared_distances(first[::_SUBSAMPLING], second[::_SUBSAMPLING]).min()
    near_first = np.flatnonzero(_squared_distance_to_box(first, second) <= bound)
    near_second = np.flatnonzero(_squared_distance_to_box(second, first) <= bound)
    if near_first.size * near_second.size > max_pairs:
        return None
    distances = _squared_distances(first[near_first], second[near_second])
    begin, end = divmod(int(np.argmin(distances)), near_second.size)
    return int(near_first[begin]), int(near_second[end])


def _squared_distances(
    first: NDArray[np.complex128], second: NDArray[np.complex128]
) -> NDArray[np.float64]:
    """Squared distance of every point to every other: ``(len(first), len(second))``."""
    dx = first.real[:, None] - second.real
    dy = first.imag[:, None] - second.imag
    dx *= dx
    dy *= dy
    dx += dy
    return dx


def _squared_distance_to_box(
    points: NDArray[np.complex128], others: NDArray[np.complex128]
) -> NDArray[np.float64]:
    """Squared distance to the bounding box of `others`: ``(len(points),)``; 0 inside."""
    x, y = points.real, points.imag
    dx = np.maximum(others.real.min() - x, x - others.real.max())
    dy = np.maximum(others.imag.min() - y, y - others.imag.max())
    squared: NDArray[np.float64] = np.maximum(dx, 0) ** 2 + np.maximum(dy, 0) ** 2
    return squared


def _shortest_bridges(
    points: Ring, points_per_ring: RaggedOffsets, corners_only_above: int
) -> list[tuple[int, int]]:
    """The bridges that join all rings to the first, each from a ring that is already joined.

    Returns:
        Pairs of indices into `points`.
    """
    # These scipy modules take 0.2 s to import, and most masks have one or two rings.
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

    ring_of_point = points_per_ring.segment_ids()
    candidates = np.arange(points_per_ring.total)
    if points_per_ring.total > corners_only_above:
        corners = [kept_points(ring, _CORNER_TOLERANCE) for ring in points_per_ring.split(points)]
        candidates = np.flatnonzero(np.concatenate(corners))
    pairs = candidates[_neighbors(points[candidates])]
    pairs = pairs[ring_of_point[pairs[:, 0]] != ring_of_point[pairs[:, 1]]]
    in_order = ring_of_point[pairs[:, 0]] < ring_of_point[pairs[:, 1]]
    pairs = np.where(in_order[:, None], pairs, pairs[:, ::-1])
    length = np.hypot(*(points[pairs[:, 0]] - points[pairs[:, 1]]).T)
    order = np.lexsort((pairs[:, 1], pairs[:, 0], length))
    pairs, length = pairs[order], length[order]

    number = len(points_per_ring)
    key = ring_of_point[pairs[:, 0]] * number + ring_of_point[pairs[:, 1]]
    key, shortest = np.unique(key, return_index=True)
    # A 0 in the sparse matrix means no edge, while touching rings have a distance of 0.
    distances = csr_array((length[shortest] + 1, np.divmod(key, number)), shape=(number, number))
    joined, parent = breadth_first_order(minimum_spanning_tree(distances), 0, directed=False)
    bridges: list[tuple[int, int]] = []
    for ring in joined[1:]:
        low, high = sorted((int(ring), int(parent[ring])))
        begin, end = pairs[shortest[np.searchsorted(key, low * number + high)]].tolist()
        bridges.append((end, begin) if low == ring else (begin, end))
    return bridges


def _neighbors(points: Ring) -> NDArray[np.intp]:
    """Pairs of points that are Delaunay neighbors or coincide: ``(k, 2)`` indices."""
    from scipy.spatial import Delaunay  # 0.2 s to import

    unique, first, place = np.unique(points, axis=0, return_index=True, return_inverse=True)
    place = place.reshape(-1)
    # Pixel corners lie on common lines and circles by the thousands. Qhull's joggling, far below
    # any distance between them and always the same, avoids these degenerate cases.
    triangles = Delaunay(unique, qhull_options="QJ").simplices
    sides = np.concatenate((triangles[:, :2], triangles[:, 1:], triangles[:, ::2]))
    order = np.argsort(place, kind="stable")
    coincident = np.stack((order[:-1], order[1:]), axis=1)[place[order[:-1]] == place[order[1:]]]
    pairs: NDArray[np.intp] = np.concatenate((first[sides], coincident))
    return pairs
