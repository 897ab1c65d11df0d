"""Conversion between run lengths and pixels, within the bounding boxes of masks.

Run lengths are in column-major order, background first, those of many masks concatenated. The cost
of every function is that of the masks' bounding boxes, not of their images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from grounded_sam2.geometry.ragged import RaggedOffsets

__all__ = [
    "Mask",
    "MaskCrops",
    "boxes_from_run_lengths",
    "canonical_run_lengths",
    "crop_to_bounding_box",
    "crops_from_run_lengths",
    "foreground_runs",
    "run_lengths_from_crops",
    "run_lengths_from_transitions",
]

Mask: TypeAlias = NDArray[np.bool_]
"""A dense mask or the crop of one: ``(h, w)`` ``bool``."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskCrops:
    """Dense masks within their bounding boxes."""

    pixels: list[Mask]
    """``(h, w)`` ``bool`` in C order each; ``(0, 0)`` for an empty mask."""
    origins_xy: NDArray[np.int64]
    """``(n, 2)`` left and top of the boxes; 0 for an empty mask."""
    sizes_hw: NDArray[np.int64]
    """``(n, 2)`` heights and widths of the boxes."""
    images_hw: NDArray[np.int64]
    """``(n, 2)`` heights and widths of the images."""
    areas: NDArray[np.int64]
    """``(n,)`` set pixels."""
    pixel_offsets: RaggedOffsets
    """Offsets of the pixels of each crop, if all crops are concatenated column by column."""
    transitions: NDArray[np.int64]
    """``(m,)`` positions among those pixels where foreground runs begin and end, alternating."""
    transition_offsets: RaggedOffsets
    """Offsets of the transitions of each mask."""

    def __len__(self) -> int:
        return len(self.pixels)


