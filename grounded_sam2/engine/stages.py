"""A pipeline of stages that run at the same time, in order and in bounded memory.

    item ─ stage 1 ─► ─ stage 2 ─► … ─► result

Each stage has a thread of its own and takes one item after the other, so that results come in the
order of the items, and all of them in the time of the slowest stage. A fixed number of items is in
flight at any time.
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

__all__ = ["StagePipeline", "StageTime", "StageTimer"]

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True, slots=True)
class StageTime:
    """Busy time of a stage."""

    name: str
    seconds: float
    """Sum over its threads."""
    threads: int = 1

    def share(self, wall_seconds: float) -> float:
        """Fraction of the wall time that its threads were busy, in [0, 1]."""
        return self.seconds / self.threads / wall_seconds if wall_seconds else 0.0


class StageTimer:
    """Adds up the busy time of each stage, from any thread.

    Args:
        threads: number of threads of each stage by its name, in the order to report.
    """

    def __init__(self, threads: Mapping[str, int]) -> None:
        self._threads = dict(threads)
        self._seconds = dict.fromkeys(threads, 0.0)
        self._lock = threading.Lock()

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Count the time inside as busy time of this stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._seconds[name] += time.perf_counter() - began

    def times(self) -> tuple[StageTime, ...]:
        """Busy times of all stages."""
        return tuple(StageTime(n, s, self._threads[n]) for n, s in self._seconds.items())


class StagePipeline(Generic[In, Out]):
    """A chain of functions, each in its own thread; a context manager.

        with StagePipeline({"models": detect, "masks": postprocess}, in_flight=4) as pipeline:
            for result in pipeline.run(batches):
                ...

    Args:
        stages: functions by name, in order; each takes what the one before returned.
        in_flight: items between the first and the last stage at a time.
    """

    def __init__(self, stages: Mapping[str, Callable[[Any], Any]], *, in_flight: int) -> None:
        self._in_flight = in_flight
        self._stages = list(stages.values())
        self._pools = [ThreadPoolExecutor(1, thread_name_prefix=name) for name in stages]
        self._first: deque[Future[Any]] = deque(maxlen=in_flight)
        self._stopped = False

    def run(self, items: Iterable[In]) -> Iterator[Out]:
        """Yield results in the order of the items, which are taken in the calling thread.

        Ends early after `stop`. An exception of a stage is raised in the place of its result.
        """
        pending: deque[Future[Any]] = deque()
        try:
            for item in items:
                if self._stopped:
                    break
                pending.append(self._submit(item))
                while len(pending) >= self._in_flight or (pending and pending[0].done()):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except CancelledError:
            if not self._stopped:
                raise
            # Items are begun in order: none of those that follow was begun either.

    def stop(self) -> None:
        """Begin no further item; those in flight are finished. From any thread."""
        self._stopped = True
        for future in reversed(self._first.copy()):  # the last first, or it would begin meanwhile
            future.cancel()

    def _submit(self, item: In) -> Future[Any]:
        future = self._pools[0].submit(self._stages[0], item)
        self._first.append(future)
        for pool, stage in zip(self._pools[1:], self._stages[1:], strict=True):
            future = pool.submit(_run_after, future, stage)
        return future

    def __enter__(self) -> StagePipeline[In, Out]:
        return self

    def __exit__(self, *error: object) -> None:
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=True)


def _run_after(previous: Future[Any], stage: Callable[[Any], Any]) -> Any:
    return stage(previous.result())
