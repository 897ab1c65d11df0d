"""PolygonBatch of masks, as values: polygons of one mask, or the rings of many in one array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.geometry.ragged import RaggedOffsets

__all__ = ["Polygon", "PolygonBatch", "Ring", "to_complex", "to_xy"]

Ring = NDArray[np.float64]
"""A closed outline: ``(n, 2)`` x and y in pixels, the last point joined to the first."""


def to_complex(rows: NDArray[np.float64]) -> NDArray[np.complex128]:
    """x and y of points as one number each: ``(n, 2)`` to ``(n,)``."""
    points: NDArray[np.complex128] = np.ascontiguousarray(rows).view(np.complex128)[:, 0]
    return points


def to_xy(points: NDArray[np.complex128]) -> NDArray[np.float64]:
    """The inverse of `to_complex`."""
    return np.ascontiguousarray(points).view(np.float64).reshape(-1, 2)


_WIDER_THAN_ANY = 2.0**24
"""Pixels; leaves 29 bits of a place, y · 2²⁴ + x, for y and for what is behind the point."""


@dataclass(frozen=True, slots=True, eq=False)
class Polygon:
    """One part of a mask: its outline and the outlines of its holes.

    On the screen the exterior runs counter-clockwise and the holes clockwise, so that the inside
    is always to the left.
    """

    exterior: Ring
    holes: tuple[Ring, ...] = ()


@dataclass(frozen=True, eq=False)
class PolygonBatch:
    """The polygons of many masks: all points in one array, and what belongs to what."""

    points: NDArray[np.complex128]
    """``(n,)`` x + y·i in pixels: one number each, because numpy picks numbers from an array ten
    times faster than rows."""
    rings: RaggedOffsets
    """Where the points of each ring are."""
    parts: RaggedOffsets
    """Where the rings of each polygon are: its exterior, then its holes."""
    masks: RaggedOffsets
    """Where the polygons of each mask are."""

    @cached_property
    def rings_per_mask(self) -> RaggedOffsets:
        """Where the rings of each mask are."""
        return RaggedOffsets(self.masks.sum(self.parts.sizes))

    @cached_property
    def points_per_mask(self) -> RaggedOffsets:
        """Where the points of each mask are."""
        return RaggedOffsets(self.rings_per_mask.sum(self.rings.sizes))

    def areas(self) -> NDArray[np.float64]:
        """Area that the rings of each mask enclose, holes taken off: ``(len(masks),)``."""
        following = self.points[self.rings.next_index()]
        doubled = following.real * self.points.imag - self.points.real * following.imag
        return self.points_per_mask.sum(doubled) / 2

    def translate(self, offsets_xy: NDArray[np.int64]) -> PolygonBatch:
        """The same outlines elsewhere: ``(len(masks), 2)`` pixels to the right and down."""
        offsets = to_complex(offsets_xy.astype(np.float64))
        return replace(self, points=self.points + self.points_per_mask.repeat(offsets))

    def indices(self, which: NDArray[np.intp]) -> NDArray[np.intp]:
        """Indices of the points of these masks, in this order: ``(m,)``."""
        return self.rings.indices(self.parts.indices(self.masks.indices(which)))

    def select(self, which: NDArray[np.intp]) -> PolygonBatch:
        """The outlines of these masks, in this order."""
        parts = self.masks.indices(which)
        rings = self.parts.indices(parts)
        return PolygonBatch(
            self.points[self.rings.indices(rings)],
            RaggedOffsets(self.rings.sizes[rings]),
            RaggedOffsets(self.parts.sizes[parts]),
            RaggedOffsets(self.masks.sizes[which]),
        )

    def keep_points(self, kept: NDArray[np.bool_]) -> PolygonBatch:
        """The same outlines with these points only: ``(n,)``."""
        return replace(self, points=self.points[kept], rings=RaggedOffsets(self.rings.count(kept)))

    def start_at_top(self) -> PolygonBatch:
        """The same outlines, each ring beginning at its topmost, there its leftmost point."""
        first = self.rings.argmax(-(self.points.imag * _WIDER_THAN_ANY + self.points.real))
        return replace(self, points=self.points[self.rings.roll(first)])

    def to_polygons(self) -> list[list[Polygon]]:
        """The outlines as values, for each mask those of its parts."""
        rings = self.rings.split(to_xy(self.points))
        bounds = zip(self.parts.starts.tolist(), self.parts.ends.tolist(), strict=True)
        parts = [Polygon(rings[start], tuple(rings[start + 1 : end])) for start, end in bounds]
        return [
            parts[start:end]
            for start, end in zip(self.masks.starts.tolist(), self.masks.ends.tolist(), strict=True)
        ]

    @classmethod
    def concatenate(cls, several: Sequence[PolygonBatch]) -> PolygonBatch:
        """All outlines, one behind another."""
        return cls(
            np.concatenate([each.points for each in several]),
            RaggedOffsets(np.concatenate([each.rings.sizes for each in several])),
            RaggedOffsets(np.concatenate([each.parts.sizes for each in several])),
            RaggedOffsets(np.concatenate([each.masks.sizes for each in several])),
        )

    @classmethod
    def from_polygons(cls, masks: Sequence[Sequence[Polygon | Ring]]) -> PolygonBatch:
        """Put polygons together, for each mask those of its parts; a ring is one without holes."""
        parts = [
            (part.exterior, *part.holes) if isinstance(part, Polygon) else (part,)
            for mask in masks
            for part in mask
        ]
        rings = [ring for part in parts for ring in part]
        return cls(
            to_complex(np.concatenate([np.zeros((0, 2)), *rings])),
            RaggedOffsets([len(ring) for ring in rings]),
            RaggedOffsets([len(part) for part in parts]),
            RaggedOffsets([len(mask) for mask in masks]),
        )
