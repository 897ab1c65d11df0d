"""Objects as paths of SVG, with no more points than can be seen.

Coordinates are whole tenths of a pixel of the image as shown, and relative to the point before,
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
"""Units of a path in one pixel of the image as shown."""
_TOLERANCE = 1.0
"""Pixels, of the image as shown or of the mask, whichever are larger: smooths the steps of both.
"""
_ROUGHEST = 0.03
"""The same as a share of the mask's size, so that small discs, shown large, stay round."""
_SPECK = 2.0
"""Square pixels as shown below which parts and holes are left out, unless there is nothing else."""


def mask_path(label: Label, scale: float, origin_xy: tuple[float, float] = (0, 0)) -> str:
    """The outline of an object, holes and parts included, for ``fill-rule: evenodd``.

    Args:
        label: its mask, or its box if it has none.
        scale: pixels as shown per pixel of the image.
        origin_xy: point of the image that is shown at 0, 0.

    Returns:
        The ``d`` of a ``path``; empty for an empty mask.
    """
    if label.mask is None:
        return box_path(label.box_xyxy, scale, origin_xy)
    outlines = [
        ring for part in exact_polygons(label.mask) for ring in (part.exterior, *part.holes)
    ]
    areas = [cv2.contourArea(ring.astype(np.float32)) * scale**2 for ring in outlines]
    least = min(_SPECK, max(areas, default=0))
    size = np.sqrt(label.mask.area)
    tolerance = min(_TOLERANCE / min(scale, 1), _ROUGHEST * size)
    return "".join(
        _path((simplify_ring(ring, tolerance) - origin_xy) * scale)
        for ring, area in zip(outlines, areas, strict=True)
        if area >= least
    )


def box_path(
    box_xyxy: tuple[float, float, float, float] | None,
    scale: float,
    origin_xy: tuple[float, float] = (0, 0),
) -> str:
    """A box as a path; arguments as for `mask_path`. Empty for no box."""
    if box_xyxy is None:
        return ""
    x_min, y_min, x_max, y_max = box_xyxy
    corners = np.array([(x_min, y_min), (x_max, y_min), (x_max, y_max), (x_min, y_max)])
    return _path((corners - origin_xy) * scale)


def label_center(label: Label, scale: float) -> tuple[int, int]:
    """The middle of an object, x and y in the units of a path.

    Args:
        label: its mask counts, or its box if it has none.
        scale: as for `mask_path`.
    """
    x_min, y_min, x_max, y_max = label.box_xyxy if label.mask is None else label.mask.bbox_xyxy
    return round((x_min + x_max) / 2 * scale * UNITS), round((y_min + y_max) / 2 * scale * UNITS)


def _path(ring: NDArray[np.float64]) -> str:
    points = np.rint(ring * UNITS).astype(int)
    start, steps = points[0], np.diff(points, axis=0)
    numbers = "".join(f"{value:+d}" for value in steps.ravel().tolist())
    return f"M{start[0]} {start[1]}l{numbers.replace('+', ' ').lstrip()}z"
