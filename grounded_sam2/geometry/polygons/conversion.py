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

from grounded_sam2.geometry.groups import crops_in_groups
from grounded_sam2.geometry.polygons.fitting import fewest_points, tolerances_to_try
from grounded_sam2.geometry.polygons.mask_fidelity import by_area, by_centers, in_pycocotools
from grounded_sam2.geometry.polygons.outlines import Polygon, Ring
from grounded_sam2.geometry.polygons.rasterization import fill, rasterize
from grounded_sam2.geometry.polygons.ring_bridging import join
from grounded_sam2.geometry.polygons.simplification import simplify
from grounded_sam2.geometry.polygons.single_outline import single_outlines, to_single_outline
from grounded_sam2.geometry.polygons.tracing import as_rle, has_holes, rings, trace
from grounded_sam2.geometry.rle import Rle

__all__ = [
    "Polygon",
    "Ring",
    "fill",
    "has_holes",
    "polygons_of",
    "rasterize",
    "rings",
    "simplify",
    "single_outlines",
    "to_coco",
    "to_polygons",
    "to_single_outline",
]


def to_polygons(
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
    return polygons_of([as_rle(mask)], min_iou=min_iou, max_tolerance=max_tolerance)[0]


def polygons_of(
    masks: Sequence[Rle], *, min_iou: float = 0.98, max_tolerance: float | None = None
) -> list[list[Polygon]]:
    """`to_polygons` for many masks, of any images: as many answers; ``[]`` for none."""
    tolerances = tolerances_to_try(min_iou, max_tolerance)
    polygons: list[list[Polygon]] = []
    for group, crops in crops_in_groups(masks):
        exact = trace(crops.pixels)
        areas = crops.areas.astype(np.float64)
        outlines = fewest_points(
            exact,
            np.flatnonzero(areas),
            anchored=np.zeros(exact.rings.total, np.bool_),
            min_iou=min_iou,
            tolerances=tolerances,
            agreements=(
                partial(by_area, areas),
                partial(by_centers, crops),
                partial(in_pycocotools, group, crops),
            ),
        )
        polygons += outlines.moved(crops.origins_xy).polygons()
    return polygons


def to_coco(polygons: Sequence[Polygon]) -> list[list[float]]:
    """The ``segmentation`` of a COCO annotation as polygons: flat ``[x, y, x, y, …]``.

    COCO's list of polygons is a union and knows no holes. A part with holes becomes one ring
    that reaches them over bridges of no width, which pycocotools fills rightly; other readers
    may paint the holes or the bridges, so offer masks with holes as `Rle` as well.

    Returns:
        One list per part, of at least six numbers; ``[]`` for no polygons.
    """
    joined = [join((part.exterior, *part.holes))[0] for part in polygons]
    return [ring.ravel().tolist() for ring in joined]
