"""A whole mask as one ring, for formats that hold one ring per object.

Made for YOLO segmentation rows, which Ultralytics truncates to whole pixels and fills with
``cv2.fillPoly``. The ring lies 0.05 pixels inside the edges of the mask, so that this reader, too,
reproduces the mask: exactly for a ring that is not simplified, except for the bridges, which are
drawn as lines one pixel wide. If the ring is scaled first, as in training at another size,
``fillPoly`` enlarges objects by about half a pixel on each side: at 8×8 pixels that is an IoU of
0.8, at 64×64 of 0.97.
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
"""Pixels by which a single ring stays inside the edges of the mask. A reader that truncates the
coordinates to whole pixels then gets the mask's own pixels also at the right and lower edge, whose
whole numbers belong to the next pixel. Small enough for pycocotools' grid of a fifth of a pixel to
round away, large enough to survive six decimals in an image 50 000 pixels wide."""
_SHIFT = 0.0031 + 0.0017j
"""Pixels (x + y·i) by which it is shifted in addition. A line between two corners often passes
exactly through the center of a pixel, where rounding would decide on the side; the shift avoids
such ties."""


def mask_to_single_ring(
    mask: NDArray[np.bool_] | Rle, *, min_iou: float = 0.98, max_tolerance: float | None = None
) -> Ring:
    """A whole mask as one simplified ring, with bridges of zero width to its components and holes.

    Args:
        mask: ``(h, w)`` ``bool``, or its `Rle`.
        min_iou: lowest IoU of the filled ring with the mask, by pixel centers and in pycocotools;
            and by ``fillPoly`` as far as bridges between components allow.
        max_tolerance: pixels that the ring may deviate, even where the IoU would allow more, so
            that small details of large objects stay. ``None``: one pixel down to an IoU of 0.98,
            and another for each 0.02 below.

    Returns:
        ``(n, 2)`` x and y in pixels, the last point connects to the first; at least three points,
        within the image; ``(0, 2)`` for an empty mask.

    Raises:
        GeometryError: not a mask, `min_iou` outside [0, 1] or a negative tolerance.
    """
    return masks_to_single_rings([as_rle(mask)], min_iou=min_iou, max_tolerance=max_tolerance)[0]


def masks_to_single_rings(
    masks: Sequence[Rle], *, min_iou: float = 0.98, max_tolerance: float | None = None
) -> list[Ring]:
    """`mask_to_single_ring` for many masks, each of its own image: one ring per mask."""
    tolerances = tolerance_schedule(min_iou, max_tolerance)
    rings: list[Ring] = []
    for batch, crops in decode_crops_in_batches(masks):
        inset = _inset(trace_masks(crops.pixels), _INSET)
        exact, bridge_ends = _bridged(replace(inset, points=inset.points + _SHIFT))
        targets = _reachable_targets(exact, bridge_ends, crops, min_iou) if tolerances else []
        fitted = fit_polygons(
            exact,
            np.flatnonzero(crops.areas),
            anchored=bridge_ends,
            min_iou=min_iou,
            tolerances=tolerances,
            metrics=(
                partial(area_ratio, exact.areas()),
                partial(ultralytics_iou, targets),
                partial(pixel_center_iou, crops),
                partial(pycocotools_iou, batch, crops),
            ),
            round_trip=partial(_label_file_round_trip, crops),
        ).translate(crops.origins_xy)
        rings += fitted.points_per_mask.split(to_xy(fitted.points))
    return rings


def _bridged(polygons: PolygonBatch) -> tuple[PolygonBatch, NDArray[np.bool_]]:
    """One ring per nonempty mask, and ``(n,)`` ``bool``, true for its points that end bridges."""
    order, points_per_mask, bridge_ends = bridged_traversal_batch(
        polygons.points, polygons.points_per_ring, polygons.rings_per_mask
    )
    nonempty = points_per_mask.sizes > 0
    bridged = PolygonBatch(
        polygons.points[order],
        RaggedOffsets(points_per_mask.sizes[nonempty]),
        RaggedOffsets(np.ones(nonempty.sum(), np.intp)),
        RaggedOffsets(nonempty.astype(np.intp)),
    )
    return bridged, bridge_ends


def _reachable_targets(
    exact: PolygonBatch, bridge_ends: NDArray[np.bool_], crops: MaskCrops, min_iou: float
) -> list[Mask]:
    """The masks that Ultralytics is expected to read from simplified rings.

    A target is the mask itself, unless the bridges alone lower the IoU below the bound, which no
    points can recover. Then it is what Ultralytics reads from the exact ring.
    """
    targets = list(crops.pixels)
    masks = np.flatnonzero(exact.points_per_mask.count(bridge_ends))
    bridged = exact.select(masks)
    read = ultralytics_masks(bridged, [targets[index].shape for index in masks])
    ious = ultralytics_iou(targets, bridged, masks)
    for index, mask, iou in zip(masks.tolist(), read, ious, strict=True):
        if iou < min_iou:
            targets[index] = mask
    return targets


def _label_file_round_trip(
    crops: MaskCrops, polygons: PolygonBatch, masks: NDArray[np.intp]
) -> PolygonBatch:
    """Polygons as read from a label file, which holds fractions of the image with six decimals."""
    per_mask = polygons.points_per_mask
    origins = crops.origins_xy[masks].astype(np.float64)
    sizes = crops.images_hw[masks].astype(np.float32)
    x, y = (
        ((coordinate + per_mask.repeat(origin)) / per_mask.repeat(size)).round(6).astype(np.float32)
        * per_mask.repeat(size)
        - per_mask.repeat(origin)
        for coordinate, origin, size in (
            (polygons.points.real, origins[:, 0], sizes[:, 1]),
            (polygons.points.imag, origins[:, 1], sizes[:, 0]),
        )
    )
    return replace(polygons, points=x + 1j * y)


def _inset(exact: PolygonBatch, distance: float) -> PolygonBatch:
    """Move exact rings into the mask, away from the background.

    Where two pixels touch only at a corner, the rings visit that corner twice. There, each point
    becomes two, one in each pixel, because moving one point to the left of both edges would move
    it across the corner into the background.
    """
    points = exact.points
    step = points - points[exact.points_per_ring.previous_index()]
    arriving = np.sign(step.real) + 1j * np.sign(step.imag)
    leaving = arriving[exact.points_per_ring.next_index()]
    left_before, left_after = -1j * arriving, -1j * leaving
    pinched = _visited_twice(exact)
    if not pinched.any():
        return replace(exact, points=points + distance * (left_before + left_after))
    first = points + distance * (left_before + np.where(pinched, -arriving, left_after))
    second = points + distance * (left_after + leaving)
    copies = RaggedOffsets(1 + pinched)
    moved = copies.repeat(first)
    moved[copies.ends[pinched] - 1] = second[pinched]
    points_per_ring = RaggedOffsets(exact.points_per_ring.sum(copies.sizes))
    return replace(exact, points=moved, points_per_ring=points_per_ring)


def _visited_twice(polygons: PolygonBatch) -> NDArray[np.bool_]:
    """Whether another point of the same mask has the same coordinates: ``(n,)``."""
    x, y = polygons.points.real.astype(np.int64), polygons.points.imag.astype(np.int64)
    key = polygons.points_per_mask.segment_ids() << 48 | y << 24 | x
    ordered = np.sort(key)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    return np.isin(key, repeated)
