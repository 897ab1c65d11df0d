"""COCO's compressed RLE counts: the run lengths of a mask as text.

A mask is read column by column; its run lengths alternate between background and foreground,
background first (a mask whose first pixel is set begins with 0). From the fourth on, a run length
is replaced by its difference to the one two before. Each number is split into groups of five bits,
lowest first, in two's complement; bit 5 of a group is set if another group follows; 48 is added to
make the byte printable. The output equals that of pycocotools (``rleToString`` in ``maskApi.c``)
byte for byte, but is computed over whole arrays: the run lengths of a large mask or of many small
ones at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry.ragged import RaggedOffsets

__all__ = [
    "compress_counts",
    "compress_counts_batch",
    "decompress_counts",
    "decompress_counts_batch",
]

_GROUP_LIMITS = 2 ** (5 * np.arange(1, 12, dtype=np.int64) - 1)
"""A number below the i-th limit (in magnitude, two's complement) fits into i + 1 groups."""


def compress_counts(run_lengths: NDArray[np.int64]) -> bytes:
    """Compress the run lengths of a mask.

    Args:
        run_lengths: ``(n,)`` ``int64``, non-negative, background first.

    Returns:
        Printable ASCII; empty for no run lengths.
    """
    return compress_counts_batch(run_lengths, RaggedOffsets([len(run_lengths)]))[0]


def compress_counts_batch(run_lengths: NDArray[np.int64], offsets: RaggedOffsets) -> list[bytes]:
    """`compress_counts` of many masks.

    Args:
        run_lengths: ``(n,)`` ``int64`` of all masks, non-negative, background first in each mask.
        offsets: of the run lengths of each mask.

    Returns:
        Compressed counts of each mask, in order.
    """
    numbers = run_lengths.copy()
    numbers[2:] -= np.where(offsets.local_index() > 2, np.roll(run_lengths, 2), 0)[2:]
    group_counts = np.searchsorted(_GROUP_LIMITS, numbers ^ (numbers >> 63), side="right") + 1
    groups = RaggedOffsets(group_counts)
    text = (groups.repeat(numbers) >> (5 * groups.local_index())) & 0x1F
    text += 0x20 + 48
    text[groups.ends - 1] -= 0x20
    characters = text.astype(np.uint8).tobytes()
    bounds = np.concatenate(([0], groups.ends))[np.concatenate(([0], offsets.ends))].tolist()
    return [characters[start:end] for start, end in pairwise(bounds)]


def decompress_counts(counts: bytes) -> NDArray[np.int64]:
    """Read run lengths from compressed counts.

    Args:
        counts: as `compress_counts` writes them.

    Returns:
        ``(n,)`` ``int64``; empty for no bytes.

    Raises:
        GeometryError: a byte is not of the format, or the last number is cut off.
    """
    return decompress_counts_batch([counts])[0]


def decompress_counts_batch(counts: Sequence[bytes]) -> tuple[NDArray[np.int64], RaggedOffsets]:
    """`decompress_counts` of many masks.

    Returns:
        ``(n,)`` ``int64`` run lengths of all masks, concatenated, and the offsets of each mask's.

    Raises:
        GeometryError: as `decompress_counts`; quotes the damaged counts.
    """
    characters = np.frombuffer(b"".join(counts), np.uint8)
    lengths = np.array([len(each) for each in counts], np.intp)
    if not characters.size:
        return np.zeros(0, np.int64), RaggedOffsets(lengths)
    groups = characters.astype(np.int64) - 48
    is_last = (groups & 0x20) == 0
    text_ends = np.cumsum(lengths)
    _check_characters(counts, groups, is_last, text_ends)
    number_ends = np.flatnonzero(is_last) + 1
    groups_per_number = RaggedOffsets.from_ends(number_ends)
    if groups_per_number.sizes.max() > len(_GROUP_LIMITS):
        position = groups_per_number.starts[groups_per_number.sizes.argmax()]
        damaged = counts[int(np.searchsorted(text_ends, position, side="right"))]
        raise GeometryError(
            f"RLE counts {_excerpt(damaged)}: a run length is larger than any image; "
            "give the counts as pycocotools wrote them"
        )
    shifts = 5 * groups_per_number.local_index()
    numbers: NDArray[np.int64] = groups_per_number.sum((groups & 0x1F) << shifts)
    is_negative = groups[number_ends - 1] & 0x10
    numbers -= np.where(is_negative, np.int64(1) << (5 * groups_per_number.sizes), 0)

    # The numbers of a mask end where its text ends.
    offsets = RaggedOffsets.from_ends(np.searchsorted(number_ends, text_ends, side="right"))
    return _undo_differences(numbers, offsets), offsets


def _undo_differences(numbers: NDArray[np.int64], offsets: RaggedOffsets) -> NDArray[np.int64]:
    """Cumulative sums over every second number of each mask, leaving out its first number."""
    local_index = offsets.local_index()
    run_lengths = numbers.copy()
    for parity in (0, 1):
        summed = (local_index % 2 == parity) & (local_index > 0)
        cumulative = np.concatenate(([0], np.cumsum(np.where(summed, numbers, 0))))
        before = offsets.repeat(cumulative[offsets.starts])
        run_lengths[summed] = (cumulative[1:] - before)[summed]
    return run_lengths


def _check_characters(
    counts: Sequence[bytes],
    groups: NDArray[np.int64],
    is_last: NDArray[np.bool_],
    text_ends: NDArray[np.intp],
) -> None:
    """Raise `GeometryError` for a character outside the format, or a number that is cut off."""
    valid = (groups >= 0) & (groups <= 0x3F)
    nonempty = np.array([len(each) > 0 for each in counts])
    valid[text_ends[nonempty] - 1] &= is_last[text_ends[nonempty] - 1]
    if not valid.all():
        damaged = counts[int(np.searchsorted(text_ends, np.argmin(valid), side="right"))]
        raise GeometryError(
            f"RLE counts {_excerpt(damaged)}: not COCO-compressed or cut off; "
            "give the counts as pycocotools wrote them"
        )


def _excerpt(counts: bytes) -> str:
    return repr(counts if len(counts) <= 40 else counts[:40] + b"...")
