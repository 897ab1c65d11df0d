"""Masks as polygons, and back, with a stated loss.

`to_polygons` and `to_single_outline` give few points whose filled outline still overlaps the
mask as asked: they start at a tolerance of one pixel, fill what is left, compare, and refine
until it holds. Who fills matters: by pixel centres, and as pycocotools does, whose grid of a fifth
of a pixel cuts slanted lines short. The area that the outline itself encloses has to agree as well,
because a triangle can have the same pixel centres inside as a small square. At the end of the
search stands the exact outline, so that it always ends well.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry.bridges import join
from grounded_sam2.geometry.rasterisation import fill, rasterise
from grounded_sam2.geometry.rle import Rle, iou
from grounded_sam2.geometry.simplification import simplify
from grounded_sam2.geometry.tracing import Polygon, Ring, as_rle, has_holes, rings

__all__ = [
    "Polygon",
    "Ring",
    "fill",
    "has_holes",
    "rasterise",
    "rings",
    "simplify",
    "to_coco",
    "to_polygons",
    "to_single_outline",
]

_INSET = 0.05
"""Pixels by which a single outline stays inside the edges of the mask. A reader that cuts the
coordinates down to whole pixels then finds the mask's own pixels also at the right and lower
edge, whose whole numbers belong to the next pixel. Small enough for pycocotools' grid of a fifth
of a pixel to round away, large enough to survive six decimals in a picture 50 000 pixels wide."""
_ASIDE = np.array([0.0031, 0.0017])
"""Pixels by which a single outline is moved on top of that. A line between two corners often passes
exactly through the centre of a pixel, and rounding would decide on which side; now it passes by."""


def to_polygons(
    mask: NDArray[np.bool_] | Rle, *, min_iou: float = 0.98, max_tolerance: float = 1.0
) -> list[Polygon]:
    """The parts of a mask as simplified polygons with their holes.

    Args:
        mask: ``(h, w)`` ``bool``, or its `Rle`.
        min_iou: IoU that the filled polygons have with the mask, at least, by pixel centres and in
            pycocotools; 1 is exact.
        max_tolerance: pixels that the outline may deviate, also where the IoU would allow more.

    Returns:
        One `Polygon` per part, from top to bottom; ``[]`` for an empty mask. Corners are corners
        of pixels, so whole numbers.

    Raises:
        GeometryError: not a mask, `min_iou` outside [0, 1] or a negative tolerance.
    """
    target = as_rle(mask)
    exact = rings(target)
    for tolerance in _tolerances(min_iou, max_tolerance):
        coarse = [_simplified(polygon, tolerance) for polygon in exact]
        enclosed = sum(_enclosed(ring) for part in coarse for ring in (part.exterior, *part.holes))
        if _agreement(enclosed, target.area) < min_iou:
            continue
        if _overlap(coarse, target) < min_iou:
            continue
        if _overlap_in_pycocotools(to_coco(coarse), target) >= min_iou:
            return coarse
    return exact


def to_single_outline(
    mask: NDArray[np.bool_] | Rle, *, min_iou: float = 0.98, max_tolerance: float = 1.0
) -> Ring:
    """A whole mask as one simplified outline, its parts and holes joined by bridges of no width.

    Made for YOLO segmentation rows, which Ultralytics cuts down to whole pixels and fills with
    ``cv2.fillPoly``. The outline lies 0.05 pixels inside the edges of the mask, so that this way
    of reading it, too, gives the mask: exactly for an outline that is not simplified, but for
    its bridges, which are drawn as lines one pixel wide. When the outline
    is scaled first, as in training at another size, ``fillPoly`` makes things about half a pixel
    larger on each side: at 8×8 pixels that is an IoU of 0.8, at 64×64 of 0.97.

    Args:
        mask: ``(h, w)`` ``bool``, or its `Rle`.
        min_iou: IoU that the filled outline has with the mask, at least, by pixel centres and in
            pycocotools; and by ``fillPoly`` as far as bridges between parts allow.
        max_tolerance: pixels that the outline may deviate, also where the IoU would allow more.

    Returns:
        ``(n, 2)`` x and y in pixels, the last point joined to the first; at least three points,
        within the picture; ``(0, 2)`` for an empty mask.

    Raises:
        GeometryError: not a mask, `min_iou` outside [0, 1] or a negative tolerance.
    """
    target = as_rle(mask)
    separate = [ring for part in rings(target) for ring in (part.exterior, *part.holes)]
    exact, ends_of_bridges = join([ring + _ASIDE for ring in _inset(separate, _INSET)])
    pixels, origin_xy = target.decode_crop()
    painted = _painted(exact - origin_xy, pixels.shape)
    if _dense_iou(painted, pixels) < min_iou:
        pixels = painted  # bridges cost more than may be lost; more points would not bring it back
    for tolerance in _tolerances(min_iou, max_tolerance):
        coarse = simplify(exact, tolerance, ends_of_bridges)
        if _agreement(_enclosed(coarse), _enclosed(exact)) < min_iou:
            continue
        read = _from_label_file(coarse, target.size_hw)
        if _dense_iou(_painted(read - origin_xy, pixels.shape), pixels) < min_iou:
            continue
        if _overlap([read], target) < min_iou:
            continue
        if _overlap_in_pycocotools([read.ravel().tolist()], target) >= min_iou:
            return coarse
    return exact


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


def _tolerances(min_iou: float, largest: float) -> list[float]:
    """Tolerances to try before the exact outline, from coarse to fine."""
    if not 0 <= min_iou <= 1:
        raise GeometryError(f"min_iou {min_iou}: must lie between 0 and 1")
    if not largest >= 0:
        raise GeometryError(f"max_tolerance {largest}: must be 0 or more pixels")
    # Steps of one pixel, which masks are made of, deviate by 0.25 pixels or more.
    return [] if min_iou == 1 else [largest * share for share in (1, 0.7, 0.5, 0.35, 0.25)]


def _simplified(polygon: Polygon, tolerance: float) -> Polygon:
    holes = tuple(simplify(hole, tolerance) for hole in polygon.holes)
    return Polygon(simplify(polygon.exterior, tolerance), holes)


def _enclosed(ring: Ring) -> float:
    """Area in square pixels; negative for a ring that runs clockwise, as holes do."""
    x, y = ring.T
    return float(np.dot(np.roll(x, -1), y) - np.dot(x, np.roll(y, -1))) / 2


def _agreement(area: float, exact: float) -> float:
    """The smaller of two areas over the larger; 1 where both are 0."""
    larger = max(area, exact)
    return min(area, exact) / larger if larger > 0 else 1.0


def _overlap(polygons: Sequence[Polygon | Ring], target: Rle) -> float:
    """IoU by pixel centres; 1 where both are empty."""
    if not polygons:
        return 1.0
    return float(iou([fill(polygons, target.size_hw)], [target])[0, 0])


def _overlap_in_pycocotools(segmentation: list[list[float]], target: Rle) -> float:
    """IoU as pycocotools reads polygons; 1 where both are empty."""
    if not segmentation:
        return 1.0
    read = coco_mask.merge(coco_mask.frPyObjects(segmentation, *target.size_hw))
    return float(coco_mask.iou([read], [target.to_coco()], [0])[0, 0])


def _from_label_file(outline: Ring, size_hw: tuple[int, int]) -> Ring:
    """An outline as it comes out of a label file: six decimals, as shares of the picture."""
    size_wh = np.array(size_hw[::-1], np.float32)
    return ((outline / size_wh).round(6).astype(np.float32) * size_wh).astype(np.float64)


def _painted(outline: Ring, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """What Ultralytics makes of an outline: ``(h, w)`` ``bool``, bridges between parts included."""
    canvas = np.zeros(size_hw, np.uint8)
    if canvas.size:
        cv2.fillPoly(canvas, [outline.astype(np.int32)], (1,))
    return canvas.view(np.bool_)


def _dense_iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """1 where both are empty."""
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


def _inset(exact: Sequence[Ring], distance: float) -> list[Ring]:
    """Move exact outlines into the mask, away from the pixels around it.

    Where two pixels touch only at a corner, the outline passes that corner twice; there, each
    point becomes two, one in each pixel, because moving one to the left of both edges would
    move it across the corner into the background.
    """
    if not exact:
        return []
    ring = np.concatenate(exact)
    ends = np.cumsum([len(points) for points in exact])
    previous = np.arange(-1, len(ring) - 1)
    previous[np.append(0, ends[:-1])] = ends - 1
    arriving = np.sign(ring - ring[previous])
    leaving = np.empty_like(arriving)
    leaving[previous] = arriving
    left_before, left_after = (
        np.stack((step[:, 1], -step[:, 0]), axis=1) for step in (arriving, leaving)
    )
    corner = ring[:, 1] * 2.0**32 + ring[:, 0]
    _, which, visits = np.unique(corner, return_inverse=True, return_counts=True)
    pinched = visits[which] > 1
    first = ring + distance * (left_before + np.where(pinched[:, None], -arriving, left_after))
    second = ring + distance * (left_after + leaving)
    used = np.stack((np.ones(len(ring), np.bool_), pinched), axis=1).ravel()
    points = np.stack((first, second), axis=1).reshape(-1, 2)[used]
    return np.split(points, np.cumsum(used)[2 * ends[:-1] - 1])
