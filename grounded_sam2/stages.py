"""Work in stages that run at the same time, in order and in bounded memory.

    item ─ stage 1 ─► ─ stage 2 ─► … ─► result

Each stage has a thread of its own and takes one item after the other, so that results come in the
order of the items, whatever takes how long, and all of them in the time of the slowest stage. A
fixed number of items is between the beginning and the end at any time.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

__all__ = ["Occupancy", "StageTime", "Stages"]

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True, slots=True)
class StageTime:
    """How long a stage was at work."""

    name: str
    seconds: float
    """All its threads together."""
    threads: int = 1

    def share(self, wall_seconds: float) -> float:
        """Part of the time that its threads were at work, in [0, 1]."""
        return self.seconds / self.threads / wall_seconds if wall_seconds else 0.0


class Occupancy:
    """Adds up how long each stage is at work; from any thread.

    Args:
        threads: how many each stage has, by its name; in the order to tell them.
    """

    def __init__(self, threads: Mapping[str, int]) -> None:
        self._threads = dict(threads)
        self._seconds = dict.fromkeys(threads, 0.0)
        self._lock = threading.Lock()

    @contextmanager
    def at_work(self, name: str) -> Iterator[None]:
        """The time inside is work of this stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._seconds[name] += time.perf_counter() - began

    def times(self) -> tuple[StageTime, ...]:
        """All stages."""
        return tuple(StageTime(n, s, self._threads[n]) for n, s in self._seconds.items())


class Stages(Generic[In, Out]):
    """A chain of functions, each in its own thread.

        with Stages({"models": ask, "masks": decide}, in_flight=4, occupancy=occupancy) as stages:
            for result in stages.run(partial(opened, batch) for batch in batches):
                ...

    Args:
        functions: by the name that `occupancy` knows, in order; each takes what the one before
            returned.
        in_flight: items between beginning and end at a time.
        occupancy: told how long each function takes.
    """

    def __init__(
        self, functions: Mapping[str, Callable[[Any], Any]], *, in_flight: int, occupancy: Occupancy
    ) -> None:
        self._in_flight = in_flight
        self._occupancy = occupancy
        self._functions = functions
        self._pools = [ThreadPoolExecutor(1, thread_name_prefix=name) for name in functions]
        self._first: deque[Future[Any]] = deque(maxlen=in_flight)
        self._stopped = False

    def run(self, items: Iterable[Callable[[], In]]) -> Iterator[Out]:
        """Results in the order of the items.

        Items are taken in the thread that asks, and called in that of the first stage, where they
        may wait for what they need. Ends early after `stop`. What a function raises is raised
        here, in the place of its result.
        """
        waiting: deque[Future[Any]] = deque()
        try:
            for item in items:
                if self._stopped:
                    break
                waiting.append(self._submit(item))
                while len(waiting) >= self._in_flight or (waiting and waiting[0].done()):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except CancelledError:
            if not self._stopped:
                raise
            # In order, so that all that follow were not begun either.

    def stop(self) -> None:
        """Begin nothing more; what has been begun comes to its end. From any thread."""
        self._stopped = True
        for future in tuple(self._first):
            future.cancel()

    def _submit(self, item: Callable[[], In]) -> Future[Any]:
        future: Future[Any] | None = None
        for pool, name in zip(self._pools, self._functions, strict=True):
            if future is None:
                future = pool.submit(self._work, name, item)
                self._first.append(future)
            else:
                future = pool.submit(self._work, name, future.result)
        assert future is not None, "there is at least one stage"
        return future

    def _work(self, name: str, previous: Callable[[], Any]) -> Any:
        value = previous()  # waiting is no work
        with self._occupancy.at_work(name):
            return self._functions[name](value)

    def __enter__(self) -> Stages[In, Out]:
        return self

    def __exit__(self, *error: object) -> None:
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=True)
