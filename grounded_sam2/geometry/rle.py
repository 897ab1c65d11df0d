"""Run-length encoded masks, in COCO's compressed form: what a mask is between two steps.

Everything works on the runs or on the part of the image that the mask covers, never on a stack
of dense masks, so that a small object in a large image costs what the object costs. The bytes
equal pycocotools', which computes the IoU here and is what the tests compare with.

Many masks are handled at once: the functions of this module cost a tenth, mask for mask, of the
methods of `Rle` called one by one.
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

Mask = NDArray[np.bool_]

_CHUNK = 32
"""Dense masks to encode at once: many enough to share the calls, few enough for the cache."""


@dataclass(frozen=True, slots=True)
class Rle:
    """One mask of ``(h, w)`` pixels: column-major runs, COCO-compressed.

    Two masks with the same pixels are equal and hash alike as long as both come from `encode`,
    `encode_crop` or `from_coco`, which write the shortest runs.
    """

    size_hw: tuple[int, int]
    counts: bytes

    @property
    def area(self) -> int:
        """Number of set pixels."""
        return int(self.run_lengths()[1::2].sum())

    @property
    def bbox_xyxy(self) -> tuple[float, float, float, float]:
        """Extent of the set pixels, half-open; ``(0, 0, 0, 0)`` for an empty mask."""
        left, top, right, bottom = bounding_boxes([self])[0].tolist()
        return left, top, right, bottom

    def run_lengths(self) -> NDArray[np.int64]:
        """Lengths of the runs in column-major order, background first; ``(n,)`` ``int64``.

        Raises:
            GeometryError: the counts are damaged or do not fill the mask's size.
        """
        return decode_run_lengths([self])[0]

    def decode(self) -> Mask:
        """The dense mask: ``(h, w)`` ``bool``, C order.

        Raises:
            GeometryError: as `runs`.
        """
        return decode([self])[0]

    def decode_crop(self) -> tuple[Mask, tuple[int, int]]:
        """The dense mask within its bounding box, and where that box begins.

        Returns:
            ``(bottom - top, right - left)`` ``bool`` in C order and ``(left, top)`` in pixels;
            ``(0, 0)`` ``bool`` at ``(0, 0)`` for an empty mask.

        Raises:
            GeometryError: as `runs`.
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
        except (KeyError, TypeError, ValueError) as error:
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
        runs = cls((height, width), counts).run_lengths()
        return cls(
            (height, width),
            compress_counts_batch(*canonical_run_lengths(runs, RaggedOffsets([len(runs)])))[0],
        )


def encode(masks: Mask) -> list[Rle]:
    """Encode dense masks.

    Args:
        masks: ``(n, h, w)`` or ``(h, w)`` ``bool``, any memory order.

    Returns:
        One `Rle` per mask, in order; ``[]`` for ``n == 0``.

    Raises:
        GeometryError: another dtype, number of axes or an image without pixels.
    """
    stack = masks[None] if masks.ndim == 2 else masks
    if stack.ndim != 3:
        raise GeometryError(f"masks of shape {masks.shape}: expected (n, h, w) or (h, w)")
    height, width = stack.shape[1:]
    found = []
    for start in range(0, len(stack), _CHUNK):
        crops, origins = [], []
        for mask in stack[start : start + _CHUNK]:
            _check_mask(mask)
            crop, origin = crop_to_bounding_box(mask)
            crops.append(crop)
            origins.append(origin)
        found += encode_crops(crops, origins, [(height, width)] * len(crops))
    return found


def encode_crop(crop: Mask, origin_xy: tuple[int, int], size_hw: tuple[int, int]) -> Rle:
    """Encode a mask of which only a part is given; the rest is background.

    Args:
        crop: ``(ch, cw)`` ``bool``, any memory order; may be empty.
        origin_xy: column and row of the crop's first pixel in the image.
        size_hw: height and width of the image.

    Raises:
        GeometryError: wrong dtype or axes, or the crop reaches outside the image.
    """
    return encode_crops([crop], [origin_xy], [size_hw])[0]


def encode_crops(
    crops: Sequence[Mask],
    origins_xy: Sequence[tuple[int, int]],
    sizes_hw: Sequence[tuple[int, int]],
) -> list[Rle]:
    """`encode_crop` for many crops, of any images: ``[]`` for none."""
    for crop, origin_xy, size_hw in zip(crops, origins_xy, sizes_hw, strict=True):
        _check_mask(crop)
        _check_size(size_hw)
        _check_inside(crop.shape, origin_xy, size_hw)
    runs, masks = run_lengths_from_crops(
        crops,
        np.array(origins_xy, np.int64).reshape(-1, 2),
        np.array(sizes_hw, np.int64).reshape(-1, 2),
    )
    counts = compress_counts_batch(runs, masks)
    return [Rle(size_hw, each) for size_hw, each in zip(sizes_hw, counts, strict=True)]


def rectangle(corners_xyxy: tuple[int, int, int, int], size_hw: tuple[int, int]) -> Rle:
    """The mask of all pixels of a box; half-open, so that no width or height is an empty mask.

    Raises:
        GeometryError: the box reaches outside the image, or is turned inside out.
    """
    left, top, right, bottom = corners_xyxy
    _check_size(size_hw)
    _check_inside((bottom - top, right - left), (left, top), size_hw)
    if right < left or bottom < top:
        raise GeometryError(f"box {corners_xyxy}: is turned inside out; give left, top first")
    columns = np.arange(left, right if bottom > top else left) * size_hw[0]
    changes = np.stack((columns + top, columns + bottom), axis=1).ravel()
    return _from_changes(changes, size_hw)


