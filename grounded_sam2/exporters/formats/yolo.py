"""YOLO segmentation, as Ultralytics reads it.

    labels/<split>/sub/a.txt       class x1 y1 x2 y2 … per object, normalized; empty for background

One row is one object: its parts and holes are joined into one outline. All rows are polygons,
because a single box among them makes Ultralytics drop the outlines of the whole dataset. An object
without a mask is written as the four corners of its box, so that it is not trained as background,
and is counted. The other files: `grounded_sam2.exporters.yolo_dataset`.

Format: https://docs.ultralytics.com/datasets/segment/
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.exporters.mask_conversion import Box
from grounded_sam2.exporters.options import ExportOptions, ExportSummary
from grounded_sam2.exporters.yolo_dataset import write_yolo_dataset
from grounded_sam2.geometry.polygons import masks_to_single_rings
from grounded_sam2.geometry.ragged import RaggedOffsets
from grounded_sam2.geometry.rle import Rle, image_sizes
from grounded_sam2.store import LabelStore

__all__ = ["export_yolo", "format_rows"]

_DECIMALS = 6
_NUMBER_WIDTH = len("0.") + _DECIMALS + len(" ")


def export_yolo(store: LabelStore, folder: str | Path, *, options: ExportOptions) -> ExportSummary:
    """Write a YOLO segmentation dataset. See `grounded_sam2.exporters.Exporter`."""
    return write_yolo_dataset(
        "yolo",
        store,
        folder,
        options,
        masks_to_rows=partial(_outline_rows, min_iou=options.min_polygon_iou),
        box_to_row=_corner_row,
        depends_on=("min_polygon_iou",),
        workers=options.workers,
    )


def _outline_rows(masks: Sequence[Rle], *, min_iou: float) -> list[str]:
    """Return x and y of each mask's outline in turn, at least three points; empty for no pixels."""
    outlines = masks_to_single_rings(masks, min_iou=min_iou)
    points = RaggedOffsets([len(outline) for outline in outlines])
    sizes_wh = points.repeat(image_sizes(masks)[:, ::-1])
    normalized = np.clip(np.concatenate([np.zeros((0, 2)), *outlines]) / sizes_wh, 0, 1)
    return format_rows(normalized.ravel(), RaggedOffsets(2 * points.sizes))


def format_rows(numbers: NDArray[np.float64], rows: RaggedOffsets) -> list[str]:
    """Format rows of numbers with six decimals, separated by spaces.

    All numbers have the same width, so the digits of all rows are computed together.

    Args:
        numbers: ``(n,)`` of all rows, in [0, 1].
        rows: offsets of the rows.

    Returns:
        One text per row; empty for a row without numbers.
    """
    remaining = np.rint(numbers * 10**_DECIMALS).astype(np.int32)
    characters = np.empty((len(numbers), _NUMBER_WIDTH), np.uint8)
    for place in range(_DECIMALS + 1, 1, -1):
        quotient = remaining // 10
        characters[:, place] = ord("0") + remaining - 10 * quotient
        remaining = quotient
    characters[:, 0] = ord("0") + remaining
    characters[:, 1] = ord(".")
    characters[:, -1] = ord(" ")
    text = characters.tobytes().decode("ascii")
    starts, ends = (_NUMBER_WIDTH * rows.starts).tolist(), (_NUMBER_WIDTH * rows.ends).tolist()
    return [text[start : max(start, end - 1)] for start, end in zip(starts, ends, strict=True)]


def _corner_row(box: Box, size_hw: tuple[int, int]) -> str:
    x_min, y_min, x_max, y_max = box
    height, width = size_hw
    corners = ((x_min, y_min), (x_max, y_min), (x_max, y_max), (x_min, y_max))
    return " ".join(f"{x / width:.6f} {y / height:.6f}" for x, y in corners)
