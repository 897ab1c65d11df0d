"""Planning: skip, post-process, detect, or record a failure."""

from __future__ import annotations

import errno
import os
import pickle
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from grounded_sam2.engine.planner import StoredImage, plan_image
from grounded_sam2.errors import SourceError
from grounded_sam2.results import RawPredictions
from grounded_sam2.sources.fingerprint import file_hash, file_stamp
from grounded_sam2.sources.refs import ImageRef
from grounded_sam2.store import Item, ItemState

CAPTIONS = ("cat", "dog")


@pytest.fixture
def ref(tmp_path: Path) -> ImageRef:
    path = tmp_path / "a.png"
    path.write_bytes(b"pixels")
    return ImageRef("a.png", path)


def stored(ref: ImageRef, status: str, *, captions: set[str] | None = None) -> StoredImage:
    """The stored record of the file in its current content."""
    detected = None if captions is None else frozenset(captions)
    state = ItemState(status, file_hash(ref.path), file_stamp(ref.path), detected)
    if captions is None or status != "pending":
        return StoredImage(state)
    item = Item("a.png", ref.path, content_hash=state.content_hash, size_hw=(20, 30))
    return StoredImage(state, item, RawPredictions(frozenset(captions), ()))


def rewrite(path: Path, content: bytes, *, mtime: int = 1) -> None:
    path.write_bytes(content)
    os.utime(path, (mtime, mtime))


def test_a_new_image_is_detected_with_all_captions(ref: ImageRef) -> None:
    work = plan_image(ref, None, CAPTIONS)
    assert (work.state, work.captions, work.path) == ("detect", CAPTIONS, ref.path)
    assert work.item.file_stamp == file_stamp(ref.path)
    assert pickle.loads(pickle.dumps(work)).captions == CAPTIONS


def test_a_registered_image_without_predictions_is_detected(ref: ImageRef) -> None:
    known = StoredImage(ItemState("pending", None, None, None))
    assert plan_image(ref, known, CAPTIONS).state == "detect"


def test_a_finished_image_is_skipped(ref: ImageRef) -> None:
    work = plan_image(ref, stored(ref, "done", captions={"cat"}), CAPTIONS)
    assert (work.state, work.is_touched) == ("skip", False)


def test_a_touched_file_of_equal_content_is_skipped_with_its_new_fingerprint(
    ref: ImageRef,
) -> None:
    known = stored(ref, "done", captions={"cat"})
    rewrite(ref.path, b"pixels")
    work = plan_image(ref, known, CAPTIONS)
    assert (work.state, work.is_touched) == ("skip", True)
    assert work.item.file_stamp == file_stamp(ref.path)


def test_a_changed_file_is_detected_again(ref: ImageRef) -> None:
    known = stored(ref, "done", captions={"cat", "dog"})
    rewrite(ref.path, b"other")
    work = plan_image(ref, known, CAPTIONS)
    assert (work.state, work.captions, work.predictions) == ("detect", CAPTIONS, None)


def test_predictions_of_all_captions_are_postprocessed_without_a_model(ref: ImageRef) -> None:
    known = stored(ref, "pending", captions={"cat", "dog", "bird"})
    work = plan_image(ref, known, CAPTIONS)
    assert (work.state, work.predictions, work.path) == ("postprocess", known.predictions, None)
    assert work.item.size_hw == (20, 30)


def test_only_new_captions_are_detected(ref: ImageRef) -> None:
    known = stored(ref, "pending", captions={"cat"})
    work = plan_image(ref, known, CAPTIONS)
    assert (work.state, work.captions) == ("detect", ("dog",))
    assert work.predictions == known.predictions
    assert work.predictions_hash == file_hash(ref.path)


@pytest.mark.parametrize(("retry_failed", "state"), [(False, "skip"), (True, "detect")])
def test_a_failed_image_is_retried_only_on_request(
    ref: ImageRef, retry_failed: bool, state: str
) -> None:
    work = plan_image(ref, stored(ref, "failed"), CAPTIONS, retry_failed=retry_failed)
    assert work.state == state


def test_labels_of_a_file_that_cannot_be_examined_are_kept(ref: ImageRef) -> None:
    known = stored(ref, "done", captions={"cat"})
    ref.path.unlink()
    work = plan_image(ref, known, CAPTIONS)
    assert (work.state, work.is_touched) == ("skip", False)  # the stored fingerprint stays


def test_predictions_of_a_file_that_cannot_be_examined_keep_its_fingerprint(ref: ImageRef) -> None:
    known = stored(ref, "pending", captions={"cat", "dog"})
    known = replace(known, item=replace(known.item, file_stamp=known.state.file_stamp))
    ref.path.unlink()
    work = plan_image(ref, known, CAPTIONS)
    assert work.state == "postprocess"
    assert work.item.file_stamp == known.state.file_stamp


@dataclass(frozen=True)
class FailingRef(ImageRef):
    """A reference whose download fails."""

    error: Exception | None = None

    def fetch(self) -> Path:
        assert self.error is not None
        raise self.error


def test_an_image_that_cannot_be_fetched_fails_with_the_reason(tmp_path: Path) -> None:
    work = plan_image(FailingRef("a", tmp_path / "a", error=OSError("reset")), None, CAPTIONS)
    assert (work.state, work.error) == ("failed", "OSError: reset")


def test_a_full_disk_ends_the_run(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(SourceError, match="make space and run the same command again"):
        plan_image(FailingRef("a", tmp_path / "a", error=full), None, CAPTIONS)
