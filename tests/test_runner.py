"""Running: every picture is settled once, however often and however rudely the run is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from grounded_sam2.config import Config
from grounded_sam2.errors import CheckpointError, PromptError, StoreError
from grounded_sam2.exporters import ExportOptions, export
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.runner import RunInterrupted, label_source, recipe_of
from grounded_sam2.sources.folder import FolderSource
from grounded_sam2.store import LabelStore
from grounded_sam2.testing import COLORS, FakeDetector, FakeSegmenter

ONTOLOGY = CaptionOntology({"red thing": "ball", "blue thing": "box"})
CONFIG = Config().with_options({"runtime.batch_size": 3})


def write_picture(path: Path, seed: int, size_hw: tuple[int, int] = (24, 32)) -> None:
    rng = np.random.default_rng(seed)
    image = np.zeros((*size_hw, 3), np.uint8)
    for color in ("red", "blue"):
        left, top = rng.integers(0, 16, 2)
        image[top : top + 8, left : left + 12] = COLORS[color]
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(image).save(path)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    for i in range(8):
        write_picture(folder / ("sub" if i % 3 == 0 else "") / f"{i}.png", i)
    return folder


class Watched(FakeDetector):
    """Counts the pictures of each call, and fails on those of a given height."""

    def __init__(self, failing_height: int | None = None, error: type = RuntimeError) -> None:
        super().__init__()
        self.calls: list[int] = []
        self.failing_height = failing_height
        self.error = error

    def detect(self, images, captions):
        self.calls.append(len(images))
        if any(image.shape[0] == self.failing_height for image in images):
            raise self.error("index 7 is\nout of bounds")
        return super().detect(images, captions)


class Recorder:
    """A `Progress` that keeps what it is told."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.steps: list[tuple[int, int, int]] = []

    def start(self, total):
        self.total = total

    def advance(self, *, labeled, failed, skipped):
        self.steps.append((labeled, failed, skipped))


def run(images, labeled, *, detector=None, config=CONFIG, ontology=ONTOLOGY, **options):
    with LabelStore.create(labeled) as store:
        return label_source(
            FolderSource(images),
            store,
            detector or FakeDetector(),
            FakeSegmenter(),
            ontology,
            config,
            **options,
        )


def content(labeled: Path) -> list:
    with LabelStore.open(labeled) as store:
        return [
            *store.labels(),
            *((item.item_id, reason) for item, reason in store.failures()),
        ]


def touch(path: Path) -> None:
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000_000))


# A whole run


def test_every_picture_is_labeled_and_described(images, tmp_path):
    summary = run(images, tmp_path / "labeled")
    assert (summary.total, summary.labeled, summary.failed, summary.skipped) == (8, 8, 0, 0)
    assert not summary.nothing_to_do
    with LabelStore.open(tmp_path / "labeled") as store:
        pairs = list(store.labels())
        assert [item.item_id for item, _ in pairs] == [ref.item_id for ref in FolderSource(images)]
        assert all(item.path == images / item.item_id for item, _ in pairs)
        assert all(item.size_hw == labels.size_hw == (24, 32) for item, labels in pairs)
        assert all(len(item.content_hash) == 64 for item, _ in pairs)
        assert store.summary().pending == 0
        assert store.run().settings == CONFIG.to_dict()
        assert "numpy" in store.run().versions


def test_batches_are_cut_from_the_order_of_the_source(images, tmp_path):
    detector = Watched()
    progress = Recorder()
    run(images, tmp_path / "labeled", detector=detector, progress=progress)
    assert detector.calls == [3, 3, 2]
    assert progress.total == 8
    assert progress.steps == [(3, 0, 0), (3, 0, 0), (2, 0, 0)]


@pytest.mark.parametrize("options", [(1, 0, 1), (8, 5, 4), (100, 2, 2)])
def test_threads_prefetch_and_batch_size_change_nothing(images, tmp_path, options):
    batch_size, prefetch, threads = options
    other = CONFIG.with_options(
        {
            "runtime.batch_size": batch_size,
            "runtime.prefetch": prefetch,
            "runtime.loader_threads": threads,
        }
    )
    run(images, tmp_path / "one")
    run(images, tmp_path / "other", config=other)
    assert content(tmp_path / "one") == content(tmp_path / "other")


def test_pictures_are_opened_only_so_far_ahead(images, tmp_path):
    asked: list[str] = []
    ahead: list[int] = []

    class Counted(FolderSource):
        def __iter__(self):
            asked.clear()
            for ref in super().__iter__():
                asked.append(ref.item_id)
                yield ref

    class Looking(FakeDetector):
        def detect(self, images, captions):
            ahead.append(len(asked))
            return super().detect(images, captions)

    config = CONFIG.with_options({"runtime.batch_size": 1, "runtime.prefetch": 2})
    with LabelStore.create(tmp_path / "labeled") as store:
        label_source(Counted(images), store, Looking(), FakeSegmenter(), ONTOLOGY, config)
    assert ahead == [3, 4, 5, 6, 7, 8, 8, 8]


# Bad pictures


