"""Run-length encoded masks in COCO's compressed form: the representation between processing steps.

All functions work on run lengths or on the part of the image that a mask covers, never on a stack
of dense masks, so that a small object in a large image costs what the object costs. The compressed
counts equal those of pycocotools byte for byte.

The functions of this module process many masks at once, at a tenth of the cost per mask of the
methods of `Rle`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry.compressed_counts import (
    compress_counts,
    compress_counts_batch,
    decompress_counts_batch,
)
from grounded_sam2.geometry.crops import (
    Mask,
    MaskCrops,
    boxes_from_run_lengths,
    canonical_run_lengths,
    crop_to_bounding_box,
    crops_from_run_lengths,
    run_lengths_from_crops,
    run_lengths_from_transitions,
)
from grounded_sam2.geometry.ragged import RaggedOffsets

__all__ = [
    "Rle",
    "areas",
    "bounding_boxes",
    "common_size",
    "decode",
    "decode_crops",
    "decode_crops_in_batches",
    "decode_run_lengths",
    "encode",
    "encode_crop",
    "encode_crops",
    "image_sizes",
    "paste",
    "rectangle",
]

_ENCODE_BATCH = 32
"""Dense masks encoded at once: enough to share the numpy calls, few enough for the cache."""


@dataclass(frozen=True, slots=True)
class Rle:
    """One mask of ``(h, w)`` pixels as COCO-compressed, column-major run lengths.

    Two masks with the same pixels are equal and have the same hash if both come from `encode`,
    `encode_crop` or `from_coco`, which write canonical (the shortest possible) run lengths.
    """

    size_hw: tuple[int, int]
    counts: bytes

    @property
    def area(self) -> int:
        """Number of set pixels."""
        return int(self.run_lengths()[1::2].sum())

    @property
    def bbox_xyxy(self) -> tuple[float, float, float, float]:
        """Bounding box of the set pixels, half-open; ``(0, 0, 0, 0)`` for an empty mask."""
        left, top, right, bottom = bounding_boxes([self])[0].tolist()
        return left, top, right, bottom

    def run_lengths(self) -> NDArray[np.int64]:
        """Run lengths in column-major order, background first: ``(n,)`` ``int64``.

        Raises:
            GeometryError: the counts are damaged or do not fill the mask's size.
        """
        return decode_run_lengths([self])[0]

    def decode(self) -> Mask:
        """The dense mask: ``(h, w)`` ``bool``, C order.

        Raises:
            GeometryError: as `run_lengths`.
        """
        return decode([self])[0]

    def decode_crop(self) -> tuple[Mask, tuple[int, int]]:
        """The dense mask within its bounding box, and the origin of that box.

        Returns:
            ``(bottom - top, right - left)`` ``bool`` in C order and ``(left, top)`` in pixels;
            ``(0, 0)`` ``bool`` at ``(0, 0)`` for an empty mask.

        Raises:
            GeometryError: as `run_lengths`.
        """
        crops = decode_crops([self])
        left, top = crops.origins_xy[0].tolist()
        return crops.pixels[0], (left, top)

    def to_coco(self) -> dict[str, Any]:
        """The ``segmentation`` of a COCO annotation: ``{"size": [h, w], "counts": str}``."""
        return {"size": list(self.size_hw), "counts": self.counts.decode("ascii")}

    @classmethod
    def from_coco(cls, segmentation: Mapping[str, Any]) -> Rle:
        """Read a COCO run-length segmentation.

        Args:
            segmentation: ``size`` ``[h, w]`` and ``counts``: compressed (``str`` or ``bytes``) or
                a list of run lengths.

        Raises:
            GeometryError: a key is missing, the size is not positive, or the counts are damaged
                or do not fill the size.
        """
        try:
            size, counts = segmentation["size"], segmentation["counts"]
            height, width = (int(number) for number in size)
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise GeometryError(
                f"COCO segmentation {str(segmentation)[:80]!r}: needs 'size' [h, w] and 'counts'"
            ) from error
        _check_size((height, width))
        try:
            if isinstance(counts, str):
                counts = counts.encode("ascii")
            elif not isinstance(counts, bytes):
                counts = compress_counts(np.asarray(counts, np.int64).reshape(-1))
        except (TypeError, ValueError, OverflowError) as error:
            raise GeometryError(
                f"COCO counts {str(counts)[:40]!r}: neither compressed text nor run lengths"
            ) from error
        run_lengths = cls((height, width), counts).run_lengths()
        shortest = canonical_run_lengths(run_lengths, RaggedOffsets([len(run_lengths)]))
        return cls((height, width), compress_counts_batch(*shortest)[0])


def encode(masks: Mask) -> list[Rle]:
    """Encode dense masks.

    Args:
        masks: ``(n, h, w)`` or ``(h, w)`` ``bool``, any memory order.

    Returns:
        One `Rle` per mask, in order; ``[]`` for ``n == 0``.

    Raises:
        GeometryError: another dtype or number of axes, or an image without pixels.
    """
    stack = masks[None] if masks.ndim == 2 else masks
    if stack.ndim != 3:
        raise GeometryError(f"masks of shape {masks.shape}: expected (n, h, w) or (h, w)")
    height, width = stack.shape[1:]
    encoded = []
    for start in range(0, len(stack), _ENCODE_BATCH):
        crops, origins = [], []
        for mask in stack[start : start + _ENCODE_BATCH]:
            _check_mask(mask)
            crop, origin = crop_to_bounding_box(mask)
            crops.append(crop)
            origins.append(origin)
        encoded += encode_crops(crops, origins, [(height, width)] * len(crops))
    return encoded


def encode_crop(crop: Mask, origin_xy: tuple[int, int], size_hw: tuple[int, int]) -> Rle:
    """Encode a mask that is given as a crop; the pixels outside are background.

    Args:
        crop: ``(ch, cw)`` ``bool``, any memory order; may be empty.
        origin_xy: column and row of the crop's first pixel in the image.
        size_hw: height and width of the image.

    Raises:
        GeometryError: wrong dtype or number of axes, or the crop extends beyond the image.
    """
    return encode_crops([crop], [origin_xy], [size_hw])[0]


def encode_crops(
    crops: Sequence[Mask],
    origins_xy: Sequence[tuple[int, int]],
    sizes_hw: Sequence[tuple[int, int]],
) -> list[Rle]:
    """`encode_crop` for many crops, each of its own image: ``[]`` for none."""
    for crop, origin_xy, size_hw in zip(crops, origins_xy, sizes_hw, strict=True):
        _check_mask(crop)
        _check_size(size_hw)
        _check_inside(crop.shape, origin_xy, size_hw)
    run_lengths, offsets = run_lengths_from_crops(
        crops,
        np.array(origins_xy, np.int64).reshape(-1, 2),
        np.array(sizes_hw, np.int64).reshape(-1, 2),
    )
    counts = compress_counts_batch(run_lengths, offsets)
    return [Rle(size_hw, each) for size_hw, each in zip(sizes_hw, counts, strict=True)]


def rectangle(corners_xyxy: tuple[int, int, int, int], size_hw: tuple[int, int]) -> Rle:
    """The mask of all pixels of a half-open box; empty for a box of width or height 0.

    Raises:
        GeometryError: the box extends beyond the image, or its corners are swapped.
    """
    left, top, right, bottom = corners_xyxy
    _check_size(size_hw)
    _check_inside((bottom - top, right - left), (left, top), size_hw)
    if right < left or bottom < top:
        raise GeometryError(f"box {corners_xyxy}: corners are swapped; give left, top first")
    column_starts = np.arange(left, right if bottom > top else left) * size_hw[0]
    transitions = np.stack((column_starts + top, column_starts + bottom), axis=1).ravel()
    return _encode_transitions(transitions, size_hw)


def paste(mask: Rle, origin_xy: tuple[int, int], size_hw: tuple[int, int]) -> Rle:
    """Paste the mask of a window into the image that the window was cut from.

    Works on run lengths alone, so that the cost does not depend on the size of the image.

    Args:
        mask: of the window's size.
        origin_xy: column and row of the window's first pixel in the image.
        size_hw: height and width of the image; the pixels outside the window are background.

    Raises:
        GeometryError: the window extends beyond the image, or the mask is damaged.
    """
    _check_size(size_hw)
    _check_inside(mask.size_hw, origin_xy, size_hw)
    height, (left, top), window_height = size_hw[0], origin_xy, mask.size_hw[0]
    run_lengths = mask.run_lengths()
    ends = np.cumsum(run_lengths)[1::2]
    begins = (ends - run_lengths[1::2])[run_lengths[1::2] > 0]
    ends = ends[run_lengths[1::2] > 0]
    # Columns that are adjacent in the window are not in the image: split runs at column borders.
    first_column = begins // window_height
    columns_per_run = RaggedOffsets((ends - 1) // window_height - first_column + 1)
    column = columns_per_run.repeat(first_column) + columns_per_run.local_index()
    column_start = column * window_height
    begin_row = np.maximum(columns_per_run.repeat(begins) - column_start, 0)
    end_row = np.minimum(columns_per_run.repeat(ends) - column_start, window_height)
    image_start = (column + left) * height + top
    transitions = np.stack((image_start + begin_row, image_start + end_row), axis=1).ravel()
    return _encode_transitions(transitions, size_hw)


def decode(masks: Sequence[Rle], size_hw: tuple[int, int] | None = None) -> Mask:
    """Decode masks of one image into a dense stack.

    Args:
        masks: all of one size.
        size_hw: that size; only needed for the shape of the result if there are no masks.

    Returns:
        ``(n, h, w)`` ``bool``; ``(0, h, w)`` for no masks, ``(0, 0, 0)`` if no size is given.

    Raises:
        GeometryError: the sizes differ, or a mask is damaged.
    """
    height, width = common_size(masks, size_hw)
    dense = np.zeros((len(masks), height, width), np.bool_)
    crops = decode_crops(masks)
    for target, crop, (left, top) in zip(
        dense, crops.pixels, crops.origins_xy.tolist(), strict=True
    ):
        target[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
    return dense


def decode_crops(masks: Sequence[Rle]) -> MaskCrops:
    """Decode masks within their bounding boxes; each may be of its own image.

    Raises:
        GeometryError: a mask is damaged.
    """
    run_lengths, offsets = decode_run_lengths(masks)
    sizes = image_sizes(masks)
    boxes = boxes_from_run_lengths(run_lengths, offsets, sizes[:, 0])
    return crops_from_run_lengths(run_lengths, offsets, sizes, boxes)


def decode_crops_in_batches(
    masks: Sequence[Rle], *, max_masks: int = 1024, max_pixels: int = 2**22
) -> Iterator[tuple[Sequence[Rle], MaskCrops]]:
    """`decode_crops` in batches, in order, which bounds the memory for any number of masks.

    Args:
        masks: may be empty.
        max_masks: masks per batch, at most. The defaults of both limits let as many masks share
            the numpy calls as fit the cache.
        max_pixels: pixels of all crops of a batch, at most; a larger mask is a batch of its own.

    Yields:
        The masks of a batch and their crops.

    Raises:
        GeometryError: a mask is damaged.
    """
    for first in range(0, len(masks), max_masks):
        candidates = masks[first : first + max_masks]
        run_lengths, offsets = decode_run_lengths(candidates)
        sizes = image_sizes(candidates)
        boxes = boxes_from_run_lengths(run_lengths, offsets, sizes[:, 0])
        pixels = np.cumsum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
        start = 0
        while start < len(candidates):
            before = pixels[start - 1] if start else 0
            end = max(int(np.searchsorted(pixels, before + max_pixels, "right")), start + 1)
            crops = crops_from_run_lengths(
                run_lengths[offsets.starts[start] : offsets.ends[end - 1]],
                RaggedOffsets(offsets.sizes[start:end]),
                sizes[start:end],
                boxes[start:end],
            )
            yield candidates[start:end], crops
            start = end


def decode_run_lengths(masks: Sequence[Rle]) -> tuple[NDArray[np.int64], RaggedOffsets]:
    """Run lengths of all masks, concatenated, and the offsets of each mask's.

    Raises:
        GeometryError: as `Rle.run_lengths`.
    """
    run_lengths, offsets = decompress_counts_batch([mask.counts for mask in masks])
    totals = offsets.sum(run_lengths)
    expected = np.array([mask.size_hw[0] * mask.size_hw[1] for mask in masks], np.int64)
    valid = (totals == expected) & (offsets.count(run_lengths < 0) == 0)
    if not valid.all():
        index = int(np.argmin(valid))
        height, width = masks[index].size_hw
        raise GeometryError(
            f"RLE of size {height}×{width}: its run lengths cover {totals[index]} pixels instead "
            f"of {height * width}, or one is negative; size and counts must come from the same mask"
        )
    return run_lengths, offsets


def image_sizes(masks: Sequence[Rle]) -> NDArray[np.int64]:
    """Heights and widths of the masks' images: ``(n, 2)``; ``(0, 2)`` for no masks."""
    return np.array([mask.size_hw for mask in masks], np.int64).reshape(-1, 2)


