"""Stop request: the first Ctrl-C is recorded, the second one raises `KeyboardInterrupt`."""

from __future__ import annotations

import signal
import threading

import pytest

from grounded_sam2.engine.signals import StopRequest


def test_the_first_ctrl_c_is_recorded_and_the_second_raises():
    with StopRequest() as stop:
        assert not stop.requested
        signal.raise_signal(signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_the_default_handler_is_restored():
    with StopRequest():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_custom_handler_is_kept():
    handled = []
    previous = signal.signal(signal.SIGINT, lambda *_: handled.append(True))
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGINT)
        assert handled == [True]
        assert not stop.requested
    finally:
        signal.signal(signal.SIGINT, previous)


def test_outside_the_main_thread_no_handler_is_installed():
    handlers = []

    def work() -> None:
        with StopRequest():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]
