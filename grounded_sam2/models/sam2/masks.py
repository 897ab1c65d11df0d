"""From the decoder's small logits to compact masks of the image's size.

A mask is predicted on a grid of 256×256 and enlarged bilinearly to the image, where its sign
decides. Enlarged values lie between the small ones around them, so that nothing can be set except
within reach of a small value that is: only that part of the image is computed. An object that
covers a tenth of a photograph costs a tenth. Of the result only the places where columns change
between background and mask leave the device, and these are all that run lengths need. However many
objects and however large the image, full-resolution values exist for a few columns (CPU) or a few
masks (GPU) at a time.

The values are those of ``torch.nn.functional.interpolate(mode="bilinear", align_corners=False)``,
which SAM 2's own post-processing calls, up to the order of the additions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from grounded_sam2.geometry.compressed_counts import compress_counts
from grounded_sam2.geometry.rle import Rle

__all__ = ["to_rles"]

_ELEMENTS_CPU = 2**18
"""Enlarged values at a time on a CPU: 1 MiB, which stays in its cache."""
_ELEMENTS_GPU = 2**26
"""The same elsewhere, where few large steps are faster than many small ones: 256 MiB."""


def to_rles(logits: torch.Tensor, size_hw: tuple[int, int], *, threshold: float = 0.0) -> list[Rle]:
    """Enlarge mask logits to an image, cut them at a threshold and encode them.

    Args:
        logits: ``(n, h, w)``, floating, on any device; all of one image.
        size_hw: height and width of the image.
        threshold: pixels with logits above it are set.

    Returns:
        One `Rle` of ``size_hw`` per mask, in order; ``[]`` for ``n == 0``.
    """
    if not len(logits):
        return []
    # Run lengths go down the columns, so columns are the outer axis from here on.
    margins = logits.float().transpose(1, 2).contiguous() - threshold
    columns = _bilinear_axis(size_hw[1], margins.shape[1])
    rows = _bilinear_axis(size_hw[0], margins.shape[2])
    inside = margins > 0
    lefts, rights = columns.reach(inside.any(dim=2))
    tops, bottoms = rows.reach(inside.any(dim=1))
    budget = _ELEMENTS_CPU if margins.device.type == "cpu" else _ELEMENTS_GPU
    rles: list[Rle] = []
    for chunk in _chunks(rights - lefts, bottoms - tops, budget):
        # All crops of a chunk get the size of its largest, moved to stay inside the image.
        width = int((rights - lefts)[chunk].max())
        height = int((bottoms - tops)[chunk].max())
        left = np.minimum(lefts[chunk], size_hw[1] - width)
        top = np.minimum(tops[chunk], size_hw[0] - height)
        changes = _changes(
            margins[chunk], columns.window(left, width), rows.window(top, height), budget
        )
        rles += _encode(*changes, left, top, size_hw)
    return rles


@dataclass(frozen=True, slots=True, eq=False)
class _Axis:
    """Which two small values each enlarged one lies between, and how near the second it is.

    On the host, where it is also asked which part of the image to compute.
    """

    lower: NDArray[np.int64]
    """``(…, out)``, ascending."""
    upper: NDArray[np.int64]
    weight: NDArray[np.float32]
    """``(…, out)`` in [0, 1)."""

    def reach(self, inside: torch.Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Begin and end of the enlarged values that can be set; ``(n, in)`` → two ``(n,)``.

        Both are 0 where nothing is.
        """
        present = inside.cpu().numpy()
        first = present.argmax(axis=1)
        last = present.shape[1] - 1 - present[:, ::-1].argmax(axis=1)
        some = present.any(axis=1)
        begin = np.searchsorted(self.upper, first, side="left") * some
        end = np.searchsorted(self.lower, last, side="right") * some
        return begin, end

    def window(self, begin: NDArray[np.int64], size: int) -> _Axis:
        """The part from each of ``(n,)`` begins on: ``(n, size)``."""
        index = begin[:, None] + np.arange(size)
        return _Axis(self.lower[index], self.upper[index], self.weight[index])


@lru_cache(maxsize=16)  # images of a folder share a few sizes
def _bilinear_axis(size_out: int, size_in: int) -> _Axis:
    centers = np.arange(size_out, dtype=np.float32) + np.float32(0.5)
    scale = np.float32(size_in) / np.float32(size_out)
    position = np.maximum(centers * scale - np.float32(0.5), np.float32(0))
    lower = np.minimum(position.astype(np.int64), size_in - 1)
    upper = np.minimum(lower + 1, size_in - 1)
    return _Axis(lower, upper, (position - lower).astype(np.float32))


