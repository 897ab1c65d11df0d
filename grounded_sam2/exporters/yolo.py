"""YOLO segmentation, as Ultralytics reads it.

    labels/<split>/sub/a.txt       class x1 y1 x2 y2 … per object, normalised; empty for background

One row is one object: its parts and holes are joined into one outline. Its rows are all
polygons, because a single box among them makes Ultralytics forget the outlines of the whole
dataset: an object without a mask is the four corners of its box, which keeps it from being
taught as background, and is counted. The other files: `grounded_sam2.exporters.yolo_layout`.

Format: https://docs.ultralytics.com/datasets/segment/
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.exporters.objects import extent
from grounded_sam2.exporters.options import ExportOptions, ExportSummary
from grounded_sam2.exporters.yolo_layout import write_yolo
from grounded_sam2.geometry.polygons import to_single_outline
from grounded_sam2.results import Label
from grounded_sam2.store import LabelStore

__all__ = ["export_yolo"]


def export_yolo(store: LabelStore, folder: str | Path, *, options: ExportOptions) -> ExportSummary:
    """Write a YOLO segmentation dataset. See `grounded_sam2.exporters.Exporter`."""
    return write_yolo(
        "yolo",
        store,
        folder,
        options,
        numbers=partial(_outline, min_iou=options.min_polygon_iou),
        depends_on=("min_polygon_iou",),
    )


def _outline(label: Label, size_hw: tuple[int, int], *, min_iou: float) -> NDArray[np.float64]:
    """x and y of an object's outline by turns, at least three points or none."""
    box = extent(label, size_hw)
    if box is None:
        return np.zeros(0)
    if label.mask is not None:
        outline = to_single_outline(label.mask, min_iou=min_iou)
    else:
        x_min, y_min, x_max, y_max = box
        outline = np.array([[x_min, y_min], [x_max, y_min], [x_max, y_max], [x_min, y_max]])
    height, width = size_hw
    return np.clip(outline / (width, height), 0, 1).ravel()
