"""How much objects overlap, some of which have masks and some only boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from grounded_sam2.geometry.boxes import box_iou
from grounded_sam2.geometry.rle import Rle, iou

__all__ = ["mixed_iou"]


def mixed_iou(boxes_xyxy: ArrayLike, masks: Sequence[Rle | None]) -> NDArray[np.float64]:
    """Intersection over union of every object with every one.

    Args:
        boxes_xyxy: ``(n, 4)``, pixels.
        masks: one per box, of one size; ``None`` where there is none.

    Returns:
        ``(n, n)``: of masks, and of boxes where one of the two has no mask; ``(0, 0)`` for none.

    Raises:
        GeometryError: the masks are not all of one size.
    """
    overlap = box_iou(boxes_xyxy, boxes_xyxy)
    masked = [index for index, mask in enumerate(masks) if mask is not None]
    runs = [mask for mask in masks if mask is not None]
    overlap[np.ix_(masked, masked)] = iou(runs, runs)
    return overlap
