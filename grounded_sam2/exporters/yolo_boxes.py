"""YOLO detection, as Ultralytics reads it.

    labels/<split>/sub/a.txt       class x y width height per object, normalised; x and y of centre

Boxes are those of the masks, which fit more tightly than detected ones; an object without a mask
has its detected box. The other files: `grounded_sam2.exporters.yolo_layout`.

Format: https://docs.ultralytics.com/datasets/detect/
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.exporters.objects import extent
from grounded_sam2.exporters.options import ExportOptions, ExportSummary
from grounded_sam2.exporters.yolo_layout import write_yolo
from grounded_sam2.results import Label
from grounded_sam2.store import LabelStore

__all__ = ["export_yolo_boxes"]


def export_yolo_boxes(
    store: LabelStore, folder: str | Path, *, options: ExportOptions
) -> ExportSummary:
    """Write a YOLO detection dataset. See `grounded_sam2.exporters.Exporter`."""
    return write_yolo("yolo-boxes", store, folder, options, numbers=_box)


def _box(label: Label, size_hw: tuple[int, int]) -> NDArray[np.float64]:
    box = extent(label, size_hw)
    if box is None:
        return np.zeros(0)
    x_min, y_min, x_max, y_max = box
    height, width = size_hw
    return np.array(
        [
            (x_min + x_max) / 2 / width,
            (y_min + y_max) / 2 / height,
            (x_max - x_min) / width,
            (y_max - y_min) / height,
        ]
    )
