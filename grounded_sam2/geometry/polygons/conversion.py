"""Masks to simplified polygons of a guaranteed IoU, and polygons to COCO annotations.

The polygons have few points, and their IoU with the mask, when they are filled again, is at least
the requested one. Converting many masks at once costs a tenth of converting them one by one, and
the result for a mask does not depend on the other masks.
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
    """The connected components of a mask as simplified polygons with their holes.

    Args:
        mask: ``(h, w)`` ``bool``, or its `Rle`.
        min_iou: lowest IoU of the filled polygons with the mask, by pixel centers and in
            pycocotools; 1 is exact.
        max_tolerance: pixels that a ring may deviate, even where the IoU would allow more, so that
            small details of large objects stay. ``None``: one pixel down to an IoU of 0.98, and
            another for each 0.02 below.

    Returns:
        One `Polygon` per component, from top to bottom; ``[]`` for an empty mask. Points are
        corners of pixels, so whole numbers.

    Raises:
        GeometryError: not a mask, `min_iou` outside [0, 1] or a negative tolerance.
    """
    return masks_to_polygons([as_rle(mask)], min_iou=min_iou, max_tolerance=max_tolerance)[0]


def masks_to_polygons(
    masks: Sequence[Rle], *, min_iou: float = 0.98, max_tolerance: float | None = None
) -> list[list[Polygon]]:
    """`mask_to_polygons` for many masks, each of its own image: one list per mask."""
    tolerances = tolerance_schedule(min_iou, max_tolerance)
    polygons: list[list[Polygon]] = []
    for batch, crops in decode_crops_in_batches(masks):
        exact = trace_masks(crops.pixels)
        areas = crops.areas.astype(np.float64)
        fitted = fit_polygons(
            exact,
            np.flatnonzero(areas),
            anchored=np.zeros(exact.points_per_ring.total, np.bool_),
            min_iou=min_iou,
            tolerances=tolerances,
            metrics=(
                partial(area_ratio, areas),
                partial(pixel_center_iou, crops),
                partial(pycocotools_iou, batch, crops),
            ),
        )
        polygons += fitted.translate(crops.origins_xy).to_polygons()
    return polygons


def polygons_to_coco(polygons: Sequence[Polygon]) -> list[list[float]]:
    """The ``segmentation`` of a COCO annotation as polygons: flat ``[x, y, x, y, …]``.

    COCO's list of polygons is a union and cannot represent holes. A polygon with holes becomes one
    ring with bridges of zero width to the holes. pycocotools fills such a ring correctly; other
    readers may fill the holes or draw the bridges, so offer masks with holes as `Rle` as well.

    Returns:
        One list per polygon, of at least six numbers; ``[]`` for no polygons.
    """
    rings = [bridge_rings((each.exterior, *each.holes))[0] for each in polygons]
    return [ring.ravel().tolist() for ring in rings]