def test_a_bad_file_is_one_row_and_the_run_goes_on(images, tmp_path):
    (images / "0_truncated.png").write_bytes((images / "1.png").read_bytes()[:60])
    (images / "1_empty.png").write_bytes(b"")
    (images / "2_text.png").write_text("no picture")
    (images / "3_gone.png").symlink_to("nowhere.png")
    summary = run(images, tmp_path / "labeled")
    assert (summary.total, summary.labeled, summary.failed) == (12, 8, 4)
    with LabelStore.open(tmp_path / "labeled") as store:
        reasons = {item.item_id: reason for item, reason in store.failures()}
    assert list(reasons) == ["0_truncated.png", "1_empty.png", "2_text.png", "3_gone.png"]
    assert "empty (0 bytes)" in reasons["1_empty.png"]
    assert "does not exist" in reasons["3_gone.png"]


def test_when_a_model_fails_on_a_batch_only_the_culprit_fails(images, tmp_path):
    write_picture(images / "4b.png", 99, size_hw=(50, 32))
    detector = Watched(failing_height=50)
    summary = run(images, tmp_path / "labeled", detector=detector)
    assert (summary.labeled, summary.failed) == (8, 1)
    assert detector.calls == [3, 3, 1, 1, 1, 3]
    with LabelStore.open(tmp_path / "labeled") as store:
        [(item, reason)] = store.failures()
    assert (item.item_id, reason) == ("4b.png", "RuntimeError: index 7 is out of bounds")
    assert item.size_hw == (50, 32)


@pytest.mark.parametrize("error", [CheckpointError, PromptError])
def test_what_the_next_picture_would_meet_as_well_ends_the_run(images, tmp_path, error):
    detector = Watched(failing_height=24, error=error)
    with pytest.raises(error):
        run(images, tmp_path / "labeled", detector=detector)
    assert content(tmp_path / "labeled") == []


# Running again


def test_running_again_when_all_is_done_does_nothing_and_needs_no_model(images, tmp_path):
    run(images, tmp_path / "labeled")
    before = content(tmp_path / "labeled")
    detector = Watched()
    progress = Recorder()
    summary = run(images, tmp_path / "labeled", detector=detector, progress=progress)
    assert summary.nothing_to_do
    assert summary.skipped == 8
    assert detector.calls == []
    assert progress.steps == [(0, 0, 3), (0, 0, 3), (0, 0, 2)]
    assert content(tmp_path / "labeled") == before


def test_new_pictures_are_labeled_and_the_others_left(images, tmp_path):
    run(images, tmp_path / "labeled")
    write_picture(images / "new.png", 50)
    detector = Watched()
    summary = run(images, tmp_path / "labeled", detector=detector)
    assert (summary.labeled, summary.skipped) == (1, 8)
    assert detector.calls == [1]


def test_a_changed_picture_is_labeled_again_and_a_touched_one_is_not(images, tmp_path):
    run(images, tmp_path / "labeled")
    before = dict(content(tmp_path / "labeled"))
    write_picture(images / "1.png", 77)
    touch(images / "1.png")
    touch(images / "2.png")
    detector = Watched()
    summary = run(images, tmp_path / "labeled", detector=detector)
    assert (summary.labeled, summary.skipped, detector.calls) == (1, 7, [1])
    after = dict(content(tmp_path / "labeled"))
    assert {item.item_id for item in before.keys() - after.keys()} == {"1.png"}


def test_labels_stay_when_their_picture_cannot_be_looked_at(images, tmp_path):
    run(images, tmp_path / "labeled")
    (images / "1.png").unlink()
    (images / "1.png").symlink_to("nowhere.png")
    assert run(images, tmp_path / "labeled").nothing_to_do
    with LabelStore.open(tmp_path / "labeled") as store:
        assert store.summary().images == 8


def test_failed_pictures_are_tried_again_when_they_change_or_when_asked(images, tmp_path):
    (images / "bad.png").write_text("no picture")
    write_picture(images / "tall.png", 99, size_hw=(50, 32))
    labeled = tmp_path / "labeled"
    assert run(images, labeled, detector=Watched(failing_height=50)).failed == 2
    assert run(images, labeled).nothing_to_do

    write_picture(images / "bad.png", 51)
    summary = run(images, labeled)
    assert (summary.labeled, summary.skipped) == (1, 9)

    summary = run(images, labeled, retry_failed=True)
    assert (summary.labeled, summary.failed, summary.skipped) == (1, 0, 9)
    with LabelStore.open(labeled) as store:
        assert list(store.failures()) == []


def test_what_only_changes_speed_or_limits_continues_the_run(images, tmp_path):
    run(images, tmp_path / "labeled")
    faster = CONFIG.with_options(
        {
            "runtime.batch_size": 5,
            "runtime.device": "cpu",
            "detector.batch_size": 7,
            "segmenter.prompts_per_batch": 9,
            "images.max_pixels": 10**6,
        }
    )
    assert run(images, tmp_path / "labeled", config=faster).nothing_to_do


