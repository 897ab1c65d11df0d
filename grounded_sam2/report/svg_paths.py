"""SVG paths of masks and boxes, simplified to the resolution at which they are shown.

Coordinates are integer tenths of a pixel of the image as shown, relative to the previous point,
which makes them short.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from grounded_sam2.geometry.polygons import exact_polygons, simplify_ring
from grounded_sam2.results import Label

__all__ = ["UNITS", "box_path", "label_center", "mask_path"]

UNITS = 10
"""Path units per pixel of the image as shown."""
_TOLERANCE = 1.0
"""Pixels of the image as shown or of the mask, whichever are larger: smooths the steps of both."""
_MAX_RELATIVE_TOLERANCE = 0.03
"""Upper bound as a fraction of the mask's size, so that small discs, shown large, stay round."""
_MIN_AREA = 2.0
"""Parts and holes smaller than this, in square pixels as shown, are left out unless all are."""


def mask_path(label: Label, scale: float, origin_xy: tuple[float, float] = (0, 0)) -> str:
    """Return the outline of an object with its holes and parts, for ``fill-rule: evenodd``.

    Args:
        label: the object; its mask is drawn, or its box if it has none.
        scale: pixels as shown per pixel of the image.
        origin_xy: point of the image that is shown at (0, 0).

    Returns:
        The ``d`` attribute of a ``path``; empty for an empty mask.
    """
    if label.mask is None:
        return box_path(label.box_xyxy, scale, origin_xy)
    outlines = [
        ring for part in exact_polygons(label.mask) for ring in (part.exterior, *part.holes)
    ]
    areas = [cv2.contourArea(ring.astype(np.float32)) * scale**2 for ring in outlines]
    min_area = min(_MIN_AREA, max(areas, default=0))
    size = np.sqrt(label.mask.area)
    tolerance = min(_TOLERANCE / min(scale, 1), _MAX_RELATIVE_TOLERANCE * size)
    return "".join(
        _path((simplify_ring(ring, tolerance) - origin_xy) * scale)
        for ring, area in zip(outlines, areas, strict=True)
        if area >= min_area
    )


def box_path(
    box_xyxy: tuple[float, float, float, float] | None,
    scale: float,
    origin_xy: tuple[float, float] = (0, 0),
) -> str:
    """Return a box as a path; arguments as in `mask_path`. Empty for ``None``."""
    if box_xyxy is None:
        return ""
    x_min, y_min, x_max, y_max = box_xyxy
    corners = np.array([(x_min, y_min), (x_max, y_min), (x_max, y_max), (x_min, y_max)])
    return _path((corners - origin_xy) * scale)


def label_center(label: Label, scale: float) -> tuple[int, int]:
    """Return the center of the bounding box of an object, x and y in path units.

    Args:
        label: the object; the box of its mask is used, or its own if it has none.
        scale: as in `mask_path`.
    """
    x_min, y_min, x_max, y_max = label.box_xyxy if label.mask is None else label.mask.bbox_xyxy
    return round((x_min + x_max) / 2 * scale * UNITS), round((y_min + y_max) / 2 * scale * UNITS)


def _path(ring: NDArray[np.float64]) -> str:
    points = np.rint(ring * UNITS).astype(int)
    start, steps = points[0], np.diff(points, axis=0)
    numbers = "".join(f"{value:+d}" for value in steps.ravel().tolist())
    return f"M{start[0]} {start[1]}l{numbers.replace('+', ' ').lstrip()}z"