def common_size(masks: Sequence[Rle], size_hw: tuple[int, int] | None = None) -> tuple[int, int]:
    """Height and width that all masks have.

    Args:
        masks: may be empty.
        size_hw: the expected size; ``None`` for that of the first mask.

    Returns:
        The size; ``(0, 0)`` if there are no masks and no expected size.

    Raises:
        GeometryError: a mask has another size.
    """
    expected = size_hw or (masks[0].size_hw if masks else (0, 0))
    for mask in masks:
        if mask.size_hw != expected:
            raise GeometryError(
                f"masks of {expected[0]}×{expected[1]} and {mask.size_hw[0]}×{mask.size_hw[1]} "
                "pixels together: give masks of one image"
            )
    return expected


def areas(masks: Sequence[Rle]) -> NDArray[np.int64]:
    """Numbers of set pixels: ``(n,)`` ``int64``; ``(0,)`` for no masks."""
    run_lengths, offsets = decode_run_lengths(masks)
    return offsets.sum(np.where(offsets.local_index() % 2 == 1, run_lengths, 0))


def bounding_boxes(masks: Sequence[Rle]) -> NDArray[np.float64]:
    """Bounding boxes of the set pixels: ``(n, 4)`` xyxy, half-open; ``(0, 4)`` for no masks.

    The box of an empty mask is ``(0, 0, 0, 0)``.
    """
    run_lengths, offsets = decode_run_lengths(masks)
    boxes = boxes_from_run_lengths(run_lengths, offsets, image_sizes(masks)[:, 0])
    return boxes.astype(np.float64)


