from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from grounded_sam2.sources.video import prefetch


def test_prefetched_items_keep_their_order() -> None:
    assert list(prefetch(iter(range(50)), 4)) == list(range(50))
    assert list(prefetch(iter(()), 4)) == []


def test_falsy_items_are_yielded() -> None:
    assert list(prefetch(iter([0, None, ""]), 2)) == [0, None, ""]


def test_no_more_items_are_computed_than_the_buffer_holds() -> None:
    made: list[int] = []
    reached = threading.Event()

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            if number == 3:
                reached.set()
            yield number

    ahead = prefetch(items(), 3)
    assert next(ahead) == 0
    assert reached.wait(10), "one is out, three are made or waiting"
    ahead.close()
    assert made == [0, 1, 2, 3]


def test_items_are_computed_in_another_thread() -> None:
    names = list(prefetch((threading.current_thread().name for _ in range(3)), 2))
    assert all(name.startswith("frames") for name in names)


def test_exception_is_raised_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise RuntimeError("broken")

    ahead = prefetch(items(), 5)
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(RuntimeError, match="broken"):
        next(ahead)


def test_closing_early_ends_the_thread_and_closes_the_generator() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            closed.set()

    before = threading.active_count()
    ahead = prefetch(items(), 4)
    next(ahead)
    ahead.close()
    assert closed.is_set()
    assert threading.active_count() == before
