"""Work on many rows in portions that fit into the memory of the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

__all__ = ["Portions"]

T = TypeVar("T")


class Portions:
    """How many rows of some work fit into memory together.

    Args:
        most: rows to begin with. Where memory is not enough for them, half of them are tried, down
            to one; what was enough is remembered.
    """

    def __init__(self, most: int) -> None:
        self.most = most

    def work(self, rows: int, on: Callable[[slice], T]) -> list[T]:
        """Do the work on all rows.

        Args:
            rows: how many there are; may be none.
            on: does it on some of them.

        Returns:
            What `on` returned for each portion, in the order of the rows.

        Raises:
            torch.OutOfMemoryError: one row is too much.
        """
        done: list[T] = []
        first = 0
        while first < rows:
            portion = slice(first, min(rows, first + self.most))
            size = portion.stop - first
            try:
                done.append(on(portion))
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                # Tried again out there, where nothing holds on to what was allocated.
                self.most = size // 2
                continue
            first = portion.stop
        return done