def _chunks(widths: NDArray[np.int64], heights: NDArray[np.int64], budget: int) -> Iterator[slice]:
    """Runs of masks whose crops, all at the size of the largest, stay within the budget."""
    start, width, height = 0, 0, 0
    for index, (w, h) in enumerate(zip(widths.tolist(), heights.tolist(), strict=True)):
        width, height = max(width, w), max(height, h)
        if index > start and (index + 1 - start) * width * height > budget:
            yield slice(start, index)
            start, width, height = index, w, h
    yield slice(start, len(widths))


def _changes(
    margins: torch.Tensor, columns: _Axis, rows: _Axis, budget: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Where enlarged columns change between background and mask, in order.

    A column begins and ends with background: a run that fills it changes at 0 and at its height.

    Args:
        margins: ``(n, w, h)``, positive where the mask is set.
        columns: for ``(n, W)`` columns of each crop.
        rows: for ``(n, H)`` rows.
        budget: enlarged values to have at a time.

    Returns:
        Mask, column and row of every change, each ``(k,)``.
    """
    (count, width), height = columns.lower.shape, rows.lower.shape[1]
    if not width * height:
        nothing = np.zeros(0, np.int64)
        return nothing, nothing, nothing
    device = margins.device
    first, last = int(columns.lower.min()), int(columns.upper.max())
    small = margins[:, first : last + 1]
    shape = (count, small.shape[1], height)
    tall = torch.lerp(
        small.gather(2, _on(device, rows.lower)[:, None].expand(shape)),
        small.gather(2, _on(device, rows.upper)[:, None].expand(shape)),
        _on(device, rows.weight)[:, None],
    ).flatten(0, 1)
    offset = np.arange(count)[:, None] * shape[1] - first
    lower, upper = _on(device, columns.lower + offset), _on(device, columns.upper + offset)
    weight = _on(device, columns.weight)
    step = max(1, budget // (count * height))
    found = []
    for begin in range(0, width, step):
        strip = slice(begin, begin + step)
        values = tall.index_select(0, lower[:, strip].flatten())
        above = tall.index_select(0, upper[:, strip].flatten())
        values.lerp_(above, weight[:, strip].reshape(-1, 1))
        padded = torch.zeros((len(values), height + 2), dtype=torch.bool, device=device)
        torch.gt(values, 0, out=padded[:, 1:-1])
        place = _places(padded[:, 1:] != padded[:, :-1])
        column, row = np.divmod(place, height + 1)
        mask, column = np.divmod(column, len(values) // count)
        found.append((mask, column + begin, row))
    masks, at_columns, at_rows = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return masks, at_columns, at_rows


def _on(device: torch.device, values: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(values).to(device)


def _places(flags: torch.Tensor) -> NDArray[np.int64]:
    """Flat indices of what is true, on the host."""
    if flags.device.type == "cpu":  # many times faster than torch where little is true
        return np.flatnonzero(flags.numpy())
    places: NDArray[np.int64] = flags.flatten().nonzero()[:, 0].cpu().numpy()
    return places


def _encode(
    masks: NDArray[np.int64],
    columns: NDArray[np.int64],
    rows: NDArray[np.int64],
    left: NDArray[np.int64],
    top: NDArray[np.int64],
    size_hw: tuple[int, int],
) -> list[Rle]:
    """Run lengths from the changes in crops that begin at ``left`` and ``top``, each ``(n,)``."""
    height, width = size_hw
    bounds = (columns + left[masks]) * height + rows + top[masks]
    # A run that reaches the bottom goes on if the next column begins with one: both changes are at
    # the same place, and no change. Nor is the end of the image.
    same = (bounds[1:] == bounds[:-1]) & (masks[1:] == masks[:-1])
    kept = bounds < height * width
    kept[1:] &= ~same
    kept[:-1] &= ~same
    bounds, masks = bounds[kept], masks[kept]
    ends = np.searchsorted(masks, np.arange(len(left) + 1))
    begin_of_image, end_of_image = np.array([0]), np.array([height * width])
    return [
        Rle(
            size_hw,
            compress_counts(
                np.diff(np.concatenate((begin_of_image, bounds[begin:end], end_of_image)))
            ),
        )
        for begin, end in pairwise(ends.tolist())
    ]
