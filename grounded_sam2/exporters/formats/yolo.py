"""YOLO segmentation, as Ultralytics reads it.

    labels/<split>/sub/a.txt       class x1 y1 x2 y2 … per object, normalized; empty for background

One row is one object: its parts and holes are joined into one outline. Its rows are all
polygons, because a single box among them makes Ultralytics forget the outlines of the whole
dataset: an object without a mask is the four corners of its box, which keeps it from being
taught as background, and is counted. The other files: `grounded_sam2.exporters.formats.yolo_layout`.

Format: https://docs.ultralytics.com/datasets/segment/
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from grounded_sam2.exporters.formats.row_text import row_texts
from grounded_sam2.exporters.formats.yolo_layout import write_yolo
from grounded_sam2.exporters.mask_conversion import Box
from grounded_sam2.exporters.options import ExportOptions, ExportSummary
from grounded_sam2.geometry.polygons import masks_to_single_rings
from grounded_sam2.geometry.ragged import RaggedOffsets
from grounded_sam2.geometry.rle import Rle, image_sizes
from grounded_sam2.store import LabelStore

__all__ = ["export_yolo"]


def export_yolo(store: LabelStore, folder: str | Path, *, options: ExportOptions) -> ExportSummary:
    """Write a YOLO segmentation dataset. See `grounded_sam2.exporters.Exporter`."""
    return write_yolo(
        "yolo",
        store,
        folder,
        options,
        of_masks=partial(_outlines, min_iou=options.min_polygon_iou),
        of_box=_corners,
        depends_on=("min_polygon_iou",),
        workers=options.workers,
    )


def _outlines(masks: Sequence[Rle], *, min_iou: float) -> list[str]:
    """x and y of each mask's outline by turns, at least three points; nothing if it is empty."""
    outlines = masks_to_single_rings(masks, min_iou=min_iou)
    points = RaggedOffsets([len(outline) for outline in outlines])
    sizes_wh = points.repeat(image_sizes(masks)[:, ::-1])
    shares = np.clip(np.concatenate([np.zeros((0, 2)), *outlines]) / sizes_wh, 0, 1)
    return row_texts(shares.ravel(), RaggedOffsets(2 * points.sizes))


def _corners(box: Box, size_hw: tuple[int, int]) -> str:
    x_min, y_min, x_max, y_max = box
    height, width = size_hw
    corners = ((x_min, y_min), (x_max, y_min), (x_max, y_max), (x_min, y_max))
    return " ".join(f"{x / width:.6f} {y / height:.6f}" for x, y in corners)