def test_other_settings_are_refused_or_make_a_run_of_their_own(images, tmp_path):
    run(images, tmp_path / "labeled")
    strict = CONFIG.with_options({"detector.min_confidence": 0.95})
    with pytest.raises(StoreError, match=r"config\.detector\.min_confidence: 0\.3 → 0\.95"):
        run(images, tmp_path / "labeled", config=strict)
    summary = run(images, tmp_path / "labeled", config=strict, new_run=True)
    assert summary.labeled == 8
    with LabelStore.open(tmp_path / "labeled") as store:
        first, second = store.runs()
        assert store.summary(first.id).objects > 0
        assert store.summary(second.id).objects == store.summary().objects == 0


def test_another_source_is_refused_by_name(images, tmp_path):
    run(images, tmp_path / "labeled")
    with pytest.raises(StoreError, match=r"source: '\.\./images' → '\.\./images/sub'"):
        run(images / "sub", tmp_path / "labeled")


def test_the_recipe_names_models_and_all_that_changes_labels():
    recipe = recipe_of(Config(), ONTOLOGY)
    assert recipe.models == {
        "detector": "florence-community/Florence-2-base",
        "segmenter": "facebook/sam2.1-hiera-tiny",
    }
    assert set(recipe.config) == {"detector", "segmenter", "cleanup"}
    assert recipe.ontology == (("red thing", "ball"), ("blue thing", "box"))
    for option, value in [
        ("detector.checkpoint", "other"),
        ("detector.num_beams", 3),
        ("segmenter.checkpoint", "large"),
        ("segmenter.mask_threshold", 0.5),
        ("cleanup.nms_iou", 0.9),
    ]:
        assert recipe_of(Config().with_options({option: value}), ONTOLOGY).key != recipe.key


# Stopped runs


class Interrupting(Watched):
    """Presses Ctrl-C while the second batch is in the model."""

    def detect(self, images, captions):
        answer = super().detect(images, captions)
        if len(self.calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return answer


@pytest.mark.skipif(os.name != "posix", reason="needs signals between processes")
def test_ctrl_c_writes_the_batch_in_flight_and_says_how_to_go_on(images, tmp_path):
    detector = Interrupting()
    with pytest.raises(KeyboardInterrupt, match=r"6 of 8 pictures.*same command") as stopped:
        run(images, tmp_path / "labeled", detector=detector)
    assert isinstance(stopped.value, RunInterrupted)
    assert stopped.value.summary.labeled == 6
    assert detector.calls == [3, 3]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with LabelStore.open(tmp_path / "labeled") as store:
        assert (store.summary().images, store.summary().pending) == (6, 2)

    assert run(images, tmp_path / "labeled").labeled == 2
    run(images, tmp_path / "whole")
    assert content(tmp_path / "labeled") == content(tmp_path / "whole")


PROGRAM = textwrap.dedent(
    """
    import os, signal, sys
    from grounded_sam2.config import Config
    from grounded_sam2.exporters import ExportOptions, export
    from grounded_sam2.ontology import CaptionOntology
    from grounded_sam2.runner import label_source
    from grounded_sam2.sources.folder import FolderSource
    from grounded_sam2.store import LabelStore
    from grounded_sam2.testing import FakeDetector, FakeSegmenter

    class Deadly(FakeDetector):
        calls = 0
        def detect(self, images, captions):
            self.calls += 1
            if self.calls == int(sys.argv[3]):
                os.kill(os.getpid(), signal.SIGKILL)
            return super().detect(images, captions)

    with LabelStore.create(sys.argv[2]) as store:
        label_source(
            FolderSource(sys.argv[1]),
            store,
            Deadly(),
            FakeSegmenter(),
            CaptionOntology({"red thing": "ball", "blue thing": "box"}),
            Config().with_options({"runtime.batch_size": 3}),
        )
    """
)


def export_all(labeled: Path) -> dict[str, bytes]:
    options = ExportOptions(split={"train": 0.5, "val": 0.5})
    with LabelStore.open(labeled) as store:
        for name in ("yolo", "coco"):
            export(name, store, labeled / name, options)
    return {
        path.relative_to(labeled).as_posix(): path.read_bytes()
        for name in ("yolo", "coco")
        for path in sorted((labeled / name).rglob("*"))
        if path.is_file()
    }


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_run_continues_to_the_same_bytes(images, tmp_path):
    (images / "bad.png").write_text("no picture")
    run(images, tmp_path / "whole")

    command = [sys.executable, "-c", PROGRAM, str(images), str(tmp_path / "killed")]
    killed = subprocess.run([*command, "3"], check=False)
    assert killed.returncode == -signal.SIGKILL
    with LabelStore.open(tmp_path / "killed") as store:
        there = store.summary()
        assert (there.images, there.failed, there.pending) == (5, 1, 3)
    summary = run(images, tmp_path / "killed")
    assert (summary.labeled, summary.failed, summary.skipped) == (3, 0, 6)

    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    whole = export_all(tmp_path / "whole")
    assert export_all(tmp_path / "killed") == whole
    assert len(whole) > 20
