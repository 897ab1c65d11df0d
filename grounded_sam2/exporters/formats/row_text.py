"""Numbers as the text of rows, many rows at once.

Every number lies between 0 and 1 and has six decimals, so that all take the same room, and the
digits of all can be written side by side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.geometry.ragged import RaggedOffsets

__all__ = ["row_texts"]

_DECIMALS = 6
_WIDTH = len("0.") + _DECIMALS + len(" ")


def row_texts(shares: NDArray[np.float64], rows: RaggedOffsets) -> list[str]:
    """Rows of numbers with spaces in between.

    Args:
        shares: ``(n,)`` of all rows, in [0, 1].
        rows: where the numbers of each row are.

    Returns:
        As many texts; empty for a row without numbers.
    """
    left = np.rint(shares * 10**_DECIMALS).astype(np.int32)
    letters = np.empty((len(shares), _WIDTH), np.uint8)
    for place in range(_DECIMALS + 1, 1, -1):
        shorter = left // 10
        letters[:, place] = ord("0") + left - 10 * shorter
        left = shorter
    letters[:, 0] = ord("0") + left
    letters[:, 1] = ord(".")
    letters[:, -1] = ord(" ")
    text = letters.tobytes().decode("ascii")
    bounds = zip((_WIDTH * rows.starts).tolist(), (_WIDTH * rows.ends).tolist(), strict=True)
    return [text[start : max(start, end - 1)] for start, end in bounds]
