"""Few points that still say what the mask says.

The search starts at a tolerance of one pixel, or more where more may be lost, compares, and goes on
with a finer one for the masks that came out wrong. At its end stands the exact outline, so that it
always ends well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry.polygons.mask_fidelity import FidelityMetric
from grounded_sam2.geometry.polygons.polygon_batch import PolygonBatch
from grounded_sam2.geometry.polygons.simplification import farthest_points, initial_points, refine

__all__ = ["fit_polygons", "tolerance_schedule"]

_LOSS_OF_A_PIXEL = 0.02
_FINEST = 0.25
"""Steps of one pixel, which masks are made of, deviate by this or more."""


def tolerance_schedule(min_iou: float, largest: float | None) -> list[float]:
    """Tolerances to try before the exact outline, from coarse to fine.

    Args:
        min_iou: overlap that is asked for; with 1, none is worth trying.
        largest: where to begin, in pixels; ``None`` for as much as fits the overlap, which is one
            pixel for 0.98, the grain of masks, and no less above.

    Raises:
        GeometryError: `min_iou` outside [0, 1] or a negative tolerance.
    """
    if not 0 <= min_iou <= 1:
        raise GeometryError(f"min_iou {min_iou}: must lie between 0 and 1")
    if largest is None:
        largest = max(1.0, (1 - min_iou) / _LOSS_OF_A_PIXEL)
    if not largest >= 0:
        raise GeometryError(f"max_tolerance {largest}: must be 0 or more pixels")
    if min_iou == 1:
        return []
    halvings = math.log2(max(largest / _FINEST, 1))
    return [largest * 2 ** (-step / 2) for step in range(round(2 * halvings) + 1)]


def fit_polygons(
    exact: PolygonBatch,
    which: NDArray[np.intp],
    *,
    anchored: NDArray[np.bool_],
    min_iou: float,
    tolerances: Sequence[float],
    metrics: Sequence[FidelityMetric],
    round_trip: Callable[[PolygonBatch, NDArray[np.intp]], PolygonBatch] = lambda outlines, _: (
        outlines
    ),
) -> PolygonBatch:
    """Simplify the outlines of each mask as far as it agrees with the mask.

    Args:
        exact: outlines of many masks.
        which: numbers of the masks to simplify_ring, ascending; not those of empty ones.
        anchored: ``(n,)``, true for points that must stay.
        min_iou: the least that each agreement has to reach.
        tolerances: pixels that outlines may deviate, to be tried from coarse to fine.
        metrics: asked in turn, about the masks that all before found good.
        round_trip: what readers make of outlines of the masks of these numbers, to be judged instead.

    Returns:
        PolygonBatch of the same masks in the same order; exact where only those agree. Each ring begins
        at its topmost, there its leftmost point.
    """
    if not tolerances or not which.size:
        return exact.start_at_top()
    others = np.setdiff1d(np.arange(len(exact.masks)), which, assume_unique=True)
    found = [(others, exact.select(others))]
    current, anchored = exact.select(which), anchored[exact.indices(which)]
    turned = current.rings.roll(farthest_points(current.points, current.rings))
    current = replace(current, points=current.points[turned])
    kept = initial_points(current.points, current.rings, anchored[turned])
    for tolerance in tolerances:
        if not which.size:
            break
        kept = refine(current.points, current.rings, kept, tolerance)
        coarse = current.keep_points(kept)
        read = round_trip(coarse, which)
        good = np.arange(which.size)
        for agreement_of in metrics:
            good = good[agreement_of(read.select(good), which[good]) >= min_iou]
        found.append((which[good], coarse.select(good)))
        left = np.setdiff1d(np.arange(which.size), good, assume_unique=True)
        which, kept, current = which[left], kept[current.indices(left)], current.select(left)
    found.append((which, exact.select(which)))
    order = np.argsort(np.concatenate([numbers for numbers, _ in found]))
    return (
        PolygonBatch.concatenate([outlines for _, outlines in found]).select(order).start_at_top()
    )
