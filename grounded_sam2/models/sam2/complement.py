"""Noticing, and undoing, that SAM 2 answered with everything but the thing.

Asked with a box, SAM 2 now and then returns the background: the mask leaves out the very thing
that the box is drawn around. It is known of all sizes, and its predicted quality does not tell.
The box does: the answer lies mostly outside it, fills most of what is outside, and spares more of
the inside than of the outside. The last keeps apart what is merely larger than its box, such as
the wall behind a poster.

The inverse of such an answer is close to what was meant, though its edge was never drawn for it.
So it is not taken as the mask, it is given back to the model as a mask prompt beside the same box:
what comes out is again the model's own answer, with a quality that the model predicted.
"""

from __future__ import annotations

import torch

__all__ = ["inverted", "is_complement"]


def is_complement(margins: torch.Tensor, boxes_xyxy: torch.Tensor) -> torch.Tensor:
    """Which masks are the inverse of what their box asks for.

    Args:
        margins: ``(n, h, w)`` mask logits, positive where the mask is set.
        boxes_xyxy: ``(n, 4)`` in pixels of these masks.

    Returns:
        ``(n,)`` ``bool``. Never true for a box around everything or an empty mask.
    """
    inside = _inside(boxes_xyxy, margins.shape[1:])
    masks = margins > 0
    set_inside = (masks & inside).sum(dim=(1, 2)).float()
    set_outside = (masks & ~inside).sum(dim=(1, 2)).float()
    size_inside = inside.sum(dim=(1, 2)).float()
    size_outside = inside[0].numel() - size_inside if len(inside) else size_inside
    filled_inside = set_inside / size_inside.clamp(min=1)
    filled_outside = set_outside / size_outside.clamp(min=1)
    return (set_outside > set_inside) & (filled_outside > 0.5) & (filled_outside > filled_inside)


def inverted(margins: torch.Tensor, boxes_xyxy: torch.Tensor) -> torch.Tensor:
    """The inverse of masks within their boxes, and nothing outside: ``(n, h, w)``."""
    inside = _inside(boxes_xyxy, margins.shape[1:])
    return torch.where(inside, -margins, -margins.abs())


def _inside(boxes_xyxy: torch.Tensor, size_hw: torch.Size) -> torch.Tensor:
    """Pixels whose center lies in the box: ``(n, h, w)`` ``bool``."""
    height, width = size_hw
    x = torch.arange(width, device=boxes_xyxy.device) + 0.5
    y = torch.arange(height, device=boxes_xyxy.device) + 0.5
    x1, y1, x2, y2 = boxes_xyxy[:, :, None].unbind(dim=1)
    columns = (x >= x1) & (x < x2)
    rows = (y >= y1) & (y < y2)
    return rows[:, :, None] & columns[:, None, :]
