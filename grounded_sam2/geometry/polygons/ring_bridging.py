"""One outline for several rings: bridges of no width between them.

Formats with one ring per object can still hold parts and holes: walk to the next ring, around it
and back the same way. The way there and back encloses nothing, so that even-odd filling gives
the same pixels; only a rasterizer that also sets the pixels under the outline draws the bridge as
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

from grounded_sam2.geometry.polygons.outlines import Ring, as_points, as_rows
from grounded_sam2.geometry.polygons.simplification import kept_points
from grounded_sam2.geometry.ragged import Spans

__all__ = ["join", "walk_around", "walk_around_all"]

_MANY_POINTS = 1000
"""From here on, the time of the triangulation counts (1.5 ms), and bridges end at corners only:
on a jagged edge the steps are hardly nearer to the next ring, but ten times as many."""
_COARSE = 8
"""Of how many points one is looked at, for a first guess of how near two rings are."""
_MANY_PAIRS = 2**20
"""From here on, it is faster to triangulate than to measure all pairs of points of two rings."""
_CORNER_TOLERANCE = 1.0
"""Pixels by which a point stands out from its neighbors, to be a corner in this sense."""


def join(rings: Sequence[Ring]) -> tuple[Ring, NDArray[np.bool_]]:
    """Join closed rings into one.

    Args:
        rings: ``(n_i, 2)`` x and y each, at least three points, not all on one line.

    Returns:
        ``(n, 2)`` the joined ring, and ``(n,)`` true for the ends of bridges: leave one of them
        out, and its bridge is no longer of no width. A single ring comes back as it is;
        ``(0, 2)`` and ``(0,)`` for none.
    """
    points = np.concatenate([np.zeros((0, 2)), *rings])
    walk, ends_of_bridges = walk_around(as_points(points), Spans([len(ring) for ring in rings]))
    return points[walk], ends_of_bridges


def walk_around(
    points: NDArray[np.complex128], rings: Spans
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The order in which a single outline visits the points of several rings.

    Args:
        points: ``(n,)`` x + y·i of all rings.
        rings: where the points of each are.

    Returns:
        ``(m,)`` indices into `points`, the ends of bridges twice; and ``(m,)`` true for those.
    """
    if len(rings) < 2:
        return np.arange(rings.total), np.zeros(rings.total, np.bool_)
    if len(rings) == 2:
        pair = _nearest_pair(*rings.split(points))
        if pair is not None:
            return _around_two(*pair, *rings.sizes.tolist())
    bridges = _shortest_bridges(as_rows(points), rings)

    # The walk as a linked list: what comes after each point. A bridge adds a second visit to
    # each of its ends: begin, end, around the other ring, end again, begin again, and on.
    owner, first = rings.owners().tolist(), rings.starts.tolist()
    visited = list(range(rings.total))
    following = rings.following().tolist()
    for begin, end in bridges:
        end_again, begin_again = len(visited), len(visited) + 1
        visited += (end, begin)
        before_end = rings.ends[owner[end]] - 1 if end == first[owner[end]] else end - 1
        following[before_end] = end_again
        following += (begin_again, following[begin])
        following[begin] = end
    walk, at = [0], following[0]
    while at:
        walk.append(visited[at])
        at = following[at]
    return np.array(walk), np.isin(walk, bridges)


def walk_around_all(
    points: NDArray[np.complex128], rings: Spans, groups: Spans
) -> tuple[NDArray[np.intp], Spans, NDArray[np.bool_]]:
    """`walk_around` the rings of each group.

    Args:
        points: ``(n,)`` x + y·i of all rings.
        rings: where the points of each ring are.
        groups: where the rings of each group are.

    Returns:
        ``(m,)`` indices into `points`, where those of each group are, and ``(m,)`` true for the
        ends of bridges.
    """
    of_group = Spans(groups.sums(rings.sizes))
    sizes = of_group.sizes.copy()
    walks, ends_of_bridges = [], []
    done = 0
    for group in np.flatnonzero(groups.sizes > 1).tolist():
        start, end = of_group.starts[group], of_group.ends[group]
        those = Spans(rings.sizes[groups.starts[group] : groups.ends[group]])
        walk, ends = walk_around(points[start:end], those)
        walks += [np.arange(done, start), walk + start]
        ends_of_bridges += [np.zeros(start - done, np.bool_), ends]
        sizes[group] = len(walk)
        done = end
    walks.append(np.arange(done, rings.total))
    ends_of_bridges.append(np.zeros(rings.total - done, np.bool_))
    return np.concatenate(walks), Spans(sizes), np.concatenate(ends_of_bridges)


