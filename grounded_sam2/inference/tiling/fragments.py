"""Objects that turn out to be a piece of another one, once their masks are there.

Where a window cuts a thing, its detector draws a box around the piece. What the boxes do not tell
(`grounded_sam2.inference.tiling.box_merging`), the masks may: the piece lies in the mask of the whole. That alone
is no proof, as one mask around a heap of apples holds the mask of each. But a piece ends where a
window ends.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.config import TilingConfig
from grounded_sam2.geometry import rle
from grounded_sam2.geometry.overlap import mask_containment
from grounded_sam2.inference.tiling.tiles import cut_by_views, is_large, shows, views_of, windows
from grounded_sam2.results import Label

__all__ = ["are_fragments"]

_INSIDE = 0.9
"""Share of a piece's mask in that of the whole. Not all: masks of one thing differ at the rim."""
_SMALLER = 0.7
"""Most that a piece has of the area of the whole. With more, the two are one thing found twice, of
which clean-up keeps the surer one."""


def are_fragments(
    objects: Sequence[Label], size_hw: tuple[int, int], options: TilingConfig
) -> NDArray[np.bool_]:
    """Which objects of an image are pieces of others, cut off by a window.

    A piece is of the same caption as the whole, has a clearly smaller mask and nearly all of it
    inside, and a box that ends at the edge of a window.

    Args:
        objects: with the boxes that the detector gave; those without a mask are no pieces.
        size_hw: height and width of the image.
        options: how it was looked at; in an image that is not large, nothing is a piece.

    Returns:
        ``(n,)`` ``bool``; ``(0,)`` for no objects.
    """
    answer = np.zeros(len(objects), np.bool_)
    if not is_large(size_hw, options):
        return answer
    by_caption: dict[str, list[int]] = {}
    for index, label in enumerate(objects):
        if label.mask is not None:
            by_caption.setdefault(label.caption, []).append(index)
    for indices in by_caption.values():
        if len(indices) > 1:
            some = [objects[index] for index in indices]
            answer[indices] = _end_at_windows(some, size_hw, options) & _lie_in_others(some)
    return answer


def _lie_in_others(objects: Sequence[Label]) -> NDArray[np.bool_]:
    """Which masks lie in one that is clearly larger: ``(n,)``."""
    masks = [label.mask for label in objects if label.mask is not None]
    areas = rle.areas(masks)
    larger = areas[:, None] <= _SMALLER * areas[None]
    answer: NDArray[np.bool_] = np.any(larger & (mask_containment(masks, masks) >= _INSIDE), axis=1)
    return answer


def _end_at_windows(
    objects: Sequence[Label], size_hw: tuple[int, int], options: TilingConfig
) -> NDArray[np.bool_]:
    """Which boxes were cut by a window that shows them: ``(n,)``."""
    seen_from = windows(views_of(size_hw, options))
    answer = np.zeros(len(objects), np.bool_)
    for index, label in enumerate(objects):
        box = np.array(label.box_xyxy)
        answer[index] = (shows(seen_from, box) & cut_by_views(box[None], seen_from, size_hw)).any()
    return answer
