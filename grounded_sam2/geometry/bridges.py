"""One outline for several rings: bridges of no width between them.

Formats with one ring per object can still hold parts and holes: walk to the next ring, around it
and back the same way. The way there and back encloses nothing, so that even-odd filling gives
the same pixels; only a rasteriser that also sets the pixels under the outline draws the bridge as
a thin line. Bridges are therefore short: they form the minimum spanning tree of the rings, over
the distances between their corners. All edges of that tree are also edges of the corners'
Delaunay triangulation, which keeps the search near-linear however many rings there are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree
from scipy.spatial import Delaunay

from grounded_sam2.geometry.simplification import kept_points
from grounded_sam2.geometry.tracing import Ring

__all__ = ["join"]

_MANY_POINTS = 1000
"""From here on, the time of the triangulation counts (1.5 ms), and bridges end at corners only:
on a jagged edge the steps are hardly nearer to the next ring, but ten times as many."""
_CORNER_TOLERANCE = 1.0
"""Pixels by which a point stands out from its neighbours, to be a corner in this sense."""


def join(rings: Sequence[Ring]) -> tuple[Ring, NDArray[np.bool_]]:
    """Join closed rings into one.

    Args:
        rings: ``(n_i, 2)`` x and y each, at least three points, not all on one line.

    Returns:
        ``(n, 2)`` the joined ring, and ``(n,)`` true for the ends of bridges: leave one of them
        out, and its bridge is no longer of no width. A single ring comes back as it is;
        ``(0, 2)`` and ``(0,)`` for none.
    """
    if len(rings) < 2:
        points = rings[0] if rings else np.zeros((0, 2))
        return points, np.zeros(len(points), np.bool_)
    points = np.concatenate(rings)
    sizes = np.array([len(ring) for ring in rings])
    first = np.cumsum(sizes) - sizes
    last = first + sizes - 1
    owner = np.repeat(np.arange(len(rings)), sizes)
    candidates = np.arange(len(points))
    if len(points) > _MANY_POINTS:
        corners = [kept_points(ring, _CORNER_TOLERANCE) for ring in rings]
        candidates = np.flatnonzero(np.concatenate(corners))
    bridges = _shortest_bridges(points, owner, candidates)

    # The walk as a linked list: what comes after each point. A bridge adds a second visit to
    # each of its ends: begin, end, around the other ring, end again, begin again, and on.
    visited = list(range(len(points)))
    following = list(range(1, len(points) + 1))
    for ring in range(len(rings)):
        following[last[ring]] = int(first[ring])
    for begin, end in bridges:
        end_again, begin_again = len(visited), len(visited) + 1
        visited += (end, begin)
        before_end = last[owner[end]] if end == first[owner[end]] else end - 1
        following[before_end] = end_again
        following += (begin_again, following[begin])
        following[begin] = end
    walk, at = [0], following[0]
    while at:
        walk.append(visited[at])
        at = following[at]
    return points[walk], np.isin(walk, bridges)


def _shortest_bridges(
    points: Ring, owner: NDArray[np.intp], candidates: NDArray[np.intp]
) -> list[tuple[int, int]]:
    """The bridges that join all rings to the first, each from a ring that is already joined.

    Args:
        points: ``(n, 2)`` of all rings.
        owner: ``(n,)`` number of the ring that each point belongs to.
        candidates: indices of the points where bridges may end, at least three of each ring.

    Returns:
        Pairs of indices into `points`.
    """
    pairs = candidates[_neighbours(points[candidates])]
    pairs = pairs[owner[pairs[:, 0]] != owner[pairs[:, 1]]]
    pairs = np.where((owner[pairs[:, 0]] < owner[pairs[:, 1]])[:, None], pairs, pairs[:, ::-1])
    length = np.hypot(*(points[pairs[:, 0]] - points[pairs[:, 1]]).T)
    order = np.lexsort((pairs[:, 1], pairs[:, 0], length))
    pairs, length = pairs[order], length[order]

    number = int(owner[-1]) + 1
    key = owner[pairs[:, 0]] * number + owner[pairs[:, 1]]
    key, shortest = np.unique(key, return_index=True)
    # The tree's zeros mean no edge, while touching rings have a distance of 0.
    distances = csr_array((length[shortest] + 1, np.divmod(key, number)), shape=(number, number))
    joined, parent = breadth_first_order(minimum_spanning_tree(distances), 0, directed=False)
    bridges: list[tuple[int, int]] = []
    for ring in joined[1:]:
        low, high = sorted((int(ring), int(parent[ring])))
        begin, end = pairs[shortest[np.searchsorted(key, low * number + high)]].tolist()
        bridges.append((end, begin) if low == ring else (begin, end))
    return bridges


def _neighbours(points: Ring) -> NDArray[np.intp]:
    """Pairs of points that are next to each other or in the same place: ``(k, 2)`` indices."""
    places, first, place = np.unique(points, axis=0, return_index=True, return_inverse=True)
    place = place.reshape(-1)
    # Corners of pixels lie on lines and circles by the thousands; joggling them by what is far
    # below any distance between them (always the same way) spares Qhull the special cases.
    triangles = Delaunay(places, qhull_options="QJ").simplices
    sides = np.concatenate((triangles[:, :2], triangles[:, 1:], triangles[:, ::2]))
    order = np.argsort(place, kind="stable")
    together = np.stack((order[:-1], order[1:]), axis=1)[place[order[:-1]] == place[order[1:]]]
    pairs: NDArray[np.intp] = np.concatenate((first[sides], together))
    return pairs
