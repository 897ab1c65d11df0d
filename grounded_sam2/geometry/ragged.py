"""Segments of different lengths, concatenated in one array.

The run lengths of a mask or the points of a ring are a few hundred numbers, of which numpy handles
a thousand in the time of one call. Operations therefore work on many segments at once: their values
are concatenated, and `RaggedOffsets` stores where each segment lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["RaggedOffsets"]

_Number = TypeVar("_Number", bound=np.generic)


class RaggedOffsets:
    """Offsets of segments in an array in which they are concatenated.

    Attributes:
        sizes: ``(n,)`` lengths of the segments, 0 or more.
        ends: ``(n,)`` index after the last element of each segment.
        starts: ``(n,)`` index of the first element of each segment.
    """

    __slots__ = ("ends", "sizes", "starts")

    def __init__(self, sizes: NDArray[np.integer[Any]] | Sequence[int]) -> None:
        self.sizes: NDArray[np.intp] = np.asarray(sizes, np.intp)
        self.ends: NDArray[np.intp] = self.sizes.cumsum()
        self.starts: NDArray[np.intp] = self.ends - self.sizes

    @classmethod
    def from_ends(cls, ends: NDArray[np.integer[Any]]) -> RaggedOffsets:
        """Offsets of adjacent segments from their ends: ``(n,)``, ascending."""
        sizes = ends.copy()
        sizes[1:] -= ends[:-1]
        return cls(sizes)

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def total(self) -> int:
        """Number of elements of all segments."""
        return int(self.ends[-1]) if len(self.ends) else 0

    def repeat(self, values: NDArray[_Number]) -> NDArray[_Number]:
        """Repeat one value per segment for all its elements: ``(n, …)`` to ``(total, …)``."""
        return values.repeat(self.sizes, axis=0)

    def segment_ids(self) -> NDArray[np.intp]:
        """Index of the segment that each element belongs to: ``(total,)``."""
        return np.arange(len(self)).repeat(self.sizes)

    def local_index(self) -> NDArray[np.intp]:
        """Index of each element within its segment: ``(total,)``."""
        return np.arange(self.total) - self.repeat(self.starts)

    def previous_index(self) -> NDArray[np.intp]:
        """Index of each element's predecessor in its segment, cyclic: ``(total,)``."""
        previous = np.arange(-1, self.total - 1)
        nonempty = self.sizes > 0
        previous[self.starts[nonempty]] = self.ends[nonempty] - 1
        return previous

    def next_index(self) -> NDArray[np.intp]:
        """Index of each element's successor in its segment, cyclic: ``(total,)``."""
        following = np.arange(1, self.total + 1)
        nonempty = self.sizes > 0
        following[self.ends[nonempty] - 1] = self.starts[nonempty]
        return following

    def sum(self, values: NDArray[_Number]) -> NDArray[_Number]:
        """Sum of the values of each segment: ``(total,)`` to ``(n,)``; 0 for an empty segment.

        Values of other segments do not influence a sum, not even by rounding.
        """
        nonempty = self.sizes > 0
        if nonempty.all():
            return np.add.reduceat(values, self.starts) if len(self) else values[:0]
        sums = np.zeros(len(self), values.dtype)
        if values.size:
            sums[nonempty] = np.add.reduceat(values, self.starts[nonempty])
        return sums

    def argmax(self, values: NDArray[Any]) -> NDArray[np.intp]:
        """Index into `values` of each segment's maximum, the first of equals: ``(n,)``.

        No segment may be empty.
        """
        highest = np.maximum.reduceat(values, self.starts) if len(self) else values[:0]
        hits = (values == self.repeat(highest)).nonzero()[0]
        return hits[hits.searchsorted(self.starts)]

    def count(self, selected: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Number of selected elements of each segment: ``(total,)`` to ``(n,)``."""
        return self.sum(selected.astype(np.intp))

    def indices(self, segments: NDArray[np.intp]) -> NDArray[np.intp]:
        """Indices of the elements of the given segments, in the given order: ``(m,)``."""
        selected = RaggedOffsets(self.sizes[segments])
        return selected.local_index() + selected.repeat(self.starts[segments])

    def roll(self, first: NDArray[np.intp]) -> NDArray[np.intp]:
        """Indices that roll each segment so that it starts with a given element: ``(total,)``.

        Args:
            first: ``(n,)`` index of the element that becomes the first of each segment; ignored
                for an empty segment.
        """
        rolled = np.arange(self.total) + self.repeat(first - self.starts)
        rolled -= np.where(rolled >= self.repeat(self.ends), self.repeat(self.sizes), 0)
        return rolled

    def split(self, values: NDArray[_Number]) -> list[NDArray[_Number]]:
        """Views of the values of each segment."""
        bounds = zip(self.starts.tolist(), self.ends.tolist(), strict=True)
        return [values[start:end] for start, end in bounds]
