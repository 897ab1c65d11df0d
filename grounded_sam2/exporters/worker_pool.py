"""Conversion of masks by several processes, with results in order.

The calling process always takes part: it converts the first masks alone, because other processes
take about a second to start and only pay off for large exports, and later those groups that the
others have no capacity for. The results and their order do not depend on the number of processes.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

from grounded_sam2.errors import ExportError
from grounded_sam2.geometry.rle import Rle

__all__ = ["default_workers", "exit_with_parent", "map_in_order", "spawn_workers"]

_Converted = TypeVar("_Converted")

_MAX_WORKERS = 4
"""The process that writes the results cannot keep up with more."""


def default_workers() -> int:
    """Return the number of cores, up to the number of processes that are of use."""
    return min(os.cpu_count() or 1, _MAX_WORKERS)


def spawn_workers(number: int) -> Executor:
    """Return an executor of so many processes, which exit with this one."""
    # A forked process would inherit the locks of library threads without the threads.
    return ProcessPoolExecutor(number, get_context("spawn"), initializer=exit_with_parent)


def map_in_order(
    groups: Iterable[Sequence[Rle]],
    convert: Callable[[Sequence[Rle]], Sequence[_Converted]],
    workers: int,
    *,
    masks_before_start: int = 5000,
    groups_queued: int = 3,
    groups_ahead: int = 8,
    make_executor: Callable[[int], Executor] = spawn_workers,
) -> Generator[Sequence[_Converted], None, None]:
    """Convert groups of masks with several processes, and yield the results in order.

    Args:
        groups: consumed up to ``groups_ahead * workers`` groups ahead of the results.
        convert: called in the processes, so it must be importable by them.
        workers: number of processes, including this one.
        masks_before_start: number of masks to convert before other processes are started.
        groups_queued: number of groups to queue per process, so that none has to wait.
        groups_ahead: number of groups per process that may be finished before their turn.
        make_executor: starts the other processes, given their number.

    Raises:
        ExportError: a process was killed.
    """
    remaining = iter(groups)
    converted = 0
    while workers == 1 or converted < masks_before_start:
        group = next(remaining, None)
        if group is None:
            return
        yield convert(group)
        converted += len(group)

    executor = make_executor(workers - 1)
    results: deque[Future[Sequence[_Converted]]] = deque()
    try:
        with _sigint_blocked():  # the processes start here, and inherit the signal mask
            starting = [executor.submit(_do_nothing) for _ in range(workers - 1)]
        for group in remaining:
            queued = sum(not each.done() for each in results)
            if all(each.done() for each in starting) and queued < groups_queued * (workers - 1):
                plain = [(mask.size_hw, mask.counts) for mask in group]
                results.append(executor.submit(_convert_plain, convert, plain))
            else:
                own: Future[Sequence[_Converted]] = Future()
                own.set_result(convert(group))
                results.append(own)
            while results and (results[0].done() or len(results) > groups_ahead * workers):
                yield results.popleft().result()
        while results:
            yield results.popleft().result()
    except BrokenProcessPool as error:
        raise ExportError(
            "a worker process that converts masks was killed, perhaps for lack of memory; export "
            "with fewer workers"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


def exit_with_parent() -> None:
    """Make this worker process exit when its parent is gone, even if that was killed."""
    parent = parent_process()
    assert parent is not None, "this is a worker process"

    def wait() -> None:
        parent.join()
        os._exit(1)  # no one is left to report to, and nothing is left to clean up

    Thread(target=wait, name="exit with parent", daemon=True).start()


def _do_nothing() -> None:
    """A job that is done as soon as its process has started."""


def _convert_plain(
    convert: Callable[[Sequence[Rle]], Sequence[_Converted]],
    plain: Sequence[tuple[tuple[int, int], bytes]],
) -> Sequence[_Converted]:
    return convert([Rle(*each) for each in plain])


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Block SIGINT, so that processes started in the context ignore a terminal's Ctrl-C.

    The terminal sends it to all processes; the parent stops the others in order.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
