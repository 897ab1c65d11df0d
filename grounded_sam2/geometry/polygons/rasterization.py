"""Which pixels an outline means.

The rule: a pixel is set when its center is inside, by even-odd counting over the rings of one
polygon; several polygons are united. With whole-numbered corners on pixel edges that is exact,
and it is what pycocotools does too, up to its grid of a fifth of a pixel. OpenCV's ``fillPoly``
is different: it works on whole-numbered pixels and sets the ones under the outline as well.

No image is painted: where the rings cross the center lines of the columns are the ends of runs,
and the runs are the mask. The cost is that of the outline, not of the image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry.compressed_counts import compress_counts
from grounded_sam2.geometry.crops import run_lengths_from_transitions
from grounded_sam2.geometry.polygons.polygon_batch import Polygon, PolygonBatch, Ring
from grounded_sam2.geometry.ragged import RaggedOffsets
from grounded_sam2.geometry.rle import Rle

__all__ = ["fill_transitions", "polygons_to_mask", "polygons_to_rle", "union_transitions"]


def polygons_to_mask(
    polygons: Sequence[Polygon | Ring], size_hw: tuple[int, int]
) -> NDArray[np.bool_]:
    """The pixels inside polygons: ``(h, w)`` ``bool``; arguments and errors as in `fill`."""
    return polygons_to_rle(polygons, size_hw).decode()


def polygons_to_rle(polygons: Sequence[Polygon | Ring], size_hw: tuple[int, int]) -> Rle:
    """The pixels inside polygons, as run lengths.

    Args:
        polygons: each a `Polygon`, or a single ring ``(n, 2)`` of x and y in pixels, which may
            visit places twice. What lies outside the image is cut off.
        size_hw: height and width of the image.

    Returns:
        The union; an empty mask for no polygons, or rings of fewer than three points.

    Raises:
        GeometryError: a ring is not ``(n, 2)`` or not finite.
    """
    for polygon in polygons:
        rings = (polygon.exterior, *polygon.holes) if isinstance(polygon, Polygon) else (polygon,)
        for ring in rings:
            if ring.ndim != 2 or ring.shape[1] != 2 or not np.isfinite(ring).all():
                raise GeometryError(
                    f"outline of shape {ring.shape}: expected (n, 2) with finite coordinates"
                )
    places, masks = fill_transitions(PolygonBatch.from_polygons([polygons]), np.array([size_hw]))
    runs, _ = run_lengths_from_transitions(places, masks, np.array([size_hw[0] * size_hw[1]]))
    return Rle(size_hw, compress_counts(runs))


def fill_transitions(
    outlines: PolygonBatch, sizes_hw: NDArray[np.int64]
) -> tuple[NDArray[np.int64], RaggedOffsets]:
    """Where runs of pixels inside outlines begin and end, in column-major order.

    Args:
        outlines: of many masks.
        sizes_hw: ``(len(outlines.masks), 2)`` heights and widths of their images.

    Returns:
        ``(n,)`` places in each mask's image, an even number for each, and where each mask's are.
        Two in one place cancel each other.
    """
    places, of_part = _crossings(outlines, sizes_hw)
    # Within a polygon, sorted crossings lead in and out by turns.
    largest = outlines.masks.repeat(sizes_hw.prod(axis=1))
    return union_transitions(_sorted(places, of_part, largest), of_part, outlines.masks, sizes_hw)


def union_transitions(
    places: NDArray[np.int64],
    parts: RaggedOffsets,
    masks: RaggedOffsets,
    sizes_hw: NDArray[np.int64],
) -> tuple[NDArray[np.int64], RaggedOffsets]:
    """Where runs of pixels inside any polygon of a mask begin and end, in column-major order.

    Args:
        places: of each polygon in order, leading in and out by turns.
        parts: where the places of each polygon are.
        masks: where the polygons of each mask are.
        sizes_hw: ``(len(masks), 2)`` heights and widths of their images.

    Returns:
        As `fill_transitions`.
    """
    of_mask = RaggedOffsets(masks.sum(parts.sizes))
    if (masks.sizes <= 1).all():
        return places, of_mask
    # A place is inside as long as more places led in than out.
    events = _sorted(2 * places + parts.local_index() % 2, of_mask, 2 * sizes_hw.prod(axis=1) + 1)
    places, depth = events >> 1, np.cumsum(1 - 2 * (events & 1))
    settled = np.append(places[1:] != places[:-1], True)[: len(places)]
    settled[of_mask.ends[of_mask.sizes > 0] - 1] = True
    inside = depth > 0
    changes = settled.copy()
    changes[settled] = inside[settled] != np.append(False, inside[settled])[:-1]
    return places[changes], RaggedOffsets(of_mask.count(changes))


def _crossings(
    outlines: PolygonBatch, sizes_hw: NDArray[np.int64]
) -> tuple[NDArray[np.int64], RaggedOffsets]:
    """Where edges cross the center lines of columns, as positions in column-major order.

    A crossing stands for the first pixel at or below it whose center it is not below of; an even
    number of them per column.

    Returns:
        ``(n,)`` positions in the image of each, and where those of each polygon are.
    """
    begin = outlines.points
    end = begin[outlines.rings.next_index()]
    # An edge that is walked there and back must cross at the same places, to the last bit.
    backward = begin.real > end.real
    left, right = np.where(backward, end, begin), np.where(backward, begin, end)
    x0, y0, x1, y1 = left.real, left.imag, right.real, right.imag
    heights, widths = outlines.points_per_mask.repeat(sizes_hw).T
    first = np.clip(np.ceil(x0 - 0.5), 0, widths)
    number = (np.clip(np.ceil(x1 - 0.5), 0, widths) - first).astype(np.intp)
    with np.errstate(divide="ignore", invalid="ignore"):  # upright edges cross no center line
        slope = (y1 - y0) / (x1 - x0)
        height_there = y0 + (first + 0.5 - x0) * slope

    of_edge = RaggedOffsets(number)
    nth = of_edge.local_index()
    y = of_edge.repeat(height_there) + nth * of_edge.repeat(slope)
    height = of_edge.repeat(heights)
    row = np.clip(np.ceil(y - 0.5), 0, height).astype(np.int64)
    column = of_edge.repeat(first).astype(np.int64) + nth
    of_ring = outlines.rings.sum(number)
    return column * height + row, RaggedOffsets(outlines.parts.sum(of_ring))


def _sorted(
    places: NDArray[np.int64], spans: RaggedOffsets, largest: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The places of each span in order; none is larger than is said for its span."""
    shift = spans.repeat(RaggedOffsets(largest + 1).starts)
    ordered: NDArray[np.int64] = np.sort(places + shift) - shift
    return ordered
