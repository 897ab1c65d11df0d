"""Polygons: of one mask as values, and of many masks as one batch of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.geometry.ragged import RaggedOffsets

__all__ = ["Polygon", "PolygonBatch", "Ring", "to_complex", "to_xy"]

Ring = NDArray[np.float64]
"""A closed outline: ``(n, 2)`` x and y in pixels; the last point connects to the first."""


def to_complex(points_xy: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Points as complex numbers x + y·i: ``(n, 2)`` to ``(n,)``."""
    points: NDArray[np.complex128] = np.ascontiguousarray(points_xy).view(np.complex128)[:, 0]
    return points


def to_xy(points: NDArray[np.complex128]) -> NDArray[np.float64]:
    """The inverse of `to_complex`: ``(n,)`` to ``(n, 2)`` x and y."""
    return np.ascontiguousarray(points).view(np.float64).reshape(-1, 2)


_MAX_WIDTH = 2.0**24
"""Pixels, more than the width of any image. Of the 53 bits of y · 2²⁴ + x, it leaves 29 for y and
for fractions of a pixel."""


@dataclass(frozen=True, slots=True, eq=False)
class Polygon:
    """One connected component of a mask: its exterior ring and the rings of its holes.

    On the screen the exterior runs counter-clockwise and the holes clockwise, so that the interior
    is always to the left.
    """

    exterior: Ring
    holes: tuple[Ring, ...] = ()


@dataclass(frozen=True, eq=False)
class PolygonBatch:
    """The polygons of many masks: all points in one array, and the nested offsets in it."""

    points: NDArray[np.complex128]
    """``(n,)`` x + y·i in pixels. Complex, because numpy gathers numbers ten times faster than
    rows."""
    points_per_ring: RaggedOffsets
    """Offsets of the points of each ring."""
    rings_per_polygon: RaggedOffsets
    """Offsets of the rings of each polygon: its exterior, then its holes."""
    polygons_per_mask: RaggedOffsets
    """Offsets of the polygons of each mask."""

    def __len__(self) -> int:
        """Number of masks."""
        return len(self.polygons_per_mask)

    @cached_property
    def rings_per_mask(self) -> RaggedOffsets:
        """Offsets of the rings of each mask."""
        return RaggedOffsets(self.polygons_per_mask.sum(self.rings_per_polygon.sizes))

    @cached_property
    def points_per_mask(self) -> RaggedOffsets:
        """Offsets of the points of each mask."""
        return RaggedOffsets(self.rings_per_mask.sum(self.points_per_ring.sizes))

    def areas(self) -> NDArray[np.float64]:
        """Area that the polygons of each mask enclose, without holes: ``(len(self),)``."""
        following = self.points[self.points_per_ring.next_index()]
        doubled = following.real * self.points.imag - self.points.real * following.imag
        return self.points_per_mask.sum(doubled) / 2

    def translate(self, offsets_xy: NDArray[np.int64]) -> PolygonBatch:
        """Move the polygons of each mask by an offset: ``(len(self), 2)`` pixels."""
        offsets = to_complex(offsets_xy.astype(np.float64))
        return replace(self, points=self.points + self.points_per_mask.repeat(offsets))

    def point_indices(self, masks: NDArray[np.intp]) -> NDArray[np.intp]:
        """Indices of the points of the given masks, in the given order: ``(m,)``."""
        polygons = self.polygons_per_mask.indices(masks)
        return self.points_per_ring.indices(self.rings_per_polygon.indices(polygons))

    def select(self, masks: NDArray[np.intp]) -> PolygonBatch:
        """The polygons of the given masks, in the given order."""
        polygons = self.polygons_per_mask.indices(masks)
        rings = self.rings_per_polygon.indices(polygons)
        return PolygonBatch(
            self.points[self.points_per_ring.indices(rings)],
            RaggedOffsets(self.points_per_ring.sizes[rings]),
            RaggedOffsets(self.rings_per_polygon.sizes[polygons]),
            RaggedOffsets(self.polygons_per_mask.sizes[masks]),
        )

    def keep_points(self, is_kept: NDArray[np.bool_]) -> PolygonBatch:
        """The same polygons with only the given points: ``(n,)`` ``bool``."""
        points_per_ring = RaggedOffsets(self.points_per_ring.count(is_kept))
        return replace(self, points=self.points[is_kept], points_per_ring=points_per_ring)

    def start_at_top(self) -> PolygonBatch:
        """The same polygons, each ring starting at its topmost, then leftmost point."""
        first = self.points_per_ring.argmax(-(self.points.imag * _MAX_WIDTH + self.points.real))
        return replace(self, points=self.points[self.points_per_ring.roll(first)])

    def to_polygons(self) -> list[list[Polygon]]:
        """The polygons of each mask as values."""
        rings = self.points_per_ring.split(to_xy(self.points))
        offsets = self.rings_per_polygon
        bounds = zip(offsets.starts.tolist(), offsets.ends.tolist(), strict=True)
        polygons = [Polygon(rings[start], tuple(rings[start + 1 : end])) for start, end in bounds]
        offsets = self.polygons_per_mask
        bounds = zip(offsets.starts.tolist(), offsets.ends.tolist(), strict=True)
        return [polygons[start:end] for start, end in bounds]

    @classmethod
    def from_polygons(cls, masks: Sequence[Sequence[Polygon | Ring]]) -> PolygonBatch:
        """A batch of the polygons of each mask; a `Ring` is a polygon without holes."""
        polygons = [
            (each.exterior, *each.holes) if isinstance(each, Polygon) else (each,)
            for mask in masks
            for each in mask
        ]
        rings = [ring for polygon in polygons for ring in polygon]
        return cls(
            to_complex(np.concatenate([np.zeros((0, 2)), *rings])),
            RaggedOffsets([len(ring) for ring in rings]),
            RaggedOffsets([len(polygon) for polygon in polygons]),
            RaggedOffsets([len(mask) for mask in masks]),
        )

    @classmethod
    def concatenate(cls, batches: Sequence[PolygonBatch]) -> PolygonBatch:
        """The masks of all batches, in order."""
        return cls(
            np.concatenate([each.points for each in batches]),
            RaggedOffsets(np.concatenate([each.points_per_ring.sizes for each in batches])),
            RaggedOffsets(np.concatenate([each.rings_per_polygon.sizes for each in batches])),
            RaggedOffsets(np.concatenate([each.polygons_per_mask.sizes for each in batches])),
        )
