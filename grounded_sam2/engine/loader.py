"""Decodes images ahead of the models, in threads, and finds out what each of them needs.

    for batch in opened_batches(...):        # of images that may still be on their way
        for image in batch:
            image.size.result()            # bytes that it will take, known before it is decoded
            image.opened.result()          # when there was room for it

An image needs nothing when all is settled; a decision when the models said all that is wanted and
only what is made of it has changed; answers when the models are to be asked, for all captions or
for those that are new. Batches are cut from the stable order of the source before anything is left
out, so that a run which was interrupted forms the same batches as one that was not.
"""

from __future__ import annotations

import errno
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from grounded_sam2.config import Config, ImageConfig
from grounded_sam2.engine.batched_inference import reason
from grounded_sam2.engine.memory_budget import MemoryBudget
from grounded_sam2.engine.stages import Occupancy
from grounded_sam2.errors import SourceError
from grounded_sam2.results import Image, RawPredictions
from grounded_sam2.sources.fingerprint import file_hash
from grounded_sam2.sources.image import load_image_file, pixel_count
from grounded_sam2.sources.refs import ImageRef, ImageSource
from grounded_sam2.store import Item, ItemState, LabelStore

__all__ = ["Opened", "Opening", "opened_batches"]

_FULL = (errno.ENOSPC, errno.EDQUOT)
"""What every later image that must be fetched would meet as well."""


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """An image and what it needs.

    With `error`: to be recorded as failed. With `image`: the models are to be asked for
    `captions`. With neither, but with `earlier` findings: a decision. Otherwise nothing.
    """

    item: Item
    image: Image | None = None
    captions: Sequence[str] = ()
    earlier: RawPredictions | None = None
    """What the models said of this very image before."""
    error: str | None = None
    was_touched: bool = False
    """Nothing is needed, but the file has another time or place than the store has noted."""


@dataclass(frozen=True, slots=True)
class Opening:
    """An image that may still be on its way."""

    size: Future[int]
    """Bytes of the budget that it takes, to be given back by whoever has seen it; 0 for images
    that are not decoded."""
    opened: Future[Opened]


@dataclass(frozen=True, slots=True)
class _Known:
    """What the store has of an image."""

    state: ItemState
    item: Item | None = None
    predictions: RawPredictions | None = None
    """Read ahead only where a decision is pending."""


def opened_batches(
    source: ImageSource,
    store: LabelStore,
    run_id: int,
    config: Config,
    captions: Sequence[str],
    *,
    batch_size: int,
    retry_failed: bool,
    budget: MemoryBudget,
    occupancy: Occupancy,
) -> Generator[list[Opening], None, None]:
    """Batches in the order of the source.

    Looking at a batch begins when it is asked for: whoever asks bounds how many are under way, and
    `budget` bounds the pixels of all of them.
    """
    open_one = _Opener(captions, config.images, retry_failed, budget, occupancy)
    refs = iter(source)
    pool = ThreadPoolExecutor(config.runtime.loader_threads, thread_name_prefix="decode")
    try:
        while batch := list(islice(refs, batch_size)):
            known = _known(store, run_id, [ref.item_id for ref in batch])
            images = []
            for ref in batch:
                size: Future[int] = Future()
                ticket = budget.ticket()
                opened = pool.submit(open_one, ref, known.get(ref.item_id), ticket, size)
                opened.add_done_callback(partial(_without_size, size))
                images.append(Opening(size, opened))
            yield images
    except BaseException:  # nobody will ask for what is left
        budget.close()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown(wait=False)


def _without_size(size: Future[int], _: Future[Opened]) -> None:
    """Nobody may wait for the size of what has failed, was never begun, or takes no room."""
    if not size.done():
        size.set_result(0)


def _known(store: LabelStore, run_id: int, item_ids: Sequence[str]) -> dict[str, _Known]:
    known = {}
    for item_id, state in store.item_states(run_id, item_ids).items():
        found = None
        if state.status == "pending" and state.captions is not None:
            found = store.predictions(run_id, item_id)
        known[item_id] = _Known(state) if found is None else _Known(state, *found)
    return known


