"""Batched inference on work items, with retries of failed batches.

If a batch fails, its images are run one by one, so that one bad image fails alone. If the device
runs out of memory, the batch is halved until it fits, and later batches are cut to that size.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from grounded_sam2.engine.loader import PendingImage
from grounded_sam2.engine.memory_budget import MemoryBudget
from grounded_sam2.engine.stages import StageTimer
from grounded_sam2.engine.work_item import WorkItem, failure_reason
from grounded_sam2.inference.grounding import start_ground_images
from grounded_sam2.models.protocols import Grounder
from grounded_sam2.results import Candidate

__all__ = ["BatchedInference", "detect_batch"]


class BatchedInference:
    """A grounder, with a batch limit that falls when the device runs out of memory.

    Args:
        grounder: finds objects and their masks.
        min_confidence: candidates below are dropped.
        fatal: errors that the next image would meet as well; they are raised.
    """

    def __init__(
        self,
        grounder: Grounder,
        *,
        min_confidence: float,
        fatal: tuple[type[Exception], ...] = (),
    ) -> None:
        self.max_batch_size: int | None = None
        """Images that fit into memory together; ``None`` while every batch did."""
        self._grounder = grounder
        self._min_confidence = min_confidence
        self._fatal = fatal
        self._models_lock = threading.Lock()

    def start(self, items: Sequence[WorkItem]) -> Callable[[], list[WorkItem]]:
        """Run the models on decoded images.

        Args:
            items: in state ``detect``, with their pixels; sizes may differ; may be empty.

        Returns:
            A function that encodes the masks, in any thread, and returns one item per image, in
            order, in state ``postprocess`` or ``failed``. The models are free meanwhile, unless
            encoding fails and the batch is run again in parts.
        """
        step = self.max_batch_size or max(1, len(items))
        parts = [self._start(items[first : first + step]) for first in range(0, len(items), step)]
        return lambda: [item for finish in parts for item in finish()]

    def _start(self, items: Sequence[WorkItem]) -> Callable[[], list[WorkItem]]:
        images = [item.image for item in items if item.image is not None]
        assert len(images) == len(items), "every image to detect was decoded"
        try:
            with self._models_lock:
                finish = start_ground_images(
                    images,
                    [item.captions for item in items],
                    self._grounder,
                    min_confidence=self._min_confidence,
                )
        except self._fatal:
            raise
        except Exception as error:
            failure = _Failure.of(error)
        else:
            return lambda: self._finish(items, finish)
        done = self._retry(items, failure)
        return lambda: done

    def _finish(
        self, items: Sequence[WorkItem], finish: Callable[[], list[tuple[Candidate, ...]]]
    ) -> list[WorkItem]:
        try:
            predicted = finish()
        except self._fatal:
            raise
        except Exception as error:
            failure = _Failure.of(error)
        else:
            return [
                item.with_candidates(candidates)
                for item, candidates in zip(items, predicted, strict=True)
            ]
        return self._retry(items, failure)

    def _retry(self, items: Sequence[WorkItem], failure: _Failure) -> list[WorkItem]:
        """Run a failed batch again in parts; called when the error and the memory that its frames
        held are gone."""
        if len(items) == 1:
            return [items[0].with_failure(failure.reason)]
        step = 1
        if failure.is_out_of_memory:
            step = (len(items) + 1) // 2
            self.max_batch_size = min(step, self.max_batch_size or step)
        done: list[WorkItem] = []
        while rest := items[len(done) :]:
            # A part may have run out of memory again, and halved the size for the rest.
            size = min(step, self.max_batch_size or step)
            done += self._start(rest[:size])()
        return done


@dataclass(frozen=True, slots=True)
class _Failure:
    """An error without its traceback, whose frames would keep the batch in memory."""

    reason: str
    is_out_of_memory: bool

    @classmethod
    def of(cls, error: Exception) -> _Failure:
        return cls(failure_reason(error), isinstance(error, MemoryError))


def detect_batch(
    batch: list[PendingImage],
    inference: BatchedInference,
    budget: MemoryBudget,
    timer: StageTimer,
) -> Callable[[], list[WorkItem]]:
    """Run the models on the images of a batch as they finish loading.

    Images that fit into half of the budget together are one call, so that the other half can be
    decoded meanwhile. Of a batch of larger images, all parts but the last are finished here, to
    release their memory.

    Args:
        batch: emptied, since a reference to it would keep its pixels in memory.
        inference: the models.
        budget: the bytes of the images are released when the returned function was called.
        timer: adds up the time of the models.

    Returns:
        A function that returns all items of the batch, in order, none of them in state ``detect``.
    """
    done: list[WorkItem] = []
    part: list[WorkItem] = []
    held = 0
    while batch:
        pending = batch.pop(0)
        size = pending.size.result()
        if part and 2 * (held + size) > budget.limit:
            with timer.measure("models"):
                done += _start_part(part, inference)()
            budget.release(held)
            part, held = [], 0
        part.append(pending.work.result())
        held += size
        del pending
    with timer.measure("models"):
        finish = _start_part(part, inference)

    def finish_batch() -> list[WorkItem]:
        last = finish()
        budget.release(held)
        return done + last

    return finish_batch


def _start_part(
    part: Sequence[WorkItem], inference: BatchedInference
) -> Callable[[], list[WorkItem]]:
    """Run the items that need the models; the others keep their place."""
    finish = inference.start([work for work in part if work.state == "detect"])
    others = [None if work.state == "detect" else work for work in part]

    def finish_part() -> list[WorkItem]:
        detected = iter(finish())
        return [next(detected) if work is None else work for work in others]

    return finish_part
