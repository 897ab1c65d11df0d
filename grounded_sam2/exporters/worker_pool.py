"""What is made of masks, made by several processes.

This one is always among them: it looks at the first masks, since others take about a second to
start and pay for large exports only, and later at those that the others have no time for. What
comes out is the same, and in the same order, however many there are.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

from grounded_sam2.errors import ExportError
from grounded_sam2.geometry.rle import Rle

__all__ = ["default_workers", "exit_with_parent", "map_in_order"]

_Shape = TypeVar("_Shape")

_FIRST_MASKS = 5000
"""To be looked at before other processes are started."""
_GROUPS_EACH = 3
"""That a process has before it, so that it need not wait for the next."""
_GROUPS_AHEAD = 8
"""Of each process, that may be done while one before them is not."""
_MOST_WORKERS = 4
"""More would wait for the process that writes what they make."""


def default_workers() -> int:
    """As many processes as this machine has cores for, and are of use."""
    return min(os.cpu_count() or 1, _MOST_WORKERS)


def map_in_order(
    groups: Iterable[Sequence[Rle]],
    shapes_of: Callable[[Sequence[Rle]], Sequence[_Shape]],
    workers: int,
) -> Generator[Sequence[_Shape], None, None]:
    """What is made of each group of masks, in the order of the groups.

    Args:
        groups: taken a few ahead of what comes out.
        shapes_of: what the processes call; importable by them.
        workers: number of processes, this one included.

    Raises:
        ExportError: a process was ended from outside.
    """
    remaining = iter(groups)
    done = 0
    while workers == 1 or done < _FIRST_MASKS:
        group = next(remaining, None)
        if group is None:
            return
        yield shapes_of(group)
        done += len(group)

    # A forked process would hold half of what libraries' threads hold; a fresh one is safe.
    executor = ProcessPoolExecutor(workers - 1, get_context("spawn"), initializer=exit_with_parent)
    ahead: deque[Future[Sequence[_Shape]]] = deque()
    try:
        with _stopping_left_to_us():  # the processes are started here, and inherit it
            starting = [executor.submit(_nothing) for _ in range(workers - 1)]
        for group in remaining:
            waiting = sum(not each.done() for each in ahead)
            if _started(starting) and waiting < _GROUPS_EACH * (workers - 1):
                plain = [(mask.size_hw, mask.counts) for mask in group]
                ahead.append(executor.submit(_shapes, shapes_of, plain))
            else:
                ours: Future[Sequence[_Shape]] = Future()
                ours.set_result(shapes_of(group))
                ahead.append(ours)
            while ahead and (ahead[0].done() or len(ahead) > _GROUPS_AHEAD * workers):
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    except BrokenProcessPool as error:
        raise ExportError(
            "a process that worked out masks was ended from outside, perhaps for lack of memory; "
            "export with fewer workers"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


def exit_with_parent() -> None:
    """Let this process end when the one that started it is gone, killed perhaps."""
    parent = parent_process()
    assert parent is not None, "this is a process that was started for work"

    def wait() -> None:
        parent.join()
        os._exit(1)  # there is nobody left to tell, and nothing of ours to be put away

    Thread(target=wait, name="end with parent", daemon=True).start()


def _nothing() -> None:
    """What a process can do as soon as it has started."""


def _started(starting: Iterable[Future[None]]) -> bool:
    return all(each.done() for each in starting)


def _shapes(
    shapes_of: Callable[[Sequence[Rle]], Sequence[_Shape]],
    plain: Sequence[tuple[tuple[int, int], bytes]],
) -> Sequence[_Shape]:
    return shapes_of([Rle(*each) for each in plain])


@contextmanager
def _stopping_left_to_us() -> Iterator[None]:
    """Ctrl-C reaches all processes of a terminal; those that are started in here do not hear it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