@dataclass(frozen=True, slots=True)
class _ToDecode:
    """An image whose file is here, and what to ask of it."""

    item: Item
    path: Path
    captions: Sequence[str]
    earlier: RawPredictions | None
    hash_before: str | None


@dataclass(frozen=True, slots=True)
class _Opener:
    """Looks at one image; called in threads."""

    captions: Sequence[str]
    limits: ImageConfig
    retry_failed: bool
    budget: MemoryBudget
    occupancy: Occupancy

    def __call__(
        self, ref: ImageRef, known: _Known | None, ticket: int, size: Future[int]
    ) -> Opened:
        seen: Opened | _ToDecode | None = None
        try:
            with self.occupancy.at_work("decode"):
                seen = self._look(ref, known)
        finally:
            if not isinstance(seen, _ToDecode):
                self.budget.skip(ticket)
        if isinstance(seen, Opened):
            return seen
        needed = 3 * pixel_count(seen.path)
        size.set_result(needed)
        self.budget.take(ticket, needed)
        with self.occupancy.at_work("decode"):
            return self._decode(seen)

    def _look(self, ref: ImageRef, known: _Known | None) -> Opened | _ToDecode:
        """What an image needs, if that is not to be decoded."""
        item = Item(ref.item_id, ref.path)
        with suppress(Exception):  # what is wrong with it shows when it is opened
            # Before the bytes: a change while they are read shows next time.
            item = replace(item, file_stamp=ref.stamp())
        earlier: RawPredictions | None = None
        if known is not None and _unchanged(ref, item.file_stamp, known.state):
            if self._is_settled(known.state):
                return Opened(item, was_touched=item.file_stamp != known.state.file_stamp)
            earlier = known.predictions
        captions = self.captions
        if known is not None and known.item is not None and earlier is not None:
            captions = [caption for caption in captions if caption not in earlier.captions]
            if not captions:
                return Opened(replace(known.item, file_stamp=item.file_stamp), earlier=earlier)
        try:
            path = ref.fetch()
        except Exception as error:  # whatever it is, the run goes on without this image
            if isinstance(error, OSError) and error.errno in _FULL:
                raise SourceError(
                    f"picture '{ref.item_id}' cannot be kept in the output folder: "
                    f"{error.strerror}; make space and run the same command again"
                ) from error
            return Opened(item, error=reason(error))
        hash_before = None if known is None else known.state.content_hash
        return _ToDecode(item, path, captions, earlier, hash_before)

    def _decode(self, seen: _ToDecode) -> Opened:
        captions, earlier = seen.captions, seen.earlier
        try:
            frame = load_image_file(seen.path, seen.item.item_id, config=self.limits)
        except Exception as error:  # whatever a broken file does to a decoder, the run goes on
            return Opened(seen.item, error=reason(error))
        if earlier is not None and frame.content_hash != seen.hash_before:
            captions, earlier = self.captions, None  # it has changed just now
        item = replace(
            seen.item,
            content_hash=frame.content_hash,
            size_hw=frame.size_hw,
            exif_orientation=frame.exif_orientation,
        )
        return Opened(item, frame.image, captions, earlier)

    def _is_settled(self, state: ItemState) -> bool:
        return state.status == "done" or (state.status == "failed" and not self.retry_failed)


def _unchanged(ref: ImageRef, stamp: str | None, state: ItemState) -> bool:
    """Whether this is the image that the store has labels, answers or a failure of."""
    if state.status == "pending" and state.captions is None:
        return False  # the store has nothing of it
    if stamp is None:
        return True  # what cannot be looked at has not changed: its labels stay
    if stamp == state.file_stamp and (ref.is_local() or state.status == "failed"):
        return True
    if state.content_hash is None:
        return False
    try:
        return file_hash(ref.fetch()) == state.content_hash
    except Exception:  # as above
        return True
