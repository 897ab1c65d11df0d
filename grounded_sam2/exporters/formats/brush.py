"""Masks as Label Studio's brush has them: the pixels of an RGBA image, run-length packed in bits.

A header gives the number of bytes packed (32 bits), the bits of a value less 1 (5 bits), and four
possible widths of a run's length, less 1 (4 bits each). Then follow runs: a set bit, which of the
four widths, the length less 1 in that width, and the value. Each pixel of the mask is four bytes of
255, each other one four of 0, row by row.

Scheme: https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.exporters.objects import row_major_counts
from grounded_sam2.geometry.rle import Rle

__all__ = ["brush_rles"]

_CHANNELS = 4
_VALUE_BITS = 8
_WIDTHS = np.array([3, 4, 8, 16])
_LONGEST = 2**16
_TAG_BITS = 3
"""Of a run: the bit that says it is one, and two for the width of its length."""


def brush_rles(masks: Sequence[Rle]) -> list[list[int]]:
    """The bytes of ``value.rle`` of each mask: integers from 0 to 255."""
    return [
        _packed(lengths * _CHANNELS, mask.size_hw)
        for mask, lengths in zip(masks, row_major_counts(masks), strict=True)
    ]


def _packed(lengths: NDArray[np.int64], size_hw: tuple[int, int]) -> list[int]:
    height, width = size_hw
    values = 255 * (np.arange(len(lengths)) % 2)
    lengths, values = _in_pieces(lengths, values)

    choice = np.searchsorted(2**_WIDTHS, lengths)
    length_bits = _WIDTHS[choice]
    runs = (((0b100 | choice) << length_bits | (lengths - 1)) << _VALUE_BITS) | values
    header = [height * width * _CHANNELS, _VALUE_BITS - 1, *(_WIDTHS - 1)]
    bits = _bits(
        np.concatenate((header, runs)),
        np.concatenate(([32, 5, 4, 4, 4, 4], _TAG_BITS + length_bits + _VALUE_BITS)),
    )
    packed: list[int] = np.packbits(bits).tolist()
    return packed


def _in_pieces(
    lengths: NDArray[np.int64], values: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The same runs, none empty and none longer than its number of bits can say."""
    pieces = -(-lengths // _LONGEST)
    cut = np.full(pieces.sum(), _LONGEST)
    filled = pieces > 0
    last = np.cumsum(pieces)[filled] - 1
    cut[last] = lengths[filled] - (pieces[filled] - 1) * _LONGEST
    return cut, np.repeat(values, pieces)


def _bits(numbers: NDArray[np.int64], widths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Numbers written one behind another, each with as many bits as said, the highest first."""
    ends = np.cumsum(widths)
    number = np.repeat(np.arange(len(numbers)), widths)
    place = ends[number] - 1 - np.arange(len(number))
    bits: NDArray[np.uint8] = (numbers[number] >> place & 1).astype(np.uint8)
    return bits
