"""Which of two masks for one box stays: the one from near or the one from afar.

The model predicts how good a mask is, not whether it is of what was asked for. Seen from afar, a
small thing is little more than a point on what is behind it, and SAM 2 may well take that to be
meant: it predicts a high quality, rightly, for a good mask of the wrong thing. So before qualities
are compared, the masks must be of the thing in the box.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.geometry import boxes, rle
from grounded_sam2.geometry.overlap import mask_containment
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.inference.tiling.tiles import View

__all__ = ["Answer", "better"]

Answer: TypeAlias = tuple[Rle, float, bool]
"""Mask in the image, quality, and whether the mask is a complement."""

_HALF = 0.5
"""Share of a mask in its box: a mask of which less lies there is of another thing."""
_CLEARLY = 0.05
"""By so much more IoU with its box a mask fits it better. Boxes of detectors are less exact."""


def better(near: Answer, far: Answer, window: View, box_xyxy: NDArray[np.float32]) -> Answer:
    """The better one of two answers to a box.

    One that is not the complement of what was asked for wins over one that is; then one that lies
    mostly in its box, and does not run into the edge of its window, over one that does not; then
    one that fills its box clearly better, since a thing seen near may lose its tips; then the
    higher quality, and at a tie the near one, which is finer. Where both go beyond the box, the
    thing is larger: the far one shows it whole, if it covers the box at all.

    Args:
        near: from the window.
        far: from the whole image.
        window: where the near one was asked.
        box_xyxy: ``(4,)``, in the image.
    """
    box = _filled(box_xyxy, near[0].size_hw)
    near_fits = _share(near[0], box) >= _HALF and not _cut_off(near[0], window)
    near_rank = not near[2], near_fits
    far_rank = not far[2], _share(far[0], box) >= _HALF
    if near_rank != far_rank:
        return near if near_rank > far_rank else far
    if not near_fits:
        return far if _share(box, far[0]) >= _HALF else near
    near_filling, far_filling = _filling([near[0], far[0]], box_xyxy)
    if abs(near_filling - far_filling) > _CLEARLY:
        return near if near_filling > far_filling else far
    # Rounded as it is stored: noise of the arithmetic must not decide
    return near if round(near[1], 4) >= round(far[1], 4) else far


def _share(mask: Rle, other: Rle) -> float:
    """Of the mask, what lies in the other."""
    return float(mask_containment([mask], [other])[0, 0])


def _filling(masks: Sequence[Rle], box_xyxy: NDArray[np.float32]) -> list[float]:
    """IoU of what is tight around each mask with the box."""
    ious: list[float] = boxes.box_iou(rle.bounding_boxes(masks), box_xyxy[None])[:, 0].tolist()
    return ious


def _cut_off(mask: Rle, window: View) -> bool:
    """Whether a mask runs into an edge of its window beyond which the image goes on."""
    height, width = mask.size_hw
    ends = np.array(mask.bbox_xyxy) == (window.left, window.top, window.right, window.bottom)
    inner = np.array([window.left, window.top, width - window.right, height - window.bottom]) > 0
    return bool((ends & inner).any())


def _filled(box_xyxy: NDArray[np.float32], size_hw: tuple[int, int]) -> Rle:
    """The pixels that a box covers."""
    outer = np.concatenate((np.floor(box_xyxy[:2]), np.ceil(box_xyxy[2:])))
    left, top, right, bottom = boxes.clip(outer[None], size_hw)[0].astype(int).tolist()
    return rle.rectangle((left, top, max(left, right), max(top, bottom)), size_hw)
