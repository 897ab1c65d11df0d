"""YOLO detection, as Ultralytics reads it.

    labels/<split>/sub/a.txt       class x y width height per object, normalized; x and y of center

Boxes are those of the masks, which fit more tightly than detected ones; an object without a mask
has its detected box. The other files: `grounded_sam2.exporters.formats.yolo_layout`.

Format: https://docs.ultralytics.com/datasets/detect/
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from grounded_sam2.exporters.formats.yolo_layout import write_yolo
from grounded_sam2.exporters.mask_conversion import Box, mask_stats
from grounded_sam2.exporters.options import ExportOptions, ExportSummary
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.store import LabelStore

__all__ = ["export_yolo_boxes"]


def export_yolo_boxes(
    store: LabelStore, folder: str | Path, *, options: ExportOptions
) -> ExportSummary:
    """Write a YOLO detection dataset. See `grounded_sam2.exporters.Exporter`."""
    return write_yolo(
        "yolo-boxes", store, folder, options, of_masks=_boxes_of_masks, of_box=_center_and_sides
    )


def _boxes_of_masks(masks: Sequence[Rle]) -> list[str]:
    """Centre and sides of the box around each mask; nothing if it is empty."""
    return [
        _center_and_sides(measure.box_xyxy, mask.size_hw) if measure.area else ""
        for mask, measure in zip(masks, mask_stats(masks), strict=True)
    ]


def _center_and_sides(box: Box, size_hw: tuple[int, int]) -> str:
    x_min, y_min, x_max, y_max = box
    height, width = size_hw
    x, y = (x_min + x_max) / 2 / width, (y_min + y_max) / 2 / height
    return f"{x:.6f} {y:.6f} {(x_max - x_min) / width:.6f} {(y_max - y_min) / height:.6f}"
