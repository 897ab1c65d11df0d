"""Ctrl-C as a request: finish what is half done, then stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

__all__ = ["StopRequest"]


class StopRequest:
    """Turns the first Ctrl-C into a request that the run honours between batches.

    Args:
        then: called when it is pressed, in the main thread.

    Only Python's own handler is replaced, and only in the main thread, where handlers live: a
    program that handles the signal itself goes on doing so.
    """

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.requested = False
        self._then = then
        self._installed = False

    def __enter__(self) -> StopRequest:
        self._installed = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self._installed:
            signal.signal(signal.SIGINT, self._request)
        return self

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._then()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a second one does not wait

    def __exit__(self, *error: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
