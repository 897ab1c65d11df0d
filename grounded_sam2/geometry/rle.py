"""Run-length encoded masks, in COCO's compressed form.

The codec is pycocotools': written in C, and by definition what every COCO reader agrees with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

__all__ = ["Rle", "areas", "bounding_boxes", "decode", "encode", "iou"]


@dataclass(frozen=True, slots=True)
class Rle:
    """One mask of ``(h, w)`` pixels: column-major runs, COCO-compressed."""

    size_hw: tuple[int, int]
    counts: bytes
