"""COCO's compressed counts: run lengths of a mask, written as text.

A mask is read column by column; ``counts`` are the lengths of its runs, background first (so a
mask whose first pixel is set begins with 0). From the fourth run on, the difference to the run
two before is written instead of the run. Each number is cut into groups of five bits, lowest
first, in two's complement; bit 5 of a group says that another follows; 48 is added to make the
byte printable. Byte for byte the format of pycocotools (``rleToString`` in ``maskApi.c``), here
over whole arrays at once: the runs of a large mask, or of many small ones.
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


def compress_counts(runs: NDArray[np.int64]) -> bytes:
    """Write run lengths as compressed counts.

    Args:
        runs: ``(n,)`` ``int64``, non-negative, background first.

    Returns:
        Printable ASCII; empty for no runs.
    """
    return compress_counts_batch(runs, RaggedOffsets([len(runs)]))[0]


def compress_counts_batch(runs: NDArray[np.int64], masks: RaggedOffsets) -> list[bytes]:
    """`compress_counts` for the runs of many masks, which stand one behind another.

    Args:
        runs: ``(n,)`` ``int64``, non-negative, each mask's beginning with background.
        masks: where the runs of each mask are.

    Returns:
        As many counts, in order.
    """
    numbers = runs.copy()
    numbers[2:] -= np.where(masks.local_index() > 2, np.roll(runs, 2), 0)[2:]
    groups = np.searchsorted(_GROUP_LIMITS, numbers ^ (numbers >> 63), side="right") + 1
    written = RaggedOffsets(groups)
    text = (written.repeat(numbers) >> (5 * written.local_index())) & 0x1F
    text += 0x20 + 48
    text[written.ends - 1] -= 0x20
    letters = text.astype(np.uint8).tobytes()
    bounds = np.concatenate(([0], written.ends))[np.concatenate(([0], masks.ends))].tolist()
    return [letters[start:end] for start, end in pairwise(bounds)]


def decompress_counts(counts: bytes) -> NDArray[np.int64]:
    """Read the run lengths back from compressed counts.

    Args:
        counts: as `compress_counts` writes them.

    Returns:
        ``(n,)`` ``int64``; empty for no bytes.

    Raises:
        GeometryError: bytes outside the format's alphabet, or a last number that is cut off.
    """
    return decompress_counts_batch([counts])[0]


def decompress_counts_batch(counts: Sequence[bytes]) -> tuple[NDArray[np.int64], RaggedOffsets]:
    """`decompress_counts` for the counts of many masks.

    Returns:
        ``(n,)`` ``int64`` runs of all masks, one mask behind another, and where each one's are.

    Raises:
        GeometryError: as `decompress_counts`; shows the counts that are damaged.
    """
    letters = np.frombuffer(b"".join(counts), np.uint8)
    lengths = np.array([len(each) for each in counts], np.intp)
    if not letters.size:
        return np.zeros(0, np.int64), RaggedOffsets(lengths)
    groups = letters.astype(np.int64) - 48
    last = (groups & 0x20) == 0
    text_ends = np.cumsum(lengths)
    _check_letters(counts, groups, last, text_ends)
    number_ends = np.flatnonzero(last) + 1
    written = RaggedOffsets.from_ends(number_ends)
    if written.sizes.max() > len(_GROUP_LIMITS):
        at = written.starts[written.sizes.argmax()]
        which = counts[int(np.searchsorted(text_ends, at, side="right"))]
        raise GeometryError(f"RLE counts {_excerpt(which)}: a run is longer than any mask")
    numbers: NDArray[np.int64] = written.sum((groups & 0x1F) << (5 * written.local_index()))
    negative = groups[number_ends - 1] & 0x10
    numbers -= np.where(negative, np.int64(1) << (5 * written.sizes), 0)

    # A mask's numbers end where its letters end.
    masks = RaggedOffsets.from_ends(np.searchsorted(number_ends, text_ends, side="right"))
    return _undo_differences(numbers, masks), masks


def _undo_differences(numbers: NDArray[np.int64], masks: RaggedOffsets) -> NDArray[np.int64]:
    """Each number becomes its sum with all that stand an even number before it, but the first."""
    place = masks.local_index()
    runs = numbers.copy()
    for parity in (0, 1):
        chained = (place % 2 == parity) & (place > 0)
        running = np.concatenate(([0], np.cumsum(np.where(chained, numbers, 0))))
        before = masks.repeat(running[masks.starts])
        runs[chained] = (running[1:] - before)[chained]
    return runs


def _check_letters(
    counts: Sequence[bytes],
    groups: NDArray[np.int64],
    last: NDArray[np.bool_],
    text_ends: NDArray[np.intp],
) -> None:
    """Raise `GeometryError` for a letter outside the alphabet, or a number that is cut off."""
    good = (groups >= 0) & (groups <= 0x3F)
    filled = np.array([len(each) > 0 for each in counts])
    good[text_ends[filled] - 1] &= last[text_ends[filled] - 1]
    if not good.all():
        which = counts[int(np.searchsorted(text_ends, np.argmin(good), side="right"))]
        raise GeometryError(
            f"RLE counts {_excerpt(which)}: not COCO-compressed or cut off; "
            "give the counts as pycocotools wrote them"
        )


def _excerpt(counts: bytes) -> str:
    return repr(counts if len(counts) <= 40 else counts[:40] + b"...")
