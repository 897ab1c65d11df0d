"""YOLO detection, as Ultralytics reads it.

    labels/<split>/sub/a.txt       class x y width height per object, normalized; x and y of center

Boxes are those of the masks, which fit more tightly than detected ones; an object without a mask
has its detected box. The other files: `grounded_sam2.exporters.yolo_dataset`.

Format: https://docs.ultralytics.com/datasets/detect/
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from grounded_sam2.exporters.mask_conversion import Box, mask_stats
from grounded_sam2.exporters.options import ExportOptions, ExportSummary
from grounded_sam2.exporters.yolo_dataset import write_yolo_dataset
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.store import LabelStore

__all__ = ["export_yolo_boxes"]


def export_yolo_boxes(
    store: LabelStore, folder: str | Path, *, options: ExportOptions
) -> ExportSummary:
    """Write a YOLO detection dataset. See `grounded_sam2.exporters.Exporter`."""
    return write_yolo_dataset(
        "yolo-boxes",
        store,
        folder,
        options,
        masks_to_rows=_mask_box_rows,
        box_to_row=_box_row,
    )


def _mask_box_rows(masks: Sequence[Rle]) -> list[str]:
    """Return center and size of each mask's bounding box; empty for an empty mask."""
    return [
        _box_row(stats.box_xyxy, mask.size_hw) if stats.area else ""
        for mask, stats in zip(masks, mask_stats(masks), strict=True)
    ]


def _box_row(box: Box, size_hw: tuple[int, int]) -> str:
    x_min, y_min, x_max, y_max = box
    height, width = size_hw
    x, y = (x_min + x_max) / 2 / width, (y_min + y_max) / 2 / height
    return f"{x:.6f} {y:.6f} {(x_max - x_min) / width:.6f} {(y_max - y_min) / height:.6f}"
