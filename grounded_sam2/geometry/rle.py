"""Run-length encoded masks, in COCO's compressed form: what a mask is between two steps.

Everything works on the runs or on the part of the picture that the mask covers, never on a stack
of dense masks, so that a small object in a large picture costs what the object costs. The bytes
equal pycocotools', which computes the IoU here and is what the tests compare with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry.runs import pack, unpack

__all__ = [
    "Rle",
    "areas",
    "bounding_boxes",
    "containment",
    "decode",
    "encode",
    "encode_crop",
    "iou",
    "paste",
    "rectangle",
]


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
        return int(self.runs()[1::2].sum())

    @property
    def bbox_xyxy(self) -> tuple[float, float, float, float]:
        """Extent of the set pixels, half-open; ``(0, 0, 0, 0)`` for an empty mask."""
        left, top, right, bottom = _extent(self.runs(), self.size_hw[0])
        return float(left), float(top), float(right), float(bottom)

    def runs(self) -> NDArray[np.int64]:
        """Lengths of the runs in column-major order, background first; ``(n,)`` ``int64``.

        Raises:
            GeometryError: the counts are damaged or do not fill the mask's size.
        """
        height, width = self.size_hw
        runs = unpack(self.counts)
        total = int(runs.sum())
        if total != height * width or (runs < 0).any():
            raise GeometryError(
                f"RLE of size {height}×{width}: its runs cover {total} pixels instead of "
                f"{height * width}; size and counts must come from the same mask"
            )
        return runs

    def decode(self) -> NDArray[np.bool_]:
        """The dense mask: ``(h, w)`` ``bool``, C order.

        Raises:
            GeometryError: as `runs`.
        """
        height, width = self.size_hw
        return _transposed(_fill(self.runs()).reshape(width, height))

    def decode_crop(self) -> tuple[NDArray[np.bool_], tuple[int, int]]:
        """The dense mask within its bounding box, and where that box begins.

        Returns:
            ``(bottom - top, right - left)`` ``bool`` in C order and ``(left, top)`` in pixels;
            ``(0, 0)`` ``bool`` at ``(0, 0)`` for an empty mask.

        Raises:
            GeometryError: as `runs`.
        """
        height = self.size_hw[0]
        runs = self.runs()
        left, top, right, bottom = _extent(runs, height)
        if right == left:
            return np.zeros((0, 0), np.bool_), (0, 0)
        ends = np.clip(np.cumsum(runs), left * height, right * height)
        columns = _fill(np.diff(ends, prepend=left * height)).reshape(right - left, height)
        return _transposed(columns[:, top:bottom]), (left, top)

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
                counts = pack(np.asarray(counts, np.int64).reshape(-1))
        except (TypeError, ValueError, OverflowError) as error:
            raise GeometryError(
                f"COCO counts {str(counts)[:40]!r}: neither compressed text nor run lengths"
            ) from error
        runs = cls((height, width), counts).runs()
        return cls((height, width), pack(_shortest(runs)))


def encode(masks: NDArray[np.bool_]) -> list[Rle]:
    """Encode dense masks.

    Args:
        masks: ``(n, h, w)`` or ``(h, w)`` ``bool``, any memory order.

    Returns:
        One `Rle` per mask, in order; ``[]`` for ``n == 0``.

    Raises:
        GeometryError: another dtype, number of axes or a picture without pixels.
    """
    stack = masks[None] if masks.ndim == 2 else masks
    if stack.ndim != 3:
        raise GeometryError(f"masks of shape {masks.shape}: expected (n, h, w) or (h, w)")
    height, width = stack.shape[1:]
    return [encode_crop(mask, (0, 0), (height, width)) for mask in stack]


def encode_crop(
    crop: NDArray[np.bool_], origin_xy: tuple[int, int], size_hw: tuple[int, int]
) -> Rle:
    """Encode a mask of which only a part is given; the rest is background.

    Args:
        crop: ``(ch, cw)`` ``bool``, any memory order; may be empty.
        origin_xy: column and row of the crop's first pixel in the picture.
        size_hw: height and width of the picture.

    Raises:
        GeometryError: wrong dtype or axes, or the crop reaches outside the picture.
    """
    if crop.dtype != np.bool_ or crop.ndim != 2:
        raise GeometryError(
            f"mask of dtype {crop.dtype} and shape {crop.shape}: expected bool (h, w); "
            "threshold it first"
        )
    _check_size(size_hw)
    _check_inside(crop.shape, origin_xy, size_hw)
    (height, width), (left, top) = size_hw, origin_xy
    rows = np.flatnonzero(crop.any(axis=1))
    if not rows.size:
        return Rle(size_hw, pack(np.array([height * width])))
    inner = crop[rows[0] : rows[-1] + 1]
    columns = np.flatnonzero(inner.any(axis=0))
    inner = inner[:, columns[0] : columns[-1] + 1]
    # A background pixel ends every column, so that no run crosses from one to the next and a
    # change between neighbours in memory is the begin or the end of a run.
    inner_height, inner_width = inner.shape
    padded = np.zeros((inner_width, inner_height + 1), np.bool_)
    padded[:, :-1] = _transposed(inner)
    changes = np.flatnonzero(np.diff(padded.ravel(), prepend=False))
    column, row = np.divmod(changes, inner_height + 1)
    bounds = (column + left + columns[0]) * height + row + top + rows[0]
    return Rle(size_hw, pack(_shortest(np.diff(bounds, prepend=0, append=height * width))))


def rectangle(corners_xyxy: tuple[int, int, int, int], size_hw: tuple[int, int]) -> Rle:
    """The mask of all pixels of a box; half-open, so that no width or height is an empty mask.

    Raises:
        GeometryError: the box reaches outside the picture, or is turned inside out.
    """
    left, top, right, bottom = corners_xyxy
    _check_size(size_hw)
    _check_inside((bottom - top, right - left), (left, top), size_hw)
    if right < left or bottom < top:
        raise GeometryError(f"box {corners_xyxy}: is turned inside out; give left, top first")
    columns = np.arange(left, right if bottom > top else left) * size_hw[0]
    bounds = np.stack((columns + top, columns + bottom), axis=1).ravel()
    total = size_hw[0] * size_hw[1]
    return Rle(size_hw, pack(_shortest(np.diff(bounds, prepend=0, append=total))))


def paste(mask: Rle, origin_xy: tuple[int, int], size_hw: tuple[int, int]) -> Rle:
    """Put the mask of a window into the picture that the window was cut from.

    Only run lengths are touched, so that the size of the picture costs nothing.

    Args:
        mask: of the window's size.
        origin_xy: column and row of the window's first pixel in the picture.
        size_hw: height and width of the picture; outside the window all is background.

    Raises:
        GeometryError: the window reaches outside the picture, or the mask is damaged.
    """
    _check_size(size_hw)
    _check_inside(mask.size_hw, origin_xy, size_hw)
    (height, width), (left, top), window_height = size_hw, origin_xy, mask.size_hw[0]
    runs = mask.runs()
    ends = np.cumsum(runs)[1::2]
    begins = (ends - runs[1::2])[runs[1::2] > 0]
    ends = ends[runs[1::2] > 0]
    # A run may go on in the next column of the window, which is elsewhere in the picture: one
    # piece for each column that it touches.
    first = begins // window_height
    pieces = (ends - 1) // window_height - first + 1
    nth = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    column = np.repeat(first, pieces) + nth
    begin_row = np.maximum(np.repeat(begins, pieces) - column * window_height, 0)
    end_row = np.minimum(np.repeat(ends, pieces) - column * window_height, window_height)
    at = (column + left) * height + top
    bounds = np.stack((at + begin_row, at + end_row), axis=1).ravel()
    return Rle(size_hw, pack(_shortest(np.diff(bounds, prepend=0, append=height * width))))


def decode(masks: Sequence[Rle], size_hw: tuple[int, int] | None = None) -> NDArray[np.bool_]:
    """Decode masks of one picture into a dense stack.

    Args:
        masks: all of one size.
        size_hw: that size; needed only to give an empty answer its shape.

    Returns:
        ``(n, h, w)`` ``bool``; ``(0, h, w)`` for no masks, ``(0, 0, 0)`` if no size is given.

    Raises:
        GeometryError: the sizes differ, or a mask is damaged.
    """
    height, width = _common_size(masks, size_hw)
    dense = np.zeros((len(masks), height, width), np.bool_)
    for target, mask in zip(dense, masks, strict=True):
        target[:] = mask.decode()
    return dense


def areas(masks: Sequence[Rle]) -> NDArray[np.int64]:
    """Numbers of set pixels: ``(n,)`` ``int64``, ``(0,)`` for no masks."""
    return np.array([mask.area for mask in masks], np.int64)


def bounding_boxes(masks: Sequence[Rle]) -> NDArray[np.float64]:
    """Extents of the set pixels: ``(n, 4)`` xyxy, half-open; ``(0, 4)`` for no masks.

    An empty mask gives ``(0, 0, 0, 0)``.
    """
    return np.array([mask.bbox_xyxy for mask in masks], np.float64).reshape(-1, 4)


def iou(a: Sequence[Rle], b: Sequence[Rle]) -> NDArray[np.float64]:
    """Intersection over union of every mask of `a` with every one of `b`.

    Returns:
        ``(len(a), len(b))`` ``float64``; an empty mask has IoU 0 with everything, also itself.

    Raises:
        GeometryError: the masks are not all of one size.
    """
    return _overlap(a, b, of_the_first=False)


def containment(a: Sequence[Rle], b: Sequence[Rle]) -> NDArray[np.float64]:
    """Share of every mask of `a` that lies in each one of `b`.

    Returns:
        ``(len(a), len(b))`` ``float64`` in [0, 1]; an empty mask lies in nothing.

    Raises:
        GeometryError: the masks are not all of one size.
    """
    return _overlap(a, b, of_the_first=True)


def _overlap(a: Sequence[Rle], b: Sequence[Rle], *, of_the_first: bool) -> NDArray[np.float64]:
    """Intersection of every pair, as a share of their union or of the first."""
    _common_size([*a, *b], None)
    if not a or not b:
        return np.zeros((len(a), len(b)))
    first, second = ([{"size": m.size_hw, "counts": m.counts} for m in masks] for masks in (a, b))
    # pycocotools divides by the area of the first where the second is marked as a crowd
    crowds = [int(of_the_first)] * len(b)
    return np.asarray(coco_mask.iou(first, second, crowds), np.float64)


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
            f"reaches outside the picture of {height}×{width}"
        )


def _common_size(masks: Sequence[Rle], size_hw: tuple[int, int] | None) -> tuple[int, int]:
    expected = size_hw or (masks[0].size_hw if masks else (0, 0))
    for mask in masks:
        if mask.size_hw != expected:
            raise GeometryError(
                f"masks of {expected[0]}×{expected[1]} and {mask.size_hw[0]}×{mask.size_hw[1]} "
                "pixels together: give masks of one picture"
            )
    return expected


def _extent(runs: NDArray[np.int64], height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the set pixels, half-open; zeros if there are none."""
    ends = np.cumsum(runs)
    filled = np.flatnonzero(runs[1::2]) * 2 + 1
    if not filled.size:
        return 0, 0, 0, 0
    first_column, first_row = np.divmod(ends[filled] - runs[filled], height)
    last_column, last_row = np.divmod(ends[filled] - 1, height)
    if (first_column != last_column).any():  # a run that passes on touches both borders
        top, bottom = 0, height
    else:
        top, bottom = int(first_row.min()), int(last_row.max()) + 1
    return int(first_column[0]), top, int(last_column[-1]) + 1, bottom


def _fill(runs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The pixels that the runs stand for, in column-major order: ``(runs.sum(),)`` ``bool``."""
    return np.repeat(np.arange(runs.size) % 2 == 1, runs)


def _shortest(runs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same pixels without empty runs, except for a first one of background."""
    if runs[1:].all():
        return runs
    ends = np.cumsum(runs)
    # An empty run lies between two bounds at the same place. Two such bounds cancel each other,
    # so the ones that stay are those that occur an odd number of times.
    places, times = np.unique(ends[:-1], return_counts=True)
    kept = places[(times % 2 == 1) & (places < ends[-1])]
    shortest: NDArray[np.int64] = np.diff(kept, prepend=0, append=ends[-1])
    return shortest


def _transposed(pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    # OpenCV transposes in blocks that fit the cache: ten times faster than copying a numpy view.
    turned: NDArray[np.uint8] = cv2.transpose(pixels.view(np.uint8))
    return turned.view(np.bool_)
