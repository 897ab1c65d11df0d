"""From the decoder's small logits to compact masks of the picture's size.

A mask is predicted on a grid of 256×256 and enlarged bilinearly to the picture, where its sign
decides. Enlarged values lie between the small ones around them, so that nothing can be set except
within reach of a small value that is: only that part of the picture is computed. An object that
covers a tenth of a photograph costs a tenth, and full-resolution values exist for one strip (CPU)
or one chunk of masks (GPU) at a time, however many objects and however large the picture.

The values are those of ``torch.nn.functional.interpolate(mode="bilinear", align_corners=False)``,
which SAM 2's own post-processing calls, up to the order of the additions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from grounded_sam2.geometry.rle import Rle, encode_crop

__all__ = ["to_rles"]

_ELEMENTS_CPU = 2**18
"""Enlarged values at a time on a CPU: 1 MiB, which stays in its cache."""
_ELEMENTS_GPU = 2**26
"""The same elsewhere, where few large steps are faster than many small ones: 256 MiB."""


def to_rles(logits: torch.Tensor, size_hw: tuple[int, int], *, threshold: float = 0.0) -> list[Rle]:
    """Enlarge mask logits to a picture, cut them at a threshold and encode them.

    Args:
        logits: ``(n, h, w)``, floating, on any device; all of one picture.
        size_hw: height and width of the picture.
        threshold: pixels with logits above it are set.

    Returns:
        One `Rle` of ``size_hw`` per mask, in order; ``[]`` for ``n == 0``.
    """
    if not len(logits):
        return []
    margins = logits.float() - threshold
    rows = _Axis.bilinear(size_hw[0], margins.shape[1], margins.device)
    columns = _Axis.bilinear(size_hw[1], margins.shape[2], margins.device)
    inside = margins > 0
    tops, bottoms = rows.reach(inside.any(dim=2))
    lefts, rights = columns.reach(inside.any(dim=1))
    budget = _ELEMENTS_CPU if margins.device.type == "cpu" else _ELEMENTS_GPU
    rles: list[Rle] = []
    for chunk in _chunks(bottoms - tops, rights - lefts, budget):
        # All crops of a chunk get the size of its largest, moved to stay inside the picture.
        height = int((bottoms - tops)[chunk].max())
        width = int((rights - lefts)[chunk].max())
        top = np.minimum(tops[chunk], size_hw[0] - height)
        left = np.minimum(lefts[chunk], size_hw[1] - width)
        crops = _enlarge(
            margins[chunk], rows.window(top, height), columns.window(left, width), budget
        )
        rles += [
            encode_crop(crop, (int(x), int(y)), size_hw)
            for crop, x, y in zip(crops.cpu().numpy(), left, top, strict=True)
        ]
    return rles


@dataclass(frozen=True, slots=True, eq=False)
class _Axis:
    """Which two small values each enlarged one lies between, and how near the second it is."""

    lower: torch.Tensor
    """``(…, out)`` ``int64``, ascending."""
    upper: torch.Tensor
    weight: torch.Tensor
    """``(…, out)`` ``float32`` in [0, 1)."""

    @classmethod
    def bilinear(cls, size_out: int, size_in: int, device: torch.device) -> _Axis:
        centres = torch.arange(size_out, dtype=torch.float32) + 0.5
        position = (centres * float(np.float32(size_in) / np.float32(size_out)) - 0.5).clamp_(min=0)
        lower = position.long().clamp_(max=size_in - 1)
        upper = (lower + 1).clamp_(max=size_in - 1)
        return cls(*(part.to(device) for part in (lower, upper, position - lower)))

    def reach(self, inside: torch.Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Begin and end of the enlarged values that can be set; ``(n, in)`` → two ``(n,)``.

        Both are 0 where nothing is.
        """
        present = inside.cpu().numpy()
        first = present.argmax(axis=1)
        last = present.shape[1] - 1 - present[:, ::-1].argmax(axis=1)
        some = present.any(axis=1)
        begin = np.searchsorted(self.upper.cpu().numpy(), first, side="left") * some
        end = np.searchsorted(self.lower.cpu().numpy(), last, side="right") * some
        return begin, end

    def window(self, begin: NDArray[np.int64], size: int) -> _Axis:
        """The part from each of ``(n,)`` begins on: ``(n, size)``."""
        device = self.lower.device
        index = torch.from_numpy(begin).to(device)[:, None] + torch.arange(size, device=device)
        return _Axis(self.lower[index], self.upper[index], self.weight[index])


def _chunks(heights: NDArray[np.int64], widths: NDArray[np.int64], budget: int) -> Iterator[slice]:
    """Runs of masks whose crops, all at the size of the largest, stay within the budget."""
    start, height, width = 0, 0, 0
    for index, (h, w) in enumerate(zip(heights.tolist(), widths.tolist(), strict=True)):
        taller, wider = max(height, h), max(width, w)
        if index > start and (index + 1 - start) * taller * wider > budget:
            yield slice(start, index)
            start, taller, wider = index, h, w
        height, width = taller, wider
    yield slice(start, len(heights))


def _enlarge(margins: torch.Tensor, rows: _Axis, columns: _Axis, budget: int) -> torch.Tensor:
    """Where enlarged margins are positive: ``(n, h, w)`` → ``(n, H, W)`` ``bool``."""
    (count, height), width = rows.lower.shape, columns.lower.shape[1]
    result = torch.empty((count, height, width), dtype=torch.bool, device=margins.device)
    if not result.numel():
        return result
    first, last = int(rows.lower.min()), int(rows.upper.max())
    small = margins[:, first : last + 1]
    shape = (count, small.shape[1], width)
    wide = torch.lerp(
        small.gather(2, columns.lower[:, None].expand(shape)),
        small.gather(2, columns.upper[:, None].expand(shape)),
        columns.weight[:, None],
    ).flatten(0, 1)
    offset = torch.arange(count, device=margins.device)[:, None] * shape[1] - first
    lower, upper = rows.lower + offset, rows.upper + offset
    step = max(1, budget // (count * width))
    for begin in range(0, height, step):
        strip = slice(begin, begin + step)
        values = wide.index_select(0, lower[:, strip].flatten())
        above = wide.index_select(0, upper[:, strip].flatten())
        values.lerp_(above, rows.weight[:, strip].reshape(-1, 1))
        result[:, strip] = values.view(count, -1, width) > 0
    return result