def boxes_from_run_lengths(
    run_lengths: NDArray[np.int64], offsets: RaggedOffsets, heights: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Bounding boxes of the set pixels.

    Args:
        run_lengths: ``(n,)`` of all masks.
        offsets: of the run lengths of each mask.
        heights: ``(len(offsets),)`` of their images.

    Returns:
        ``(len(offsets), 4)`` left, top, right, bottom, half-open; zeros for an empty mask.
    """
    boxes = np.zeros((len(offsets), 4), np.int64)
    starts, lasts, runs_per_mask = foreground_runs(run_lengths, offsets)
    nonempty = runs_per_mask.sizes > 0
    if not nonempty.any():
        return boxes
    height = runs_per_mask.repeat(heights)
    first_column, first_row = np.divmod(starts, height)
    last_column, last_row = np.divmod(lasts, height)
    # A run over several columns touches the top and the bottom of the image.
    wraps = first_column != last_column
    begin, end = runs_per_mask.starts[nonempty], runs_per_mask.ends[nonempty] - 1
    boxes[nonempty, 0] = first_column[begin]
    boxes[nonempty, 1] = np.minimum.reduceat(np.where(wraps, 0, first_row), begin)
    boxes[nonempty, 2] = last_column[end] + 1
    boxes[nonempty, 3] = np.maximum.reduceat(np.where(wraps, height - 1, last_row), begin) + 1
    return boxes


def crops_from_run_lengths(
    run_lengths: NDArray[np.int64],
    offsets: RaggedOffsets,
    images_hw: NDArray[np.int64],
    boxes: NDArray[np.int64],
) -> MaskCrops:
    """Decode masks within their bounding boxes.

    Args:
        run_lengths: ``(n,)`` of all masks.
        offsets: of the run lengths of each mask.
        images_hw: ``(len(offsets), 2)`` heights and widths of their images.
        boxes: ``(len(offsets), 4)`` as `boxes_from_run_lengths` returns them.
    """
    origins_xy, sizes_wh = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    pixel_offsets = RaggedOffsets(sizes_wh.prod(axis=1))
    starts, lasts, runs_per_mask = foreground_runs(run_lengths, offsets)
    height = runs_per_mask.repeat(images_hw[:, 0])
    crop_height = runs_per_mask.repeat(sizes_wh[:, 1])
    left, top = runs_per_mask.repeat(origins_xy).T
    # Begin and end of each run in column-major order of the crop.
    transitions = np.empty((len(starts), 2), np.int64)
    for side, position in enumerate((starts, lasts)):
        column, row = np.divmod(position, height)
        transitions[:, side] = (column - left) * crop_height + row - top + side
    transitions += runs_per_mask.repeat(pixel_offsets.starts)[:, None]

    lengths = RaggedOffsets.from_ends(np.append(transitions, pixel_offsets.total)).sizes
    flat = (np.arange(len(lengths)) % 2 == 1).repeat(lengths)
    pixels = [
        _transposed(columns.reshape(width, height)) if columns.size else np.zeros((0, 0), np.bool_)
        for columns, (width, height) in zip(
            pixel_offsets.split(flat), sizes_wh.tolist(), strict=True
        )
    ]
    return MaskCrops(
        pixels=pixels,
        origins_xy=origins_xy,
        sizes_hw=sizes_wh[:, ::-1],
        images_hw=images_hw,
        areas=runs_per_mask.sum(lasts + 1 - starts),
        pixel_offsets=pixel_offsets,
        transitions=transitions.ravel(),
        transition_offsets=RaggedOffsets(2 * runs_per_mask.sizes),
    )


def crop_to_bounding_box(mask: Mask) -> tuple[Mask, tuple[int, int]]:
    """The part of a dense mask within its bounding box, and the origin of that box.

    Returns:
        ``(h, w)`` ``bool`` with contiguous columns, and ``(left, top)``; ``(0, 0)`` at ``(0, 0)``
        for an empty mask.
    """
    columns = np.flatnonzero(mask.any(axis=0))
    if not columns.size:
        return mask[:0, :0], (0, 0)
    left, right = int(columns[0]), int(columns[-1]) + 1
    # Reducing along rows is slow; transposing the remaining columns first is cheaper.
    transposed = _columns(mask[:, left:right])
    rows = np.flatnonzero(transposed.any(axis=0))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    return transposed[:, top:bottom].T, (left, top)


def run_lengths_from_crops(
    crops: Sequence[Mask],
    origins_xy: NDArray[np.int64],
    sizes_hw: NDArray[np.int64],
) -> tuple[NDArray[np.int64], RaggedOffsets]:
    """Run lengths of masks that are given as crops; the pixels outside are background.

    Args:
        crops: ``(h, w)`` ``bool`` each, inside its image; may be empty.
        origins_xy: ``(len(crops), 2)`` column and row of each crop's first pixel.
        sizes_hw: ``(len(crops), 2)`` heights and widths of the images.

    Returns:
        ``(n,)`` ``int64`` canonical run lengths of all masks (see `canonical_run_lengths`), and the
        offsets of each mask's.
    """
    # A background pixel ends every column, and one is before the first, so that no run crosses
    # from one column to the next, and every transition is a difference of neighbors in memory.
    shapes = np.array([crop.shape for crop in crops], np.int64).reshape(-1, 2)
    heights, widths = shapes.T
    pixels = RaggedOffsets((heights + 1) * widths)
    padded = np.zeros(1 + pixels.total, np.bool_)
    for crop, target in zip(crops, pixels.split(padded[1:]), strict=True):
        if crop.size:
            target.reshape(crop.shape[1], -1)[:, :-1] = _columns(crop)
    changes = np.flatnonzero(padded[1:] != padded[:-1])
    offsets = RaggedOffsets.from_ends(np.searchsorted(changes, pixels.ends))
    column, row = np.divmod(changes - offsets.repeat(pixels.starts), offsets.repeat(heights + 1))
    left, top = offsets.repeat(origins_xy).T
    transitions = (column + left) * offsets.repeat(sizes_hw[:, 0]) + row + top
    return run_lengths_from_transitions(transitions, offsets, sizes_hw[:, 0] * sizes_hw[:, 1])


def canonical_run_lengths(
    run_lengths: NDArray[np.int64], offsets: RaggedOffsets
) -> tuple[NDArray[np.int64], RaggedOffsets]:
    """The shortest run lengths of the same pixels: only the first, of background, may be 0.

    Args:
        run_lengths: ``(n,)`` of all masks, at least one each.
        offsets: of the run lengths of each mask.

    Returns:
        ``(m,)`` run lengths and the offsets of each mask's.
    """
    ends = np.cumsum(run_lengths)
    ends -= offsets.repeat(ends[offsets.starts] - run_lengths[offsets.starts])
    return run_lengths_from_transitions(ends, offsets, ends[offsets.ends - 1])


def run_lengths_from_transitions(
    transitions: NDArray[np.int64], offsets: RaggedOffsets, totals: NDArray[np.int64]
) -> tuple[NDArray[np.int64], RaggedOffsets]:
    """Canonical run lengths of masks, from the positions where their pixels change value.

    Args:
        transitions: ``(n,)`` column-major positions, ascending within each mask. Two at the same
            position cancel each other; those at the end of an image have no effect.
        offsets: of the transitions of each mask.
        totals: ``(len(offsets),)`` pixels of the images.

    Returns:
        ``(m,)`` ``int64`` run lengths of all masks and the offsets of each mask's.
    """
    is_new = np.empty(len(transitions), np.bool_)
    is_new[1:] = transitions[1:] != transitions[:-1]
    is_new[offsets.starts[offsets.sizes > 0]] = True
    first = np.flatnonzero(is_new)
    multiplicity = np.diff(first, append=len(transitions))
    mask_of_first = offsets.segment_ids()[first]
    kept = (multiplicity % 2 == 1) & (transitions[first] < totals[mask_of_first])

    # The last run of each mask ends with its image.
    lengths = RaggedOffsets(np.bincount(mask_of_first[kept], minlength=len(offsets)) + 1)
    ends = np.empty(lengths.total, np.int64)
    last = lengths.ends - 1
    inner = np.ones(lengths.total, np.bool_)
    inner[last] = False
    ends[inner] = transitions[first[kept]]
    ends[last] = totals
    run_lengths = np.diff(ends, prepend=0)
    run_lengths[lengths.starts] = ends[lengths.starts]
    return run_lengths, lengths


def foreground_runs(
    run_lengths: NDArray[np.int64], offsets: RaggedOffsets
) -> tuple[NDArray[np.int64], NDArray[np.int64], RaggedOffsets]:
    """First and last pixel of each run of set pixels.

    Args:
        run_lengths: ``(n,)`` of all masks.
        offsets: of the run lengths of each mask.

    Returns:
        ``(m,)`` column-major positions of the first pixels in their masks, ``(m,)`` of the last
        pixels, and the offsets of each mask's runs.
    """
    is_foreground = (offsets.local_index() % 2 == 1) & (run_lengths > 0)
    ends = np.cumsum(run_lengths)
    before = np.concatenate(([0], ends))[offsets.starts]
    runs_per_mask = RaggedOffsets(offsets.count(is_foreground))
    lasts = ends[is_foreground] - runs_per_mask.repeat(before) - 1
    return lasts - run_lengths[is_foreground] + 1, lasts, runs_per_mask


def _columns(crop: Mask) -> Mask:
    """The transpose of a crop, in C order."""
    return crop.T if crop.strides[0] == 1 else _transposed(crop)


def _transposed(pixels: Mask) -> Mask:
    # OpenCV transposes in blocks that fit the cache: ten times faster than copying a numpy view.
    transposed: NDArray[np.uint8] = cv2.transpose(pixels.view(np.uint8))
    return transposed.view(np.bool_)
