"""How many bytes of decoded images may be in memory, whatever their size.

Images ask for room in a fixed order, and get it in that order: a later one can never take the
room that an earlier one, which everybody waits for, still needs.
"""

from __future__ import annotations

import threading

__all__ = ["MemoryBudget", "MemoryBudgetClosed"]


class MemoryBudgetClosed(Exception):  # noqa: N818  (no error: nobody waits for the image any more)
    """The run has ended before there was room."""


class MemoryBudget:
    """Room for so many bytes; used from any thread.

    Args:
        limit: bytes. Something larger gets room when there is nothing else.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._used = 0
        self._tickets = 0
        self._turn = 0
        self._gone: set[int] = set()
        self._closed = False
        self._changed = threading.Condition()

    def ticket(self) -> int:
        """A place in the line. Whoever draws one must `take` or `skip`."""
        with self._changed:
            self._tickets += 1
            return self._tickets - 1

    def take(self, ticket: int, size: int) -> None:
        """Wait for the turn and for room.

        Raises:
            MemoryBudgetClosed: it was closed meanwhile.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._has_room(ticket, size))
            if self._closed:
                raise MemoryBudgetClosed
            self._used += size
            self._next(ticket)

    def skip(self, ticket: int) -> None:
        """Leave the line without taking anything."""
        with self._changed:
            self._next(ticket)

    def release(self, size: int) -> None:
        """Make room again."""
        with self._changed:
            self._used -= size
            self._changed.notify_all()

    def close(self) -> None:
        """Send everybody away who waits, or will."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _has_room(self, ticket: int, size: int) -> bool:
        return ticket == self._turn and (not self._used or self._used + size <= self.limit)

    def _next(self, ticket: int) -> None:
        self._gone.add(ticket)
        while self._turn in self._gone:
            self._gone.remove(self._turn)
            self._turn += 1
        self._changed.notify_all()
