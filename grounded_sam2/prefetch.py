"""Decodes pictures ahead of the models, in threads, and leaves out those that are settled.

Batches are cut from the stable order of the source before anything is left out, so that a run
which was interrupted forms the same batches as one that was not. At most
``runtime.prefetch`` + 1 of them are in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from grounded_sam2.config import Config, ImageConfig
from grounded_sam2.errors import GroundedSAM2Error
from grounded_sam2.results import Frame
from grounded_sam2.sources.image import load_frame
from grounded_sam2.sources.refs import ImageRef
from grounded_sam2.sources.stamps import file_stamp, is_same_file
from grounded_sam2.store import Item, KnownItem, LabelStore

__all__ = ["Opened", "PictureSource", "opened_batches", "reason"]


class PictureSource(Protocol):
    """What can be labeled: picture files in an order that never changes."""

    @property
    def root(self) -> Path:
        """The place that item ids are relative to."""
        ...

    def __iter__(self) -> Iterator[ImageRef]:
        """All pictures; may be asked again, and answers the same."""
        ...


@dataclass(frozen=True, slots=True)
class Opened:
    """A picture that was decoded (`frame`), failed to (`error`), or needs nothing (neither)."""

    ref: ImageRef
    stamp: str | None
    frame: Frame | None = None
    error: str | None = None

    def item(self) -> Item:
        """What the store keeps of it."""
        frame = self.frame
        if frame is None:
            return Item(self.ref.item_id, self.ref.path, file_stamp=self.stamp)
        return Item(
            item_id=self.ref.item_id,
            path=self.ref.path,
            content_hash=frame.content_hash,
            size_hw=frame.size_hw,
            exif_orientation=frame.exif_orientation,
            file_stamp=self.stamp,
        )


def opened_batches(
    source: PictureSource, store: LabelStore, run_id: int, config: Config, *, retry_failed: bool
) -> Generator[list[Opened], None, None]:
    """Batches in the order of the source, a bounded number of them decoded ahead."""
    runtime = config.runtime
    refs = iter(source)
    waiting: deque[list[Future[Opened]]] = deque()
    pool = ThreadPoolExecutor(runtime.loader_threads, thread_name_prefix="decode")
    try:
        while batch := list(islice(refs, runtime.batch_size)):
            known = store.known(run_id, [ref.item_id for ref in batch])
            waiting.append(
                [
                    pool.submit(_open, ref, known.get(ref.item_id), config.images, retry_failed)
                    for ref in batch
                ]
            )
            if len(waiting) > runtime.prefetch:
                yield [future.result() for future in waiting.popleft()]
        while waiting:
            yield [future.result() for future in waiting.popleft()]
    finally:
        pool.shutdown(cancel_futures=True)


def _open(
    ref: ImageRef, known: KnownItem | None, limits: ImageConfig, retry_failed: bool
) -> Opened:
    try:
        stamp = file_stamp(ref.path)  # before the bytes: a change while reading shows next time
    except (OSError, ValueError):  # ValueError: a NUL byte in the path
        stamp = None
    settled = known is not None and (
        known.status == "done" or (known.status == "failed" and not retry_failed)
    )
    if known is not None and settled and _unchanged(ref.path, known):
        return Opened(ref, stamp)
    try:
        return Opened(ref, stamp, frame=load_frame(ref.path, ref.item_id, config=limits))
    except Exception as error:  # whatever a broken file does to a decoder, the run goes on
        return Opened(ref, stamp, error=reason(error))


def _unchanged(path: Path, known: KnownItem) -> bool:
    try:
        return is_same_file(path, stamp=known.file_stamp, content_hash=known.content_hash)
    except (OSError, ValueError):
        return True  # what cannot be looked at has not changed: its labels stay


def reason(error: Exception) -> str:
    """What went wrong, as one line for the store."""
    text = " ".join(str(error).split())[:500]
    return text if isinstance(error, GroundedSAM2Error) else f"{type(error).__name__}: {text}"
