"""Which pixels an outline means.

The rule: a pixel is set when its centre is inside, by even-odd counting over the rings of one
polygon; several polygons are united. With whole-numbered corners on pixel edges that is exact,
and it is what pycocotools does too, up to its grid of a fifth of a pixel. OpenCV's ``fillPoly``
is different: it works on whole-numbered pixels and sets the ones under the outline as well.

No picture is painted: where the rings cross the centre lines of the columns are the ends of runs,
and the runs are the mask. The cost is that of the outline, not of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.geometry.runs import pack
from grounded_sam2.geometry.tracing import Polygon, Ring

__all__ = ["fill", "rasterise"]


def rasterise(polygons: Sequence[Polygon | Ring], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels inside polygons: ``(h, w)`` ``bool``; arguments and errors as in `fill`."""
    return fill(polygons, size_hw).decode()


def fill(polygons: Sequence[Polygon | Ring], size_hw: tuple[int, int]) -> Rle:
    """The pixels inside polygons, as run lengths.

    Args:
        polygons: each a `Polygon`, or a single ring ``(n, 2)`` of x and y in pixels, which may
            visit places twice. What lies outside the picture is cut off.
        size_hw: height and width of the picture.

    Returns:
        The union; an empty mask for no polygons, or rings of fewer than three points.

    Raises:
        GeometryError: a ring is not ``(n, 2)`` or not finite.
    """
    height, width = size_hw
    crossings = [_crossings(_edges(polygon), height, width) for polygon in polygons]
    if not crossings:
        return Rle(size_hw, pack(np.array([height * width])))
    # Within a polygon, sorted crossings lead in and out by turns; over all polygons, a place is
    # inside as long as more crossings led in than out.
    place = np.concatenate([np.sort(places) for places in crossings])
    turn = np.concatenate([1 - 2 * (np.arange(len(places)) % 2) for places in crossings])
    order = np.argsort(place, kind="stable")
    place, depth = place[order], np.cumsum(turn[order])
    settled = np.append(np.diff(place) > 0, True)[: len(place)]
    place, inside = place[settled], depth[settled] > 0
    bounds = place[np.diff(inside, prepend=False)]
    ends = np.append(bounds[bounds < height * width], height * width)
    return Rle(size_hw, pack(np.diff(ends, prepend=0)))


def _edges(polygon: Polygon | Ring) -> NDArray[np.float64]:
    """``(n, 2, 2)`` edges of all rings: two points, the left one first."""
    rings = (polygon.exterior, *polygon.holes) if isinstance(polygon, Polygon) else (polygon,)
    for ring in rings:
        if ring.ndim != 2 or ring.shape[1] != 2 or not np.isfinite(ring).all():
            raise GeometryError(
                f"outline of shape {ring.shape}: expected (n, 2) with finite coordinates"
            )
    edges = np.concatenate([np.stack((ring, np.roll(ring, -1, axis=0)), 1) for ring in rings])
    # An edge that is walked there and back must cross at the same places, to the last bit.
    backward = edges[:, 0, 0] > edges[:, 1, 0]
    edges[backward] = edges[backward, ::-1]
    return edges.astype(np.float64)


def _crossings(edges: NDArray[np.float64], height: int, width: int) -> NDArray[np.intp]:
    """Where edges cross the centre lines of columns, as positions in column-major order.

    A crossing stands for the first pixel at or below it whose centre it is not below of; an even
    number of them per column.
    """
    (x0, y0), (x1, y1) = edges[:, 0].T, edges[:, 1].T
    first = np.clip(np.ceil(x0 - 0.5), 0, width).astype(np.intp)
    number = np.clip(np.ceil(x1 - 0.5), 0, width).astype(np.intp) - first
    edge = np.repeat(np.arange(len(edges)), number)
    column = np.arange(len(edge)) - np.repeat(np.cumsum(number) - number - first, number)
    share = (column + 0.5 - x0[edge]) / (x1 - x0)[edge]
    y = y0[edge] + share * (y1 - y0)[edge]
    row = np.clip(np.ceil(y - 0.5), 0, height).astype(np.intp)
    crossings: NDArray[np.intp] = column * height + row
    return crossings