def paste(mask: Rle, origin_xy: tuple[int, int], size_hw: tuple[int, int]) -> Rle:
    """Put the mask of a window into the image that the window was cut from.

    Only run lengths are touched, so that the size of the image costs nothing.

    Args:
        mask: of the window's size.
        origin_xy: column and row of the window's first pixel in the image.
        size_hw: height and width of the image; outside the window all is background.

    Raises:
        GeometryError: the window reaches outside the image, or the mask is damaged.
    """
    _check_size(size_hw)
    _check_inside(mask.size_hw, origin_xy, size_hw)
    height, (left, top), window_height = size_hw[0], origin_xy, mask.size_hw[0]
    runs = mask.run_lengths()
    ends = np.cumsum(runs)[1::2]
    begins = (ends - runs[1::2])[runs[1::2] > 0]
    ends = ends[runs[1::2] > 0]
    # A run may go on in the next column of the window, which is elsewhere in the image: one
    # piece for each column that it touches.
    first = begins // window_height
    pieces = (ends - 1) // window_height - first + 1
    nth = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    column = np.repeat(first, pieces) + nth
    begin_row = np.maximum(np.repeat(begins, pieces) - column * window_height, 0)
    end_row = np.minimum(np.repeat(ends, pieces) - column * window_height, window_height)
    at = (column + left) * height + top
    changes = np.stack((at + begin_row, at + end_row), axis=1).ravel()
    return _from_changes(changes, size_hw)


def decode(masks: Sequence[Rle], size_hw: tuple[int, int] | None = None) -> Mask:
    """Decode masks of one image into a dense stack.

    Args:
        masks: all of one size.
        size_hw: that size; needed only to give an empty answer its shape.

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
    """The dense masks within their bounding boxes, whatever images they are of.

    Raises:
        GeometryError: a mask is damaged.
    """
    runs, spans = decode_run_lengths(masks)
    sizes = image_sizes(masks)
    return crops_from_run_lengths(
        runs, spans, sizes, boxes_from_run_lengths(runs, spans, sizes[:, 0])
    )


def decode_crops_in_batches(
    masks: Sequence[Rle], *, max_masks: int = 1024, max_pixels: int = 2**22
) -> Iterator[tuple[Sequence[Rle], MaskCrops]]:
    """`decode_crops` batch by batch, in order, whatever images the masks are of.

    Memory holds one batch, however many masks there are. The defaults let as many masks share
    the numpy calls as fit the cache.

    Args:
        masks: may be empty.
        max_masks: masks of a batch, at most.
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
    """Run lengths of all masks, one mask behind another, and where each one's are.

    Raises:
        GeometryError: as `Rle.runs`.
    """
    runs, spans = decompress_counts_batch([mask.counts for mask in masks])
    totals = spans.sum(runs)
    wanted = np.array([mask.size_hw[0] * mask.size_hw[1] for mask in masks], np.int64)
    good = (totals == wanted) & (spans.count(runs < 0) == 0)
    if not good.all():
        index = int(np.argmin(good))
        height, width = masks[index].size_hw
        raise GeometryError(
            f"RLE of size {height}×{width}: its runs cover {totals[index]} pixels instead of "
            f"{height * width}; size and counts must come from the same mask"
        )
    return runs, spans


def image_sizes(masks: Sequence[Rle]) -> NDArray[np.int64]:
    """Heights and widths of the masks' images: ``(n, 2)``."""
    return np.array([mask.size_hw for mask in masks], np.int64).reshape(-1, 2)


def areas(masks: Sequence[Rle]) -> NDArray[np.int64]:
    """Numbers of set pixels: ``(n,)`` ``int64``, ``(0,)`` for no masks."""
    runs, spans = decode_run_lengths(masks)
    return spans.sum(np.where(spans.local_index() % 2 == 1, runs, 0))


def bounding_boxes(masks: Sequence[Rle]) -> NDArray[np.float64]:
    """Extents of the set pixels: ``(n, 4)`` xyxy, half-open; ``(0, 4)`` for no masks.

    An empty mask gives ``(0, 0, 0, 0)``.
    """
    return boxes_from_run_lengths(*decode_run_lengths(masks), image_sizes(masks)[:, 0]).astype(
        np.float64
    )


def _from_changes(changes: NDArray[np.int64], size_hw: tuple[int, int]) -> Rle:
    """The mask that changes between background and set pixels at these places."""
    total = np.array([size_hw[0] * size_hw[1]])
    return Rle(
        size_hw,
        compress_counts_batch(
            *run_lengths_from_transitions(changes, RaggedOffsets([len(changes)]), total)
        )[0],
    )


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


def _check_inside(
    window_hw: tuple[int, ...], origin_xy: tuple[int, int], size_hw: tuple[int, int]
) -> None:
    (height, width), (left, top) = size_hw, origin_xy
    if min(left, top) < 0 or left + window_hw[1] > width or top + window_hw[0] > height:
        raise GeometryError(
            f"crop of {window_hw[0]}×{window_hw[1]} at x={left}, y={top}: "
            f"reaches outside the image of {height}×{width}"
        )


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
