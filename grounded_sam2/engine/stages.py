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

        with Stages({"models": ask, "masks": postprocess}, in_flight=4) as stages:
            for result in stages.run(batches):
                ...

    Args:
        functions: by name, in order; each takes what the one before returned.
        in_flight: items between beginning and end at a time.
    """

    def __init__(self, functions: Mapping[str, Callable[[Any], Any]], *, in_flight: int) -> None:
        self._in_flight = in_flight
        self._functions = list(functions.values())
        self._pools = [ThreadPoolExecutor(1, thread_name_prefix=name) for name in functions]
        self._first: deque[Future[Any]] = deque(maxlen=in_flight)
        self._stopped = False

    def run(self, items: Iterable[In]) -> Iterator[Out]:
        """Results in the order of the items, which are taken in the thread that asks.

        Ends early after `stop`. What a function raises is raised here, in the place of its result.
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
        for future in reversed(self._first.copy()):  # or the next would begin meanwhile
            future.cancel()

    def _submit(self, item: In) -> Future[Any]:
        future = self._pools[0].submit(self._functions[0], item)
        self._first.append(future)
        for pool, function in zip(self._pools[1:], self._functions[1:], strict=True):
            future = pool.submit(_after, future, function)
        return future

    def __enter__(self) -> Stages[In, Out]:
        return self

    def __exit__(self, *error: object) -> None:
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=True)


def _after(previous: Future[Any], function: Callable[[Any], Any]) -> Any:
    return function(previous.result())
