"""Load images ahead of the models: plan and decode them in threads, within a memory budget.

Batches are cut from the stable order of the source before anything is skipped, so that an
interrupted run forms the same batches as one that was not.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice

from grounded_sam2.config import Config, ImageConfig
from grounded_sam2.engine.memory_budget import MemoryBudget
from grounded_sam2.engine.planner import StoredImage, plan_image, stored_images
from grounded_sam2.engine.stages import StageTimer
from grounded_sam2.engine.work_item import WorkItem, failure_reason
from grounded_sam2.sources.image import load_image_file, pixel_count
from grounded_sam2.sources.refs import ImageRef, ImageSource
from grounded_sam2.store import LabelStore

__all__ = ["PendingImage", "load_batches"]


@dataclass(frozen=True, slots=True)
class PendingImage:
    """An image that a thread may still be loading."""

    size: Future[int]
    """Bytes of the budget that it takes, known before it is decoded; 0 if it is not decoded.
    The consumer of the image releases them."""
    work: Future[WorkItem]
    """The planned item, with its pixels where its state is ``detect``."""


def load_batches(
    source: ImageSource,
    store: LabelStore,
    run_id: int,
    config: Config,
    captions: Sequence[str],
    *,
    batch_size: int,
    retry_failed: bool,
    budget: MemoryBudget,
    timer: StageTimer,
) -> Generator[list[PendingImage], None, None]:
    """Batches in the order of the source.

    A batch begins to load when it is requested: the consumer bounds how many are in flight, and
    `budget` bounds the pixels of all of them.
    """
    loader = _Loader(tuple(captions), config.images, retry_failed, budget, timer)
    refs = iter(source)
    pool = ThreadPoolExecutor(config.runtime.loader_threads, thread_name_prefix="decode")
    try:
        while batch := list(islice(refs, batch_size)):
            stored = stored_images(store, run_id, [ref.item_id for ref in batch])
            pending = []
            for ref in batch:
                size: Future[int] = Future()
                ticket = budget.ticket()
                work = pool.submit(loader.load, ref, stored.get(ref.item_id), ticket, size)
                work.add_done_callback(partial(_resolve_size, size))
                pending.append(PendingImage(size, work))
            yield pending
    except BaseException:  # the rest will not be consumed
        budget.close()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown(wait=False)


def _resolve_size(size: Future[int], _: Future[WorkItem]) -> None:
    """Set the size of an image that failed or is not decoded, so that no thread waits for it."""
    if not size.done():
        size.set_result(0)


@dataclass(frozen=True, slots=True)
class _Loader:
    """Plans and decodes one image at a time; called in threads."""

    captions: tuple[str, ...]
    limits: ImageConfig
    retry_failed: bool
    budget: MemoryBudget
    timer: StageTimer

    def load(
        self, ref: ImageRef, stored: StoredImage | None, ticket: int, size: Future[int]
    ) -> WorkItem:
        is_decoded = False
        try:
            with self.timer.measure("decode"):
                work = plan_image(ref, stored, self.captions, retry_failed=self.retry_failed)
            is_decoded = work.state == "detect"
        finally:
            if not is_decoded:
                self.budget.skip(ticket)
        if not is_decoded:
            return work
        assert work.path is not None, "an image to decode has a file"
        needed = 3 * pixel_count(work.path)
        size.set_result(needed)
        self.budget.acquire(ticket, needed)
        with self.timer.measure("decode"):
            try:
                loaded = load_image_file(work.path, work.item.item_id, config=self.limits)
            except Exception as error:  # whatever a broken file does to a decoder, the run goes on
                return work.with_failure(failure_reason(error))
            return work.with_image(loaded, self.captions)
