"""Ctrl-C as a request: the first waits for the batch, the second does not."""

from __future__ import annotations

import signal
import threading

import pytest

from grounded_sam2.engine.signals import StopRequest


def test_the_first_is_noted_and_the_second_raises():
    with StopRequest() as stop:
        assert not stop.requested
        signal.raise_signal(signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_the_handler_is_put_back():
    with StopRequest():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_program_that_handles_the_signal_itself_keeps_it():
    seen = []
    previous = signal.signal(signal.SIGINT, lambda *_: seen.append(True))
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGINT)
        assert seen == [True]
        assert not stop.requested
    finally:
        signal.signal(signal.SIGINT, previous)


def test_outside_the_main_thread_nothing_is_touched():
    handlers = []

    def work() -> None:
        with StopRequest():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]
