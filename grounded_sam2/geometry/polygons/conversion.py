"""Masks as polygons, and back, with a stated loss.

Polygons have few points, and still overlap the mask as asked when they are filled again. Masks are
best given many at once: together they cost a tenth of one after another, and what becomes of a mask
does not depend on its company.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.geometry.polygons.fitting import fit_polygons, tolerance_schedule
from grounded_sam2.geometry.polygons.mask_fidelity import (
    area_ratio,
    pixel_center_iou,
    pycocotools_iou,
)
from grounded_sam2.geometry.polygons.polygon_batch import Polygon
from grounded_sam2.geometry.polygons.ring_bridging import bridge_rings
from grounded_sam2.geometry.polygons.tracing import as_rle, trace_masks
from grounded_sam2.geometry.rle import Rle, decode_crops_in_batches

__all__ = ["mask_to_polygons", "masks_to_polygons", "polygons_to_coco"]


def mask_to_polygons(
    mask: NDArray[np.bool_] | Rle, *, min_iou: float = 0.98, max_tolerance: float | None = None
) -> list[Polygon]:
    """The parts of a mask as simplified polygons with their holes.

    Args:
        mask: ``(h, w)`` ``bool``, or its `Rle`.
        min_iou: IoU that the filled polygons have with the mask, at least, by pixel centers and in
            pycocotools; 1 is exact.
        max_tolerance: pixels that the outline may deviate, also where the IoU would allow more, so
            that small things on large objects stay; one pixel down to an IoU of 0.98, and another
            for each 0.02 below, if not given.

    Returns:
        One `Polygon` per part, from top to bottom; ``[]`` for an empty mask. Corners are corners
        of pixels, so whole numbers.

    Raises:
        GeometryError: not a mask, `min_iou` outside [0, 1] or a negative tolerance.
    """
    return masks_to_polygons([as_rle(mask)], min_iou=min_iou, max_tolerance=max_tolerance)[0]


def masks_to_polygons(
    masks: Sequence[Rle], *, min_iou: float = 0.98, max_tolerance: float | None = None
) -> list[list[Polygon]]:
    """`mask_to_polygons` for many masks, of any images: as many answers; ``[]`` for none."""
    tolerances = tolerance_schedule(min_iou, max_tolerance)
    polygons: list[list[Polygon]] = []
    for group, crops in decode_crops_in_batches(masks):
        exact = trace_masks(crops.pixels)
        areas = crops.areas.astype(np.float64)
        outlines = fit_polygons(
            exact,
            np.flatnonzero(areas),
            anchored=np.zeros(exact.rings.total, np.bool_),
            min_iou=min_iou,
            tolerances=tolerances,
            metrics=(
                partial(area_ratio, areas),
                partial(pixel_center_iou, crops),
                partial(pycocotools_iou, group, crops),
            ),
        )
        polygons += outlines.translate(crops.origins_xy).to_polygons()
    return polygons


def polygons_to_coco(polygons: Sequence[Polygon]) -> list[list[float]]:
    """The ``segmentation`` of a COCO annotation as polygons: flat ``[x, y, x, y, …]``.

    COCO's list of polygons is a union and knows no holes. A part with holes becomes one ring
    that reaches them over bridges of no width, which pycocotools fills rightly; other readers
    may paint the holes or the bridges, so offer masks with holes as `Rle` as well.

    Returns:
        One list per part, of at least six numbers; ``[]`` for no polygons.
    """
    joined = [bridge_rings((part.exterior, *part.holes))[0] for part in polygons]
    return [ring.ravel().tolist() for ring in joined]
