"""Frames decoded ahead in a thread, while those before are worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["prefetched"]

T = TypeVar("T")


def prefetched(items: Iterator[T], ahead: int = 4) -> Generator[T, None, None]:
    """Take items in a thread before they are asked for; FFmpeg lets other threads run meanwhile.

    What `items` raises is raised in its place. Closing this early closes `items` too, if it is a
    generator, when the item under way is done.

    Args:
        items: nobody else may take from it.
        ahead: items made and waiting at a time, at most; at least 1. 4 even out frames of different
            cost, and are 25 MB at 1920 × 1080.

    Yields:
        The items in their order.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="frames")
    waiting: deque[Future[tuple[T, ...]]] = deque()

    def taken() -> tuple[T, ...]:
        for item in items:
            return (item,)
        return ()

    try:
        waiting.extend(pool.submit(taken) for _ in range(max(1, ahead)))
        while item := waiting.popleft().result():
            waiting.append(pool.submit(taken))
            yield item[0]
            del item  # or two would be held while the next is waited for
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        if isinstance(items, Generator):
            items.close()
