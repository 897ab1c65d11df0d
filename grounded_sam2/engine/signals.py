"""Ctrl-C as a request to stop: finish what is in flight, then end the run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

__all__ = ["StopRequest"]


class StopRequest:
    """A context in which the first Ctrl-C sets `requested` instead of raising.

    Args:
        then: called on the first Ctrl-C, in the main thread.

    A second Ctrl-C raises `KeyboardInterrupt`. Only Python's default handler is replaced, and only
    in the main thread, where handlers live: a program with a handler of its own keeps it.
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
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a second one raises

    def __exit__(self, *error: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