def _around_two(
    begin: int, end: int, first: int, second: int
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """`walk_around` two rings of so many points, over a bridge from a point of each."""
    walk = np.concatenate(
        (
            np.arange(begin + 1),
            first + np.arange(end, second),
            first + np.arange(end + 1),
            np.arange(begin, first),
        )
    )
    ends_of_bridges = np.zeros(len(walk), np.bool_)
    ends_of_bridges[[begin, begin + 1, begin + second + 1, begin + second + 2]] = True
    return walk, ends_of_bridges


def _nearest_pair(
    first: NDArray[np.complex128], second: NDArray[np.complex128]
) -> tuple[int, int] | None:
    """Index of a point of each ring, nearest to each other; ``None`` if there are many to compare.

    Points of one ring that are further from the box around the other than two points are from each
    other need no comparison.
    """
    reach = _squared_distances(first[::_COARSE], second[::_COARSE]).min()
    near_first = np.flatnonzero(_squared_distance_to_box(first, second) <= reach)
    near_second = np.flatnonzero(_squared_distance_to_box(second, first) <= reach)
    if near_first.size * near_second.size > _MANY_PAIRS:
        return None
    distances = _squared_distances(first[near_first], second[near_second])
    begin, end = divmod(int(np.argmin(distances)), near_second.size)
    return int(near_first[begin]), int(near_second[end])


def _squared_distances(
    first: NDArray[np.complex128], second: NDArray[np.complex128]
) -> NDArray[np.float64]:
    """Of each point to each: ``(len(first), len(second))``."""
    across = first.real[:, None] - second.real
    down = first.imag[:, None] - second.imag
    across *= across
    down *= down
    across += down
    return across


def _squared_distance_to_box(
    points: NDArray[np.complex128], others: NDArray[np.complex128]
) -> NDArray[np.float64]:
    """Of each point to the box around others: ``(len(points),)``; 0 inside."""
    x, y = points.real, points.imag
    across = np.maximum(others.real.min() - x, x - others.real.max())
    down = np.maximum(others.imag.min() - y, y - others.imag.max())
    squared: NDArray[np.float64] = np.maximum(across, 0) ** 2 + np.maximum(down, 0) ** 2
    return squared


def _shortest_bridges(points: Ring, rings: Spans) -> list[tuple[int, int]]:
    """The bridges that join all rings to the first, each from a ring that is already joined.

    Returns:
        Pairs of indices into `points`.
    """
    owner = rings.owners()
    candidates = np.arange(rings.total)
    if rings.total > _MANY_POINTS:
        corners = [kept_points(ring, _CORNER_TOLERANCE) for ring in rings.split(points)]
        candidates = np.flatnonzero(np.concatenate(corners))
    pairs = candidates[_neighbors(points[candidates])]
    pairs = pairs[owner[pairs[:, 0]] != owner[pairs[:, 1]]]
    pairs = np.where((owner[pairs[:, 0]] < owner[pairs[:, 1]])[:, None], pairs, pairs[:, ::-1])
    length = np.hypot(*(points[pairs[:, 0]] - points[pairs[:, 1]]).T)
    order = np.lexsort((pairs[:, 1], pairs[:, 0], length))
    pairs, length = pairs[order], length[order]

    number = len(rings)
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


def _neighbors(points: Ring) -> NDArray[np.intp]:
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
