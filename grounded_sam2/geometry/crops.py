"""Between runs and pixels, in the part of the image that a mask covers.

Runs are lengths in column-major order, background first, those of many masks one behind another.
Whatever is done here costs what the masks' bounding boxes cost, not what their images cost.
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


@dataclass(frozen=True, slots=True, eq=False)
class MaskCrops:
    """Masks within their bounding boxes."""

    pixels: list[Mask]
    """``(h, w)`` ``bool`` in C order each; ``(0, 0)`` for an empty mask."""
    origins_xy: NDArray[np.int64]
    """``(n, 2)`` left and top of the boxes; 0 for an empty mask."""
    sizes_hw: NDArray[np.int64]
    """``(n, 2)`` of the boxes."""
    images_hw: NDArray[np.int64]
    """``(n, 2)`` heights and widths of the images."""
    areas: NDArray[np.int64]
    """``(n,)`` set pixels."""
    rooms: RaggedOffsets
    """Where the pixels of each crop are, if all crops lie one behind another, column by column."""
    changes: NDArray[np.int64]
    """``(m,)`` the places in there where runs of set pixels begin and end, by turns."""
    of_mask: RaggedOffsets
    """Where the changes of each mask are."""

    def __len__(self) -> int:
        return len(self.pixels)


def boxes_from_run_lengths(
    runs: NDArray[np.int64], masks: RaggedOffsets, heights: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Bounding boxes of the set pixels.

    Args:
        runs: ``(n,)`` of all masks.
        masks: where the runs of each mask are.
        heights: ``(len(masks),)`` of their images.

    Returns:
        ``(len(masks), 4)`` left, top, right, bottom, half-open; zeros for an empty mask.
    """
    boxes = np.zeros((len(masks), 4), np.int64)
    starts, lasts, sets = foreground_runs(runs, masks)
    shown = sets.sizes > 0
    if not shown.any():
        return boxes
    height = sets.repeat(heights)
    first_column, first_row = np.divmod(starts, height)
    last_column, last_row = np.divmod(lasts, height)
    passes_on = first_column != last_column  # and so touches both borders
    begin, end = sets.starts[shown], sets.ends[shown] - 1
    boxes[shown, 0] = first_column[begin]
    boxes[shown, 1] = np.minimum.reduceat(np.where(passes_on, 0, first_row), begin)
    boxes[shown, 2] = last_column[end] + 1
    boxes[shown, 3] = np.maximum.reduceat(np.where(passes_on, height - 1, last_row), begin) + 1
    return boxes


def crops_from_run_lengths(
    runs: NDArray[np.int64],
    masks: RaggedOffsets,
    images_hw: NDArray[np.int64],
    boxes: NDArray[np.int64],
) -> MaskCrops:
    """Masks within their bounding boxes.

    Args:
        runs, masks: as for `boxes_from_run_lengths`.
        images_hw: ``(len(masks), 2)`` heights and widths of their images.
        boxes: what `boxes_from_run_lengths` says of them.
    """
    origins_xy, widths_heights = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    rooms = RaggedOffsets(widths_heights.prod(axis=1))
    starts, lasts, sets = foreground_runs(runs, masks)
    height, crop_height = sets.repeat(images_hw[:, 0]), sets.repeat(widths_heights[:, 1])
    left, top = sets.repeat(origins_xy).T
    # Where each run begins and ends, if columns had only the rows of the box.
    changes = np.empty((len(starts), 2), np.int64)
    for side, place in enumerate((starts, lasts)):
        column, row = np.divmod(place, height)
        changes[:, side] = (column - left) * crop_height + row - top + side
    changes += sets.repeat(rooms.starts)[:, None]

    lengths = RaggedOffsets.from_ends(np.append(changes, rooms.total)).sizes
    flat = (np.arange(len(lengths)) % 2 == 1).repeat(lengths)
    pixels = [
        _transposed(columns.reshape(width, height)) if columns.size else np.zeros((0, 0), np.bool_)
        for columns, (width, height) in zip(rooms.split(flat), widths_heights.tolist(), strict=True)
    ]
    return MaskCrops(
        pixels=pixels,
        origins_xy=origins_xy,
        sizes_hw=widths_heights[:, ::-1],
        images_hw=images_hw,
        areas=sets.sum(lasts + 1 - starts),
        rooms=rooms,
        changes=changes.ravel(),
        of_mask=RaggedOffsets(2 * sets.sizes),
    )


def crop_to_bounding_box(mask: Mask) -> tuple[Mask, tuple[int, int]]:
    """The part of a mask within its bounding box, and where that begins.

    Returns:
        ``(h, w)`` ``bool`` with contiguous columns, and ``(left, top)``; ``(0, 0)`` at ``(0, 0)``
        for an empty mask.
    """
    columns = np.flatnonzero(mask.any(axis=0))
    if not columns.size:
        return mask[:0, :0], (0, 0)
    left, right = int(columns[0]), int(columns[-1]) + 1
    # Looking along rows is slow; of the columns that are left, it is cheaper to turn them first.
    turned = _columns(mask[:, left:right])
    rows = np.flatnonzero(turned.any(axis=0))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    return turned[:, top:bottom].T, (left, top)


