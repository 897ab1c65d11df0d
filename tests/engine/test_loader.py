"""Loader: batches in source order, decoded in threads within the memory budget."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from grounded_sam2.config import Config
from grounded_sam2.engine.loader import PendingImage, load_batches
from grounded_sam2.engine.memory_budget import MemoryBudget, MemoryBudgetClosed
from grounded_sam2.engine.stages import StageTimer
from grounded_sam2.engine.work_item import WorkItem
from grounded_sam2.errors import SourceError
from grounded_sam2.results import Labels
from grounded_sam2.sources.fingerprint import file_hash, file_stamp
from grounded_sam2.sources.refs import FailedRef, ImageRef
from grounded_sam2.store import Item, ItemOutcome, LabelStore, RunConfig

SIZE_HW = (20, 30)
IMAGE_BYTES = 3 * SIZE_HW[0] * SIZE_HW[1]
CAPTIONS = ("red box", "blue box")
TIMEOUT_S = 30
"""Only a deadlock takes that long."""


def write_image(path: Path, value: int = 0) -> ImageRef:
    """Write a gray image and return a reference to it."""
    PIL.Image.fromarray(np.full((*SIZE_HW, 3), value, np.uint8)).save(path)
    return ImageRef(path.name, path)


@pytest.fixture
def refs(tmp_path: Path) -> list[ImageRef]:
    """Seven images; the value of all pixels is the number in the file name."""
    return [write_image(tmp_path / f"{number}.png", number) for number in range(7)]


class ListSource:
    """An image source of given references that counts how many were iterated."""

    def __init__(self, root: Path, refs: list[ImageRef], error: Exception | None = None) -> None:
        self.root = root
        self.refs = refs
        self.error = error
        self.iterated = 0

    def __iter__(self) -> Iterator[ImageRef]:
        for ref in self.refs:
            self.iterated += 1
            yield ref
        if self.error is not None:
            raise self.error


class RecordingBudget(MemoryBudget):
    """Records the requests, and the highest number of bytes held at a time."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.requested = threading.Semaphore(0)
        self.lock = threading.Lock()
        self.held = 0
        self.peak = 0

    def acquire(self, ticket: int, size: int) -> None:
        self.requested.release()
        super().acquire(ticket, size)
        with self.lock:
            self.held += size
            self.peak = max(self.peak, self.held)

    def release(self, size: int) -> None:
        with self.lock:
            self.held -= size
        super().release(size)

    def wait_for_requests(self, count: int) -> None:
        """Wait until this many images have requested memory."""
        for _ in range(count):
            assert self.requested.acquire(timeout=TIMEOUT_S)


@dataclass(frozen=True)
class GatedRef(ImageRef):
    """A reference whose fetch sets one event, then waits for another one."""

    fetching: threading.Event
    may_continue: threading.Event

    def fetch(self) -> Path:
        self.fetching.set()
        assert self.may_continue.wait(TIMEOUT_S)
        return self.path


@dataclass(frozen=True)
class FailingRef(ImageRef):
    """A reference whose fetch fails."""

    error: Exception

    def fetch(self) -> Path:
        raise self.error


