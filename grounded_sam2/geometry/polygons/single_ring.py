"""A whole mask as one outline, for formats that have no room for more than one.

Made for YOLO segmentation rows, which Ultralytics cuts down to whole pixels and fills with
``cv2.fillPoly``. The outline lies 0.05 pixels inside the edges of the mask, so that this way of
reading it, too, gives the mask: exactly for an outline that is not simplified, but for its
bridges, which are drawn as lines one pixel wide. When the outline is scaled first, as in training
at another size, ``fillPoly`` makes things about half a pixel larger on each side: at 8×8 pixels
that is an IoU of 0.8, at 64×64 of 0.97.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.geometry.crops import Mask, MaskCrops
from grounded_sam2.geometry.polygons.fitting import fit_polygons, tolerance_schedule
from grounded_sam2.geometry.polygons.mask_fidelity import (
    area_ratio,
    pixel_center_iou,
    pycocotools_iou,
    ultralytics_iou,
    ultralytics_masks,
)
from grounded_sam2.geometry.polygons.polygon_batch import PolygonBatch, Ring, to_xy
from grounded_sam2.geometry.polygons.ring_bridging import bridged_traversal_batch
from grounded_sam2.geometry.polygons.tracing import as_rle, trace_masks
from grounded_sam2.geometry.ragged import RaggedOffsets
from grounded_sam2.geometry.rle import Rle, decode_crops_in_batches

__all__ = ["mask_to_single_ring", "masks_to_single_rings"]

_INSET = 0.05
"""Pixels by which a single outline stays inside the edges of the mask. A reader that cuts the
coordinates down to whole pixels then finds the mask's own pixels also at the right and lower
edge, whose whole numbers belong to the next pixel. Small enough for pycocotools' grid of a fifth
of a pixel to round away, large enough to survive six decimals in an image 50 000 pixels wide."""
_ASIDE = 0.0031 + 0.0017j
"""Pixels by which it is moved on top of that. A line between two corners often passes exactly
through the center of a pixel, and rounding would decide on which side; now it passes by."""


def mask_to_single_ring(
    mask: NDArray[np.bool_] | Rle, *, min_iou: float = 0.98, max_tolerance: float | None = None
) -> Ring:
    """A whole mask as one simplified outline, its parts and holes joined by bridges of no width.

    Args:
        mask: ``(h, w)`` ``bool``, or its `Rle`.
        min_iou: IoU that the filled outline has with the mask, at least, by pixel centers and in
            pycocotools; and by ``fillPoly`` as far as bridges between parts allow.
        max_tolerance: pixels that the outline may deviate, also where the IoU would allow more, so
            that small things on large objects stay; one pixel down to an IoU of 0.98, and another
            for each 0.02 below, if not given.

    Returns:
        ``(n, 2)`` x and y in pixels, the last point joined to the first; at least three points,
        within the image; ``(0, 2)`` for an empty mask.

    Raises:
        GeometryError: not a mask, `min_iou` outside [0, 1] or a negative tolerance.
    """
    return masks_to_single_rings([as_rle(mask)], min_iou=min_iou, max_tolerance=max_tolerance)[0]


def masks_to_single_rings(
    masks: Sequence[Rle], *, min_iou: float = 0.98, max_tolerance: float | None = None
) -> list[Ring]:
    """`mask_to_single_ring` for many masks, of any images: as many answers; ``[]`` for none."""
    tolerances = tolerance_schedule(min_iou, max_tolerance)
    found: list[Ring] = []
    for group, crops in decode_crops_in_batches(masks):
        inside = _inset(trace_masks(crops.pixels), _INSET)
        exact, ends_of_bridges = _joined(replace(inside, points=inside.points + _ASIDE))
        targets = _reachable(exact, ends_of_bridges, crops, min_iou) if tolerances else []
        outlines = fit_polygons(
            exact,
            np.flatnonzero(crops.areas),
            anchored=ends_of_bridges,
            min_iou=min_iou,
            tolerances=tolerances,
            metrics=(
                partial(area_ratio, exact.areas()),
                partial(ultralytics_iou, targets),
                partial(pixel_center_iou, crops),
                partial(pycocotools_iou, group, crops),
            ),
            round_trip=partial(_from_label_file, crops),
        ).translate(crops.origins_xy)
        found += outlines.points_per_mask.split(to_xy(outlines.points))
    return found


def _joined(outlines: PolygonBatch) -> tuple[PolygonBatch, NDArray[np.bool_]]:
    """One ring for each mask that has any, and which of its points are the ends of bridges."""
    walk, rings, ends_of_bridges = bridged_traversal_batch(
        outlines.points, outlines.rings, outlines.rings_per_mask
    )
    shown = rings.sizes > 0
    one_each = RaggedOffsets(np.ones(shown.sum(), np.intp))
    joined = PolygonBatch(
        outlines.points[walk],
        RaggedOffsets(rings.sizes[shown]),
        one_each,
        RaggedOffsets(shown.astype(np.intp)),
    )
    return joined, ends_of_bridges


def _reachable(
    exact: PolygonBatch, ends_of_bridges: NDArray[np.bool_], crops: MaskCrops, min_iou: float
) -> list[Mask]:
    """What outlines should be painted as: the mask, unless bridges alone cost more than may be
    lost. No points bring that back; then it is what the exact outline is painted as."""
    targets = list(crops.pixels)
    bridged = np.flatnonzero(exact.points_per_mask.count(ends_of_bridges))
    outlines = exact.select(bridged)
    painted = ultralytics_masks(outlines, [targets[index].shape for index in bridged])
    agreement = ultralytics_iou(targets, outlines, bridged)
    for index, ours, agrees in zip(bridged.tolist(), painted, agreement, strict=True):
        if agrees < min_iou:
            targets[index] = ours
    return targets


def _from_label_file(
    crops: MaskCrops, outlines: PolygonBatch, which: NDArray[np.intp]
) -> PolygonBatch:
    """PolygonBatch as they come out of a label file: six decimals, as shares of the image."""
    of_mask = outlines.points_per_mask
    origins = crops.origins_xy[which].astype(np.float64)
    sizes = crops.images_hw[which].astype(np.float32)
    x, y = (
        ((along + of_mask.repeat(origin)) / of_mask.repeat(size)).round(6).astype(np.float32)
        * of_mask.repeat(size)
        - of_mask.repeat(origin)
        for along, origin, size in (
            (outlines.points.real, origins[:, 0], sizes[:, 1]),
            (outlines.points.imag, origins[:, 1], sizes[:, 0]),
        )
    )
    return replace(outlines, points=x + 1j * y)


def _inset(exact: PolygonBatch, distance: float) -> PolygonBatch:
    """Move exact outlines into the mask, away from the pixels around it.

    Where two pixels touch only at a corner, the outline passes that corner twice; there, each
    point becomes two, one in each pixel, because moving one to the left of both edges would
    move it across the corner into the background.
    """
    points = exact.points
    step = points - points[exact.rings.previous_index()]
    arriving = np.sign(step.real) + 1j * np.sign(step.imag)
    leaving = arriving[exact.rings.next_index()]
    left_before, left_after = -1j * arriving, -1j * leaving
    pinched = _visited_twice(exact)
    if not pinched.any():
        return replace(exact, points=points + distance * (left_before + left_after))
    first = points + distance * (left_before + np.where(pinched, -arriving, left_after))
    second = points + distance * (left_after + leaving)
    doubled = RaggedOffsets(1 + pinched)
    moved = doubled.repeat(first)
    moved[doubled.ends[pinched] - 1] = second[pinched]
    return replace(exact, points=moved, rings=RaggedOffsets(exact.rings.sum(doubled.sizes)))


def _visited_twice(outlines: PolygonBatch) -> NDArray[np.bool_]:
    """Which points lie where another point of the same mask lies: ``(n,)``."""
    x, y = outlines.points.real.astype(np.int64), outlines.points.imag.astype(np.int64)
    place = outlines.points_per_mask.segment_ids() << 48 | y << 24 | x
    ordered = np.sort(place)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    return np.isin(place, twice)
