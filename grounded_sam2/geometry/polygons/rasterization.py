"""Rasterization of polygons: the pixels whose centers are inside.

A pixel is set if its center is inside by the even-odd rule over the rings of one polygon; several
polygons are united. For whole-numbered points on pixel corners the result is exact, and it equals
that of pycocotools up to its grid of a fifth of a pixel. OpenCV's ``fillPoly`` differs: it works on
whole-numbered pixels and also sets the pixels under the outline.

No image is filled: the crossings of the rings with the center lines of the columns are the ends of
runs, and the runs are the mask. The cost is that of the outline, not of the image.
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

__all__ = ["fill_transitions", "polygons_to_mask", "polygons_to_rle"]


def polygons_to_mask(
    polygons: Sequence[Polygon | Ring], size_hw: tuple[int, int]
) -> NDArray[np.bool_]:
    """`polygons_to_rle` as a dense mask: ``(h, w)`` ``bool``."""
    return polygons_to_rle(polygons, size_hw).decode()


def polygons_to_rle(polygons: Sequence[Polygon | Ring], size_hw: tuple[int, int]) -> Rle:
    """The mask of the pixels inside polygons.

    Args:
        polygons: each a `Polygon`, or a single ring ``(n, 2)`` of x and y in pixels, which may
            intersect or touch itself. Parts outside the image are cut off.
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
                    f"ring of shape {ring.shape}: expected (n, 2) with finite coordinates"
                )
    batch = PolygonBatch.from_polygons([polygons])
    transitions, offsets = fill_transitions(batch, np.array([size_hw]))
    total = np.array([size_hw[0] * size_hw[1]])
    run_lengths, _ = run_lengths_from_transitions(transitions, offsets, total)
    return Rle(size_hw, compress_counts(run_lengths))


def fill_transitions(
    polygons: PolygonBatch, sizes_hw: NDArray[np.int64]
) -> tuple[NDArray[np.int64], RaggedOffsets]:
    """Positions where runs of pixels inside polygons begin and end, in column-major order.

    Args:
        polygons: of many masks.
        sizes_hw: ``(len(polygons), 2)`` heights and widths of their images.

    Returns:
        ``(n,)`` sorted positions in the image of each mask, an even number per mask, and the
        offsets of each mask's. Two at the same position cancel each other.
    """
    crossings, per_polygon = _column_crossings(polygons, sizes_hw)
    # Sorted crossings of one polygon alternate between entering and leaving it.
    largest = polygons.polygons_per_mask.repeat(sizes_hw.prod(axis=1))
    sorted_crossings = _sort_segments(crossings, per_polygon, largest)
    return _union(sorted_crossings, per_polygon, polygons.polygons_per_mask, sizes_hw)


def _union(
    transitions: NDArray[np.int64],
    per_polygon: RaggedOffsets,
    polygons_per_mask: RaggedOffsets,
    sizes_hw: NDArray[np.int64],
) -> tuple[NDArray[np.int64], RaggedOffsets]:
    """Transitions of the union of the polygons of each mask.

    Args:
        transitions: sorted positions of each polygon, alternating between entering and leaving.
        per_polygon: offsets of the transitions of each polygon.
        polygons_per_mask: offsets of the polygons of each mask.
        sizes_hw: ``(len(polygons_per_mask), 2)`` heights and widths of the images.

    Returns:
        As `fill_transitions`.
    """
    per_mask = RaggedOffsets(polygons_per_mask.sum(per_polygon.sizes))
    if (polygons_per_mask.sizes <= 1).all():
        return transitions, per_mask
    # A pixel is inside as long as more polygons are entered than left.
    events = 2 * transitions + per_polygon.local_index() % 2
    events = _sort_segments(events, per_mask, 2 * sizes_hw.prod(axis=1) + 1)
    positions, depth = events >> 1, np.cumsum(1 - 2 * (events & 1))
    is_last = np.append(positions[1:] != positions[:-1], True)[: len(positions)]
    is_last[per_mask.ends[per_mask.sizes > 0] - 1] = True
    inside = depth > 0
    is_change = is_last.copy()
    is_change[is_last] = inside[is_last] != np.append(False, inside[is_last])[:-1]
    return positions[is_change], RaggedOffsets(per_mask.count(is_change))


def _column_crossings(
    polygons: PolygonBatch, sizes_hw: NDArray[np.int64]
) -> tuple[NDArray[np.int64], RaggedOffsets]:
    """Crossings of edges with the center lines of columns, as column-major positions.

    The position of a crossing is that of the first pixel of the column whose center is at or below
    it. Every ring has an even number of crossings per column.

    Returns:
        ``(n,)`` positions in the image of each mask, and the offsets of each polygon's.
    """
    begin = polygons.points
    end = begin[polygons.points_per_ring.next_index()]
    # The two directions of a bridge must cross at the same positions, to the last bit.
    backward = begin.real > end.real
    left, right = np.where(backward, end, begin), np.where(backward, begin, end)
    x0, y0, x1, y1 = left.real, left.imag, right.real, right.imag
    heights, widths = polygons.points_per_mask.repeat(sizes_hw).T
    first_column = np.clip(np.ceil(x0 - 0.5), 0, widths)
    column_count = (np.clip(np.ceil(x1 - 0.5), 0, widths) - first_column).astype(np.intp)
    with np.errstate(divide="ignore", invalid="ignore"):  # vertical edges cross no center line
        slope = (y1 - y0) / (x1 - x0)
        first_y = y0 + (first_column + 0.5 - x0) * slope

    per_edge = RaggedOffsets(column_count)
    local_column = per_edge.local_index()
    y = per_edge.repeat(first_y) + local_column * per_edge.repeat(slope)
    height = per_edge.repeat(heights)
    row = np.clip(np.ceil(y - 0.5), 0, height).astype(np.int64)
    column = per_edge.repeat(first_column).astype(np.int64) + local_column
    per_ring = polygons.points_per_ring.sum(column_count)
    return column * height + row, RaggedOffsets(polygons.rings_per_polygon.sum(per_ring))


def _sort_segments(
    values: NDArray[np.int64], offsets: RaggedOffsets, largest: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Sort the values of each segment; `largest` ``(len(offsets),)`` bounds the values of each."""
    shift = offsets.repeat(RaggedOffsets(largest + 1).starts)
    ordered: NDArray[np.int64] = np.sort(values + shift) - shift
    return ordered
