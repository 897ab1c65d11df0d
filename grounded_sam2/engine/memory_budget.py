"""Memory budget: how many bytes of decoded images may be in memory at a time.

Images acquire memory in a fixed order. A later image can therefore never take the memory that an
earlier one, which the whole pipeline waits for, still needs.
"""

from __future__ import annotations

import threading

__all__ = ["MemoryBudget", "MemoryBudgetClosed"]


class MemoryBudgetClosed(Exception):  # noqa: N818  (not an error: the image is not needed)
    """Raised in waiting threads when the run ends before there is enough memory."""


class MemoryBudget:
    """A number of bytes shared by threads, granted in the order of tickets.

    Args:
        limit: bytes. A larger request is granted when nothing else is held.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._used = 0
        self._tickets = 0
        self._turn = 0
        self._finished: set[int] = set()
        self._closed = False
        self._changed = threading.Condition()

    def ticket(self) -> int:
        """Draw a place in the queue. Every ticket must be passed to `acquire` or `skip`."""
        with self._changed:
            self._tickets += 1
            return self._tickets - 1

    def acquire(self, ticket: int, size: int) -> None:
        """Block until it is this ticket's turn and `size` bytes are free, and take them.

        Raises:
            MemoryBudgetClosed: the budget was closed meanwhile.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._is_granted(ticket, size))
            if self._closed:
                raise MemoryBudgetClosed
            self._used += size
            self._finish(ticket)

    def skip(self, ticket: int) -> None:
        """Leave the queue without taking anything."""
        with self._changed:
            self._finish(ticket)

    def release(self, size: int) -> None:
        """Return acquired bytes."""
        with self._changed:
            self._used -= size
            self._changed.notify_all()

    def close(self) -> None:
        """Wake all threads that wait, now or later, with `MemoryBudgetClosed`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _is_granted(self, ticket: int, size: int) -> bool:
        return ticket == self._turn and (not self._used or self._used + size <= self.limit)

    def _finish(self, ticket: int) -> None:
        self._finished.add(ticket)
        while self._turn in self._finished:
            self._finished.remove(self._turn)
            self._turn += 1
        self._changed.notify_all()
