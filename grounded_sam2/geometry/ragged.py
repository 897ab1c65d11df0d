"""Sequences of different lengths, laid one behind another in one array.

The runs of a mask or the corners of an outline are a few hundred numbers, of which numpy handles
a thousand in the time it takes to be called. So what is done to one sequence is done to many at
once: their values stand in one array, and `RaggedOffsets` says where each of them lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["RaggedOffsets"]

_Number = TypeVar("_Number", bound=np.generic)


class RaggedOffsets:
    """Places of sequences in an array that holds them one behind another.

    Attributes:
        sizes: ``(n,)`` lengths of the sequences, 0 or more.
        ends: ``(n,)`` index after the last element of each.
        starts: ``(n,)`` index of the first element of each.
    """

    __slots__ = ("ends", "sizes", "starts")

    def __init__(self, sizes: NDArray[np.integer[Any]] | Sequence[int]) -> None:
        self.sizes: NDArray[np.intp] = np.asarray(sizes, np.intp)
        self.ends: NDArray[np.intp] = self.sizes.cumsum()
        self.starts: NDArray[np.intp] = self.ends - self.sizes

    @classmethod
    def from_ends(cls, ends: NDArray[np.integer[Any]]) -> RaggedOffsets:
        """Sequences that end where it is said, each beginning where the one before it ends."""
        sizes = ends.copy()
        sizes[1:] -= ends[:-1]
        return cls(sizes)

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def total(self) -> int:
        """Number of elements of all sequences."""
        return int(self.ends[-1]) if len(self.ends) else 0

    def repeat(self, values: NDArray[_Number]) -> NDArray[_Number]:
        """One value per sequence, given to all its elements: ``(n, …)`` to ``(total, …)``."""
        return values.repeat(self.sizes, axis=0)

    def segment_ids(self) -> NDArray[np.intp]:
        """Which sequence each element belongs to: ``(total,)``."""
        return np.arange(len(self)).repeat(self.sizes)

    def local_index(self) -> NDArray[np.intp]:
        """Index of each element within its sequence: ``(total,)``."""
        return np.arange(self.total) - self.repeat(self.starts)

    def previous_index(self) -> NDArray[np.intp]:
        """Index of each element's predecessor, the last being that of the first: ``(total,)``."""
        previous = np.arange(-1, self.total - 1)
        filled = self.sizes > 0
        previous[self.starts[filled]] = self.ends[filled] - 1
        return previous

    def next_index(self) -> NDArray[np.intp]:
        """Index of each element's successor, the first being that of the last: ``(total,)``."""
        following = np.arange(1, self.total + 1)
        filled = self.sizes > 0
        following[self.ends[filled] - 1] = self.starts[filled]
        return following

    def sum(self, values: NDArray[_Number]) -> NDArray[_Number]:
        """Sum of each sequence's values, 0 for an empty one: ``(total,)`` to ``(n,)``.

        What stands before and behind a sequence has no influence on its sum, not even by rounding.
        """
        filled = self.sizes > 0
        if filled.all():
            return np.add.reduceat(values, self.starts) if len(self) else values[:0]
        sums = np.zeros(len(self), values.dtype)
        if values.size:
            sums[filled] = np.add.reduceat(values, self.starts[filled])
        return sums

    def argmax(self, values: NDArray[Any]) -> NDArray[np.intp]:
        """Index of the highest value of each sequence, the first of equals; none may be empty."""
        highest = np.maximum.reduceat(values, self.starts) if len(self) else values[:0]
        hits = (values == self.repeat(highest)).nonzero()[0]
        return hits[hits.searchsorted(self.starts)]

    def count(self, chosen: NDArray[np.bool_]) -> NDArray[np.intp]:
        """How many elements of each sequence are chosen: ``(total,)`` to ``(n,)``."""
        return self.sum(chosen.astype(np.intp))

    def indices(self, which: NDArray[np.intp]) -> NDArray[np.intp]:
        """Indices of the elements of these sequences, in this order: ``(m,)``."""
        taken = RaggedOffsets(self.sizes[which])
        return taken.local_index() + taken.repeat(self.starts[which])

    def roll(self, first: NDArray[np.intp]) -> NDArray[np.intp]:
        """Indices of all elements, each sequence beginning with one of its own, as in a ring.

        Args:
            first: ``(n,)`` index of the element that each sequence shall begin with; of no meaning
                for an empty one.
        """
        turned = np.arange(self.total) + self.repeat(first - self.starts)
        turned -= np.where(turned >= self.repeat(self.ends), self.repeat(self.sizes), 0)
        return turned

    def split(self, values: NDArray[_Number]) -> list[NDArray[_Number]]:
        """Each sequence as a view of its own."""
        bounds = zip(self.starts.tolist(), self.ends.tolist(), strict=True)
        return [values[start:end] for start, end in bounds]
