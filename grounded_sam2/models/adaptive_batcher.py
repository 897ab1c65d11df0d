"""Batches that shrink until they fit into the memory of the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

__all__ = ["AdaptiveBatcher"]

T = TypeVar("T")


class AdaptiveBatcher:
    """Calls a function on consecutive batches of rows; halves the batch size when out of memory.

    Args:
        batch_size: rows per batch to begin with. A batch that does not fit is retried at half its
            size, down to one row; the size that fitted is kept for later calls.
    """

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size

    def map(self, count: int, function: Callable[[slice], T]) -> list[T]:
        """Call a function on all rows, batch by batch.

        Args:
            count: number of rows; may be 0.
            function: processes the rows of a slice.

        Returns:
            The function's result for each batch, in the order of the rows.

        Raises:
            torch.OutOfMemoryError: a single row does not fit.
        """
        results: list[T] = []
        first = 0
        while first < count:
            batch = slice(first, min(count, first + self.batch_size))
            size = batch.stop - first
            try:
                results.append(function(batch))
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                # Retried outside of this clause, where no traceback holds the batch's tensors.
                self.batch_size = size // 2
                continue
            first = batch.stop
        return results