class Loading:
    """A store and a run to load images for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = LabelStore.create(folder / "out")
        self.run_id = self.store.begin_run(RunConfig(models={}, inference={}), ontology=()).id
        self.budget = RecordingBudget(10**9)

    def start(self, refs, *, batch_size=7, threads=4, budget_bytes=10**9, retry_failed=False):
        """Start `load_batches` on references, or on a source of them."""
        self.budget = RecordingBudget(budget_bytes)
        return load_batches(
            ListSource(self.folder, refs) if isinstance(refs, list) else refs,
            self.store,
            self.run_id,
            Config().with_options({"runtime.loader_threads": threads}),
            CAPTIONS,
            batch_size=batch_size,
            retry_failed=retry_failed,
            budget=self.budget,
            timer=StageTimer({"decode": threads}),
        )

    def mark_done(self, ref: ImageRef) -> None:
        """Store current labels of an image."""
        item = Item(
            ref.item_id,
            ref.path,
            content_hash=file_hash(ref.path),
            size_hw=SIZE_HW,
            file_stamp=file_stamp(ref.path),
        )
        self.store.write_batch(self.run_id, [ItemOutcome(item, Labels(SIZE_HW, ()))])

    def consume(self, image: PendingImage) -> WorkItem:
        """Wait for an image and release its bytes, as the models do."""
        work = image.work.result(TIMEOUT_S)
        self.budget.release(image.size.result(TIMEOUT_S))
        return work


@pytest.fixture
def loading(tmp_path: Path) -> Iterator[Loading]:
    loading = Loading(tmp_path)
    yield loading
    loading.budget.close()  # ends threads that a failed test leaves blocked
    loading.store.close()


def names(batch: list[PendingImage]) -> list[str]:
    return [image.work.result(TIMEOUT_S).item.item_id for image in batch]


class TestOrder:
    def test_batches_are_cut_from_the_order_of_the_source(self, loading, refs):
        batches = [names(batch) for batch in loading.start(refs[::-1], batch_size=3)]
        expected = [f"{number}.png" for number in range(6, -1, -1)]
        assert batches == [expected[:3], expected[3:6], expected[6:]]

    def test_a_slow_image_keeps_its_place(self, loading, refs):
        loading.mark_done(refs[1])
        fetching, may_continue = threading.Event(), threading.Event()
        slow = GatedRef("0.png", refs[0].path, fetching, may_continue)
        [batch] = loading.start([slow, *refs[1:]])
        assert names(batch[1:2]) == ["1.png"]  # finished before image 0, which is still fetched
        may_continue.set()
        assert names(batch) == [ref.item_id for ref in refs]

    def test_skipped_images_count_in_the_size_of_a_batch(self, loading, refs):
        for ref in refs[:4]:
            loading.mark_done(ref)
        batches = loading.start(refs, batch_size=3)
        states = [[image.work.result(TIMEOUT_S).state for image in batch] for batch in batches]
        assert states == [["skip"] * 3, ["skip", "detect", "detect"], ["detect"]]

    def test_a_batch_begins_to_load_when_it_is_requested(self, loading, refs):
        source = ListSource(loading.folder, refs)
        batches = loading.start(source, batch_size=3)
        assert source.iterated == 0
        next(batches)
        assert source.iterated == 3
        next(batches)
        assert source.iterated == 6
        batches.close()

    def test_a_source_without_images_has_no_batches(self, loading):
        assert list(loading.start([])) == []


class TestImages:
    def test_a_new_image_is_decoded_for_detection_with_all_captions(self, loading, refs):
        [batch] = loading.start(refs[3:4])
        work = loading.consume(batch[0])
        assert (work.state, work.captions) == ("detect", CAPTIONS)
        assert work.item.size_hw == SIZE_HW
        np.testing.assert_array_equal(work.image, np.full((*SIZE_HW, 3), 3, np.uint8))

    def test_unreadable_images_become_failed_items_and_the_batch_goes_on(
        self, loading, refs, tmp_path
    ):
        refs[1].path.write_bytes(b"")
        refs[2].path.write_bytes(refs[2].path.read_bytes()[:50])
        refs[3] = FailedRef("3.png", tmp_path, "folder 'sub' cannot be listed")
        refs[4] = FailingRef("4.png", tmp_path, OSError("connection reset"))
        [batch] = loading.start(refs)
        work = [loading.consume(image) for image in batch]
        assert [each.state for each in work] == ["detect", *["failed"] * 4, "detect", "detect"]
        assert [each.item.item_id for each in work] == [f"{number}.png" for number in range(7)]
        for each, reason in zip(
            work[1:5],
            ["empty (0 bytes)", "truncated", "cannot be listed", "connection reset"],
            strict=True,
        ):
            assert reason in each.error
            assert each.image is None

    def test_failed_images_are_loaded_again_on_request(self, loading, refs):
        item = Item("0.png", refs[0].path, file_stamp=file_stamp(refs[0].path))
        loading.store.write_batch(loading.run_id, [ItemOutcome(item, None, "no memory")])
        for retry_failed, state in ((False, "skip"), (True, "detect")):
            [batch] = loading.start(refs[:1], retry_failed=retry_failed)
            assert loading.consume(batch[0]).state == state

    def test_a_full_disk_is_raised_to_the_consumer(self, loading, refs, tmp_path):
        full = OSError(errno.ENOSPC, "No space left on device")
        [batch] = loading.start([FailingRef("a.png", tmp_path, full), refs[0]])
        with pytest.raises(SourceError, match="make space"):
            batch[0].work.result(TIMEOUT_S)
        assert loading.consume(batch[1]).state == "detect"


class TestSizes:
    """`PendingImage.size` is always resolved: the consumer waits for it without a timeout."""

    def test_of_a_decoded_image_it_is_the_number_of_its_bytes(self, loading, refs):
        [batch] = loading.start(refs[:1])
        work = batch[0].work.result(TIMEOUT_S)
        assert batch[0].size.result(TIMEOUT_S) == work.image.nbytes == IMAGE_BYTES

    def test_it_is_known_while_the_image_still_waits_for_memory(self, loading, refs):
        [batch] = loading.start(refs[:2], budget_bytes=IMAGE_BYTES)
        loading.budget.wait_for_requests(2)
        assert batch[1].size.result(TIMEOUT_S) == IMAGE_BYTES
        assert not batch[1].work.done()

    def test_of_a_skipped_image_it_is_zero(self, loading, refs):
        loading.mark_done(refs[0])
        [batch] = loading.start(refs[:1])
        assert batch[0].size.result(TIMEOUT_S) == 0
        assert batch[0].work.result(TIMEOUT_S).state == "skip"

    @pytest.mark.parametrize("error", [OSError("reset"), OSError(errno.ENOSPC, "full")])
    def test_of_an_image_that_cannot_be_fetched_it_is_zero(self, loading, tmp_path, error):
        [batch] = loading.start([FailingRef("a.png", tmp_path, error)])
        assert batch[0].size.result(TIMEOUT_S) == 0

    def test_of_an_image_without_a_readable_header_it_is_zero(self, loading, refs):
        refs[0].path.write_bytes(b"")
        [batch] = loading.start(refs[:1])
        assert batch[0].size.result(TIMEOUT_S) == 0
        assert batch[0].work.result(TIMEOUT_S).state == "failed"

    def test_of_an_image_that_fails_to_decode_it_is_what_the_consumer_must_release(
        self, loading, refs
    ):
        refs[0].path.write_bytes(refs[0].path.read_bytes()[:50])
        [batch] = loading.start(refs[:1])
        assert loading.consume(batch[0]).state == "failed"
        assert batch[0].size.result(TIMEOUT_S) == IMAGE_BYTES
        assert loading.budget.held == 0

    def test_of_a_cancelled_image_it_is_zero(self, loading, refs):
        fetching, may_continue = threading.Event(), threading.Event()
        blocked = GatedRef("0.png", refs[0].path, fetching, may_continue)
        batches = loading.start([blocked, *refs[1:3]], batch_size=3, threads=1)
        batch = next(batches)
        assert fetching.wait(TIMEOUT_S)
        batches.close()
        assert [image.work.cancelled() for image in batch] == [False, True, True]
        assert [image.size.result(TIMEOUT_S) for image in batch[1:]] == [0, 0]
        may_continue.set()


class TestMemoryBudget:
    @pytest.mark.parametrize("images", [1, 2, 5])
    def test_bounds_the_decoded_bytes_of_all_batches(self, loading, refs, images):
        batches = loading.start(refs, batch_size=3, budget_bytes=images * IMAGE_BYTES)
        pending = [image for batch in batches for image in batch]
        assert [loading.consume(image).image[0, 0, 0] for image in pending] == list(range(7))
        assert loading.budget.peak <= images * IMAGE_BYTES
        assert loading.budget.held == 0

    def test_an_image_is_decoded_after_its_bytes_were_acquired(self, loading, refs):
        [batch] = loading.start(refs[:2], budget_bytes=IMAGE_BYTES)
        loading.budget.wait_for_requests(2)
        write_image(refs[1].path, 99)
        loading.consume(batch[0])
        assert loading.consume(batch[1]).image[0, 0, 0] == 99

    def test_an_image_larger_than_the_budget_is_decoded_alone(self, loading, refs):
        [batch] = loading.start(refs[:3], budget_bytes=1)
        assert [loading.consume(image).state for image in batch] == ["detect"] * 3
        assert loading.budget.peak == IMAGE_BYTES

    def test_images_that_are_not_decoded_do_not_block_later_ones(self, loading, refs, tmp_path):
        loading.mark_done(refs[0])
        refs[1] = FailingRef("1.png", tmp_path, OSError("reset"))
        refs[2] = FailingRef("2.png", tmp_path, OSError(errno.ENOSPC, "full"))
        [batch] = loading.start(refs[:4], budget_bytes=IMAGE_BYTES)
        assert loading.consume(batch[3]).state == "detect"


class TestEnd:
    """However loading ends, its threads end."""

    @pytest.fixture(autouse=True)
    def _no_thread_is_left(self, loading) -> Iterator[None]:
        before = set(threading.enumerate())
        yield
        left = [thread for thread in threading.enumerate() if thread not in before]
        for thread in left:
            thread.join(TIMEOUT_S)
        assert not any(thread.is_alive() for thread in left)

    def test_after_the_last_batch(self, loading, refs):
        [batch] = loading.start(refs)
        assert len([loading.consume(image) for image in batch]) == 7

    def test_when_the_generator_is_closed_while_images_wait_for_memory(self, loading, refs):
        batches = loading.start(refs[:3], batch_size=3, threads=3, budget_bytes=IMAGE_BYTES)
        batch = next(batches)
        loading.budget.wait_for_requests(3)
        batch[0].work.result(TIMEOUT_S)  # and its bytes are never released
        batches.close()
        for image in batch[1:]:
            with pytest.raises(MemoryBudgetClosed):
                image.work.result(TIMEOUT_S)

    def test_when_the_source_fails(self, loading, refs):
        source = ListSource(loading.folder, refs[:3], error=SourceError("the folder is gone"))
        batches = loading.start(source, batch_size=3, threads=3, budget_bytes=IMAGE_BYTES)
        batch = next(batches)
        loading.budget.wait_for_requests(3)
        with pytest.raises(SourceError, match="the folder is gone"):
            next(batches)
        with pytest.raises(MemoryBudgetClosed):
            batch[1].work.result(TIMEOUT_S)

    def test_no_image_starts_to_load_after_the_generator_is_closed(self, loading, refs):
        fetching, may_continue = threading.Event(), threading.Event()
        blocked = GatedRef("0.png", refs[0].path, fetching, may_continue)
        batches = loading.start([blocked, *refs[1:]], threads=1)
        batch = next(batches)
        assert fetching.wait(TIMEOUT_S)
        batches.close()
        may_continue.set()
        with pytest.raises(MemoryBudgetClosed):
            batch[0].work.result(TIMEOUT_S)
        assert all(image.work.cancelled() for image in batch[1:])