def _encode_transitions(transitions: NDArray[np.int64], size_hw: tuple[int, int]) -> Rle:
    """The mask whose pixels change value at these column-major positions."""
    offsets, total = RaggedOffsets([len(transitions)]), np.array([size_hw[0] * size_hw[1]])
    run_lengths, _ = run_lengths_from_transitions(transitions, offsets, total)
    return Rle(size_hw, compress_counts(run_lengths))


def _check_mask(mask: Mask) -> None:
    if mask.dtype != np.bool_ or mask.ndim != 2:
        raise GeometryError(
            f"mask of dtype {mask.dtype} and shape {mask.shape}: expected bool (h, w); "
            "threshold it first"
        )


def _check_size(size_hw: tuple[int, int]) -> None:
    height, width = size_hw
    if height < 1 or width < 1:
        raise GeometryError(f"mask of {height}×{width} pixels: both sides must be at least 1")
    if height * width > np.iinfo(np.int64).max:
        raise GeometryError(f"mask of {height}×{width} pixels: larger than any image")


def _check_inside(
    window_hw: tuple[int, ...], origin_xy: tuple[int, int], size_hw: tuple[int, int]
) -> None:
    (height, width), (left, top) = size_hw, origin_xy
    if min(left, top) < 0 or left + window_hw[1] > width or top + window_hw[0] > height:
        raise GeometryError(
            f"crop of {window_hw[0]}×{window_hw[1]} at x={left}, y={top}: "
            f"reaches outside the image of {height}×{width}"
        )