def run_lengths_from_crops(
    crops: Sequence[Mask],
    origins_xy: NDArray[np.int64],
    sizes_hw: NDArray[np.int64],
) -> tuple[NDArray[np.int64], RaggedOffsets]:
    """The runs of masks of which only a part is given; the rest is background.

    Args:
        crops: ``(h, w)`` ``bool`` each, within its image; may be empty.
        origins_xy: ``(len(crops), 2)`` column and row of each crop's first pixel.
        sizes_hw: ``(len(crops), 2)`` heights and widths of the images.

    Returns:
        ``(n,)`` ``int64`` runs of all masks, none empty but for a first one of background, and
        where each mask's are.
    """
    # A background pixel ends every column, and one is before the first, so that no run crosses
    # from one to the next and a change between neighbors in memory is the begin or the end of a
    # run.
    shapes = np.array([crop.shape for crop in crops], np.int64).reshape(-1, 2)
    heights, widths = shapes.T
    pixels = RaggedOffsets((heights + 1) * widths)
    padded = np.zeros(1 + pixels.total, np.bool_)
    for crop, room in zip(crops, pixels.split(padded[1:]), strict=True):
        if crop.size:
            room.reshape(crop.shape[1], -1)[:, :-1] = _columns(crop)
    changes = np.flatnonzero(padded[1:] != padded[:-1])
    bounds = RaggedOffsets.from_ends(np.searchsorted(changes, pixels.ends))
    column, row = np.divmod(changes - bounds.repeat(pixels.starts), bounds.repeat(heights + 1))
    left, top = bounds.repeat(origins_xy).T
    places = (column + left) * bounds.repeat(sizes_hw[:, 0]) + row + top
    return run_lengths_from_transitions(places, bounds, sizes_hw[:, 0] * sizes_hw[:, 1])


def canonical_run_lengths(
    runs: NDArray[np.int64], masks: RaggedOffsets
) -> tuple[NDArray[np.int64], RaggedOffsets]:
    """The same pixels without empty runs, except for a first one of background.

    Args:
        runs: ``(n,)`` of all masks, at least one run each.
        masks: where the runs of each mask are.
    """
    ends = np.cumsum(runs)
    ends -= masks.repeat(ends[masks.starts] - runs[masks.starts])
    return run_lengths_from_transitions(ends, masks, ends[masks.ends - 1])


def run_lengths_from_transitions(
    places: NDArray[np.int64], masks: RaggedOffsets, totals: NDArray[np.int64]
) -> tuple[NDArray[np.int64], RaggedOffsets]:
    """The shortest runs of masks that change between background and set pixels at these places.

    Args:
        places: ``(n,)`` in order. Changes in one place cancel each other; at the end of an image
            nothing changes.
        masks: where the places of each mask are.
        totals: ``(len(masks),)`` pixels of the images.
    """
    new = np.empty(len(places), np.bool_)
    new[1:] = places[1:] != places[:-1]
    new[masks.starts[masks.sizes > 0]] = True
    first = np.flatnonzero(new)
    times = np.diff(first, append=len(places))
    owner = masks.segment_ids()[first]
    kept = (times % 2 == 1) & (places[first] < totals[owner])

    # Each mask's last run ends with its image.
    spans = RaggedOffsets(np.bincount(owner[kept], minlength=len(masks)) + 1)
    ends = np.empty(spans.total, np.int64)
    last = spans.ends - 1
    inner = np.ones(spans.total, np.bool_)
    inner[last] = False
    ends[inner] = places[first[kept]]
    ends[last] = totals
    runs = np.diff(ends, prepend=0)
    runs[spans.starts] = ends[spans.starts]
    return runs, spans


def foreground_runs(
    runs: NDArray[np.int64], masks: RaggedOffsets
) -> tuple[NDArray[np.int64], NDArray[np.int64], RaggedOffsets]:
    """First and last pixel of each run of set pixels, in its mask, and where each mask's are.

    Args:
        runs, masks: as for `boxes_from_run_lengths`.
    """
    chosen = (masks.local_index() % 2 == 1) & (runs > 0)
    ends = np.cumsum(runs)
    before = np.concatenate(([0], ends))[masks.starts]
    sets = RaggedOffsets(masks.count(chosen))
    lasts = ends[chosen] - sets.repeat(before) - 1
    return lasts - runs[chosen] + 1, lasts, sets


def _columns(crop: Mask) -> Mask:
    """The columns of a crop as rows, in one piece each."""
    return crop.T if crop.strides[0] == 1 else _transposed(crop)


def _transposed(pixels: Mask) -> Mask:
    # OpenCV transposes in blocks that fit the cache: ten times faster than copying a numpy view.
    turned: NDArray[np.uint8] = cv2.transpose(pixels.view(np.uint8))
    return turned.view(np.bool_)
