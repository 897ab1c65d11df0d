"""Search for the polygons with the fewest points that still represent a mask well enough.

The search starts with a simplification tolerance of one pixel, or more for a lower IoU, measures
the fidelity, and continues with finer tolerances for the masks below the bound. The last resort is
the exact polygon, so that the search always succeeds.
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

_IOU_LOSS_PER_PIXEL = 0.02
_MIN_TOLERANCE = 0.25
"""Pixels. The steps of a pixel outline deviate by this or more, so that finer tolerances keep all
points."""


def tolerance_schedule(min_iou: float, max_tolerance: float | None) -> list[float]:
    """Tolerances to try before the exact polygon, in descending order.

    Args:
        min_iou: requested IoU; 1 needs no tolerance.
        max_tolerance: the first one, in pixels. ``None`` derives it from the IoU: one pixel for
            0.98 and above, which is the resolution of masks, and more below.

    Raises:
        GeometryError: `min_iou` outside [0, 1] or a negative tolerance.
    """
    if not 0 <= min_iou <= 1:
        raise GeometryError(f"min_iou {min_iou}: must lie between 0 and 1")
    if max_tolerance is None:
        max_tolerance = max(1.0, (1 - min_iou) / _IOU_LOSS_PER_PIXEL)
    if not max_tolerance >= 0:
        raise GeometryError(f"max_tolerance {max_tolerance}: must be 0 or more pixels")
    if min_iou == 1:
        return []
    halvings = math.log2(max(max_tolerance / _MIN_TOLERANCE, 1))
    return [max_tolerance * 2 ** (-step / 2) for step in range(round(2 * halvings) + 1)]


def fit_polygons(
    exact: PolygonBatch,
    masks: NDArray[np.intp],
    *,
    anchored: NDArray[np.bool_],
    min_iou: float,
    tolerances: Sequence[float],
    metrics: Sequence[FidelityMetric],
    round_trip: Callable[[PolygonBatch, NDArray[np.intp]], PolygonBatch] = lambda batch, _: batch,
) -> PolygonBatch:
    """Simplify the polygons of each mask with the coarsest tolerance that all metrics accept.

    Args:
        exact: exact polygons of many masks.
        masks: indices of the masks to simplify, ascending; without those of empty masks.
        anchored: ``(n,)`` ``bool``, true for points that must stay.
        min_iou: lowest accepted value of every metric.
        tolerances: simplification tolerances in pixels, in descending order.
        metrics: evaluated in order, each for the masks that all before it accept.
        round_trip: maps polygons of the masks of the given indices to what a reader gets from the
            file that they are written to. The metrics are evaluated on its result.

    Returns:
        Polygons of the same masks in the same order; the exact ones where no tolerance is accepted.
        Each ring starts at its topmost, then leftmost point.
    """
    if not tolerances or not masks.size:
        return exact.start_at_top()
    others = np.setdiff1d(np.arange(len(exact)), masks, assume_unique=True)
    fitted = [(others, exact.select(others))]
    current, anchored = exact.select(masks), anchored[exact.point_indices(masks)]
    rings = current.points_per_ring
    rolled = rings.roll(farthest_points(current.points, rings))
    current = replace(current, points=current.points[rolled])
    kept = initial_points(current.points, rings, anchored[rolled])
    for tolerance in tolerances:
        if not masks.size:
            break
        kept = refine(current.points, current.points_per_ring, kept, tolerance)
        simplified = current.keep_points(kept)
        as_read = round_trip(simplified, masks)
        accepted = np.arange(masks.size)
        for metric in metrics:
            accepted = accepted[metric(as_read.select(accepted), masks[accepted]) >= min_iou]
        fitted.append((masks[accepted], simplified.select(accepted)))
        rejected = np.setdiff1d(np.arange(masks.size), accepted, assume_unique=True)
        kept = kept[current.point_indices(rejected)]
        masks, current = masks[rejected], current.select(rejected)
    fitted.append((masks, exact.select(masks)))
    order = np.argsort(np.concatenate([indices for indices, _ in fitted]))
    return PolygonBatch.concatenate([batch for _, batch in fitted]).select(order).start_at_top()
