"""Run-length encoded masks of the image's size from the decoder's low-resolution logits.

A mask is predicted on a grid of 256×256 and upsampled bilinearly to the image, where its sign
decides. Upsampled values lie between the grid values around them, so pixels can be set only next to
a positive grid value: only that part of the image is computed. An object that covers a tenth of a
photograph costs a tenth. Only the positions where columns change between background and mask leave
the device; run lengths need no more. For any number of objects and any image size, full-resolution
values exist for a few columns (CPU) or a few masks (GPU) at a time.

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

_CPU_ELEMENTS = 2**18
"""Upsampled values at a time on a CPU: 1 MiB, which stays in its cache."""
_GPU_ELEMENTS = 2**26
"""The same elsewhere, where few large steps are faster than many small ones: 256 MiB."""


def to_rles(
    logits: torch.Tensor,
    size_hw: tuple[int, int],
    *,
    threshold: float = 0.0,
    max_elements: int | None = None,
) -> list[Rle]:
    """Upsample mask logits to an image, threshold them and encode them.

    Args:
        logits: ``(n, h, w)``, floating, on any device; all of one image.
        size_hw: height and width of the image.
        threshold: pixels with logits above it are set.
        max_elements: upsampled values to hold at a time; bounds memory and does not change the
            result. By default 2¹⁸ on a CPU, whose cache holds them, and 2²⁶ elsewhere.

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
    lefts, rights = columns.output_range(inside.any(dim=2))
    tops, bottoms = rows.output_range(inside.any(dim=1))
    if max_elements is None:
        max_elements = _CPU_ELEMENTS if margins.device.type == "cpu" else _GPU_ELEMENTS
    rles: list[Rle] = []
    for chunk in _chunks(rights - lefts, bottoms - tops, max_elements):
        # All crops of a chunk get the size of its largest, moved to stay inside the image.
        width = int((rights - lefts)[chunk].max())
        height = int((bottoms - tops)[chunk].max())
        left = np.minimum(lefts[chunk], size_hw[1] - width)
        top = np.minimum(tops[chunk], size_hw[0] - height)
        changes = _changes(
            margins[chunk], columns.window(left, width), rows.window(top, height), max_elements
        )
        rles += _encode(*changes, left, top, size_hw)
    return rles


@dataclass(frozen=True, slots=True, eq=False)
class _Axis:
    """Bilinear interpolation along one axis: the two inputs and the weight of each output.

    On the host, where the part of the image to compute is determined from it.
    """

    lower: NDArray[np.int64]
    """``(…, out)``, ascending: index of the first input."""
    upper: NDArray[np.int64]
    """``(…, out)``, ascending: index of the second input."""
    weight: NDArray[np.float32]
    """``(…, out)`` in [0, 1): of the second input."""

    def output_range(self, inside: torch.Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Begin and end of the outputs that can be positive; ``(n, in)`` ``bool`` → two ``(n,)``.

        Both are 0 where no input is positive.
        """
        present = inside.cpu().numpy()
        first = present.argmax(axis=1)
        last = present.shape[1] - 1 - present[:, ::-1].argmax(axis=1)
        any_present = present.any(axis=1)
        begin = np.searchsorted(self.upper, first, side="left") * any_present
        end = np.searchsorted(self.lower, last, side="right") * any_present
        return begin, end

    def window(self, begin: NDArray[np.int64], size: int) -> _Axis:
        """The outputs from each of ``(n,)`` begins on: ``(n, size)``."""
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


def _chunks(
    widths: NDArray[np.int64], heights: NDArray[np.int64], max_elements: int
) -> Iterator[slice]:
    """Consecutive masks whose crops, all at the size of the largest, have few enough elements."""
    start, width, height = 0, 0, 0
    for index, (w, h) in enumerate(zip(widths.tolist(), heights.tolist(), strict=True)):
        width, height = max(width, w), max(height, h)
        if index > start and (index + 1 - start) * width * height > max_elements:
            yield slice(start, index)
            start, width, height = index, w, h
    yield slice(start, len(widths))


def _changes(
    margins: torch.Tensor, columns: _Axis, rows: _Axis, max_elements: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Positions where upsampled columns change between background and mask, in order.

    A column begins and ends with background: a mask that fills it changes at 0 and at its height.

    Args:
        margins: ``(n, w, h)``, positive inside the mask.
        columns: of the ``(n, W)`` columns of the crops.
        rows: of their ``(n, H)`` rows.
        max_elements: upsampled values to hold at a time.

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
        small.gather(2, _to_device(device, rows.lower)[:, None].expand(shape)),
        small.gather(2, _to_device(device, rows.upper)[:, None].expand(shape)),
        _to_device(device, rows.weight)[:, None],
    ).flatten(0, 1)
    offset = np.arange(count)[:, None] * shape[1] - first
    lower, upper = (
        _to_device(device, columns.lower + offset),
        _to_device(device, columns.upper + offset),
    )
    weight = _to_device(device, columns.weight)
    step = max(1, max_elements // (count * height))
    found = []
    for begin in range(0, width, step):
        strip = slice(begin, begin + step)
        values = tall.index_select(0, lower[:, strip].flatten())
        above = tall.index_select(0, upper[:, strip].flatten())
        values.lerp_(above, weight[:, strip].reshape(-1, 1))
        padded = torch.zeros((len(values), height + 2), dtype=torch.bool, device=device)
        torch.gt(values, 0, out=padded[:, 1:-1])
        changed = _true_indices(padded[:, 1:] != padded[:, :-1])
        column, row = np.divmod(changed, height + 1)
        mask, column = np.divmod(column, len(values) // count)
        found.append((mask, column + begin, row))
    masks, at_columns, at_rows = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return masks, at_columns, at_rows


def _to_device(device: torch.device, values: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(values).to(device)


def _true_indices(flags: torch.Tensor) -> NDArray[np.int64]:
    """Flat indices of true values, on the host."""
    if flags.device.type == "cpu":  # many times faster than torch for few true values
        return np.flatnonzero(flags.numpy())
    indices: NDArray[np.int64] = flags.flatten().nonzero()[:, 0].cpu().numpy()
    return indices


def _encode(
    masks: NDArray[np.int64],
    columns: NDArray[np.int64],
    rows: NDArray[np.int64],
    left: NDArray[np.int64],
    top: NDArray[np.int64],
    size_hw: tuple[int, int],
) -> list[Rle]:
    """Run-length encode the changes in crops that begin at ``left`` and ``top``, each ``(n,)``."""
    height, width = size_hw
    bounds = (columns + left[masks]) * height + rows + top[masks]
    # A mask that reaches the bottom of a column and begins the next one continues: both changes
    # have the same position and cancel. The end of the image is no change either.
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
