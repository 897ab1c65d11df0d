"""COCO's compressed counts: run lengths of a mask, written as text.

A mask is read column by column; ``counts`` are the lengths of its runs, background first (so a
mask whose first pixel is set begins with 0). From the fourth run on, the difference to the run
two before is written instead of the run. Each number is cut into groups of five bits, lowest
first, in two's complement; bit 5 of a group says that another follows; 48 is added to make the
byte printable. Byte for byte the format of pycocotools (``rleToString`` in ``maskApi.c``), here
over whole arrays at once: reading and writing the runs of a large mask costs microseconds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.errors import GeometryError

__all__ = ["pack", "unpack"]

_GROUP_LIMITS = 2 ** (5 * np.arange(1, 12, dtype=np.int64) - 1)
"""A number below the i-th limit (in magnitude, two's complement) fits into i + 1 groups."""


def pack(runs: NDArray[np.int64]) -> bytes:
    """Write run lengths as compressed counts.

    Args:
        runs: ``(n,)`` ``int64``, non-negative, background first.

    Returns:
        Printable ASCII; empty for no runs.
    """
    numbers = runs.copy()
    numbers[3:] -= runs[1:-2]
    groups = np.searchsorted(_GROUP_LIMITS, numbers ^ (numbers >> 63), side="right") + 1
    first = np.cumsum(groups) - groups
    within = np.arange(groups.sum()) - np.repeat(first, groups)
    text = (np.repeat(numbers, groups) >> (5 * within)) & 0x1F
    text += 0x20 + 48
    text[first + groups - 1] -= 0x20
    return bytes(text.astype(np.uint8))


def unpack(counts: bytes) -> NDArray[np.int64]:
    """Read the run lengths back from compressed counts.

    Args:
        counts: as `pack` writes them.

    Returns:
        ``(n,)`` ``int64``; empty for no bytes.

    Raises:
        GeometryError: bytes outside the format's alphabet, or a last number that is cut off.
    """
    if not counts:
        return np.zeros(0, np.int64)
    groups = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    if groups.min() < 0 or groups.max() > 0x3F or groups[-1] & 0x20:
        raise GeometryError(
            f"RLE counts {_excerpt(counts)}: not COCO-compressed or cut off; "
            "give the counts as pycocotools wrote them"
        )
    last = np.flatnonzero((groups & 0x20) == 0)
    first = np.concatenate(([0], last[:-1] + 1))
    length = last - first + 1
    if length.max() > len(_GROUP_LIMITS):
        raise GeometryError(f"RLE counts {_excerpt(counts)}: a run is longer than any mask")
    shift = 5 * (np.arange(groups.size) - np.repeat(first, length))
    runs: NDArray[np.int64] = np.add.reduceat((groups & 0x1F) << shift, first)
    runs -= np.where(groups[last] & 0x10, np.int64(1) << (5 * length), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def _excerpt(counts: bytes) -> str:
    return repr(counts if len(counts) <= 40 else counts[:40] + b"...")
