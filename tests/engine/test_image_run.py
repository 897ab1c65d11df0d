"""Runs over images: labeling, failures, resuming, changed configurations and interruptions."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from grounded_sam2.config import Config
from grounded_sam2.engine.image_run import label_images
from grounded_sam2.engine.run_config import OntologyChange, image_run_config
from grounded_sam2.engine.summaries import RunInterrupted
from grounded_sam2.errors import CheckpointError, PromptError, SourceError, StoreError
from grounded_sam2.exporters import ExportOptions, export
from grounded_sam2.inference.detect_and_segment import DetectThenSegment
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.sources.folder import FolderSource
from grounded_sam2.sources.refs import FailedRef, ImageRef
from grounded_sam2.store import LabelStore
from grounded_sam2.testing import COLORS, FakeDetector, FakeSegmenter

ONTOLOGY = CaptionOntology({"red object": "ball", "blue object": "box"})
CONFIG = Config().with_options({"runtime.batch_size": 3})


def write_image(path: Path, seed: int, size_hw: tuple[int, int] = (24, 32)) -> None:
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
        write_image(folder / ("sub" if i % 3 == 0 else "") / f"{i}.png", i)
    return folder


class RecordingDetector(FakeDetector):
    """Records the number of images of each call, and fails on images of a given height."""

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


class RecordingProgress:
    """A `Progress` that records what it receives."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.steps: list[tuple[int, int, int]] = []

    def start(self, total):
        self.total = total

    def advance(self, *, labeled, failed, skipped):
        self.steps.append((labeled, failed, skipped))


def run(images, labeled, *, detector=None, config=CONFIG, ontology=ONTOLOGY, **options):
    with LabelStore.create(labeled) as store:
        return label_images(
            FolderSource(images),
            store,
            DetectThenSegment(detector or FakeDetector(), FakeSegmenter()),
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


class CaptionRecordingDetector(FakeDetector):
    """Records the captions requested for each image."""

    def __init__(self) -> None:
        super().__init__()
        self.captions: list[list[str]] = []

    def detect(self, images, captions):
        self.captions += [list(image_captions) for image_captions in captions]
        return super().detect(images, captions)


GREEN = {"green object": "pen"}


def add_green(images: Path) -> None:
    for path in images.rglob("*.png"):
        pixels = np.array(PIL.Image.open(path))
        pixels[20:23, 1:9] = COLORS["green"]
        PIL.Image.fromarray(pixels).save(path)


def labels_of(labeled: Path) -> list:
    return [(item.item_id, labels) for item, labels in content(labeled)]


class ListSource:
    """An image source of given references."""

    def __init__(self, root, *refs) -> None:
        self.root = root
        self.refs = refs

    def __iter__(self):
        return iter(self.refs)


def run_source(source, labeled, **options):
    with LabelStore.create(labeled) as store:
        return label_images(
            source,
            store,
            DetectThenSegment(FakeDetector(), FakeSegmenter()),
            ONTOLOGY,
            CONFIG,
            **options,
        )


class InterruptingDetector(RecordingDetector):
    """Sends Ctrl-C while it processes the second batch."""

    def detect(self, images, captions):
        detected = super().detect(images, captions)
        if len(self.calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
            while signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
                pass  # until the main thread has handled it
        return detected


PROGRAM = textwrap.dedent(
    """
    import os, signal, sys
    from grounded_sam2.config import Config
    from grounded_sam2.exporters import ExportOptions, export
    from grounded_sam2.ontology import CaptionOntology
    from grounded_sam2.engine.image_run import label_images
    from grounded_sam2.inference.detect_and_segment import DetectThenSegment
    from grounded_sam2.sources.folder import FolderSource
    from grounded_sam2.store import LabelStore
    from grounded_sam2.testing import FakeDetector, FakeSegmenter

    class SelfKillingDetector(FakeDetector):
        calls = 0
        def detect(self, images, captions):
            self.calls += 1
            if self.calls == int(sys.argv[3]):
                os.kill(os.getpid(), signal.SIGKILL)
            return super().detect(images, captions)

    with LabelStore.create(sys.argv[2]) as store:
        label_images(
            FolderSource(sys.argv[1]),
            store,
            DetectThenSegment(SelfKillingDetector(), FakeSegmenter()),
            CaptionOntology({"red object": "ball", "blue object": "box"}),
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


class TestLabeling:
    def test_every_image_is_labeled_with_its_metadata(self, images, tmp_path):
        summary = run(images, tmp_path / "labeled")
        assert (summary.total, summary.labeled, summary.failed, summary.skipped) == (8, 8, 0, 0)
        assert not summary.nothing_to_do
        with LabelStore.open(tmp_path / "labeled") as store:
            pairs = list(store.labels())
            assert [item.item_id for item, _ in pairs] == [
                ref.item_id for ref in FolderSource(images)
            ]
            assert all(item.path == images / item.item_id for item, _ in pairs)
            assert all(item.size_hw == labels.size_hw == (24, 32) for item, labels in pairs)
            assert all(len(item.content_hash) == 64 for item, _ in pairs)
            assert store.summary().pending == 0
            assert store.run().settings == CONFIG.to_dict()
            assert "numpy" in store.run().versions

    def test_batches_are_cut_from_the_order_of_the_source(self, images, tmp_path):
        detector = RecordingDetector()
        progress = RecordingProgress()
        run(images, tmp_path / "labeled", detector=detector, progress=progress)
        assert detector.calls == [3, 3, 2]
        assert progress.total == 8
        assert progress.steps == [(3, 0, 0), (3, 0, 0), (2, 0, 0)]

    @pytest.mark.parametrize("options", [(1, 0, 1), (8, 5, 4), (100, 2, 2)])
    def test_labels_do_not_depend_on_threads_prefetch_and_batch_size(
        self, images, tmp_path, options
    ):
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

    def test_candidates_below_the_threshold_are_stored_and_are_no_labels(self, images, tmp_path):
        unsure = FakeDetector(confidence=0.2)
        run(images, tmp_path / "labeled", detector=unsure)
        with LabelStore.open(tmp_path / "labeled") as store:
            assert store.summary().objects == 0
            assert store.summary().dropped_candidates["low_confidence"] > 8
        lower = CONFIG.with_options({"detector.min_confidence": 0.15})
        detector = CaptionRecordingDetector()
        summary = run(images, tmp_path / "labeled", detector=detector, config=lower, new_run=True)
        assert (summary.postprocessed, detector.captions) == (8, [])
        run(images, tmp_path / "other", detector=unsure, config=lower)
        assert labels_of(tmp_path / "labeled") == labels_of(tmp_path / "other")


class TestMemory:
    def test_the_number_of_images_in_flight_is_bounded(self, images, tmp_path):
        iterated: list[str] = []
        ahead: list[int] = []

        class RecordingSource(FolderSource):
            def __iter__(self):
                iterated.clear()
                for ref in super().__iter__():
                    iterated.append(ref.item_id)
                    yield ref

        class AheadRecordingDetector(FakeDetector):
            def detect(self, images, captions):
                ahead.append(len(iterated))
                return super().detect(images, captions)

        config = CONFIG.with_options({"runtime.batch_size": 1, "runtime.prefetch": 2})
        with LabelStore.create(tmp_path / "labeled") as store:
            label_images(
                RecordingSource(images),
                store,
                DetectThenSegment(AheadRecordingDetector(), FakeSegmenter()),
                ONTOLOGY,
                config,
            )
        # One image each in the detector, in post-processing and in the store, and two prefetched.
        assert all(count <= index + 4 for index, count in enumerate(ahead))

    def test_batches_of_large_images_are_cut_to_fit_into_the_memory_budget(self, tmp_path):
        for number in range(7):
            size_hw = (700, 500) if number != 3 else (24, 32)  # one of them fits into 1 MiB
            write_image(tmp_path / "images" / f"{number}.png", number, size_hw)
        small = CONFIG.with_options({"runtime.decoded_megabytes": 1, "runtime.loader_threads": 4})
        detector = RecordingDetector()
        run(tmp_path / "images", tmp_path / "small", config=small, detector=detector)
        assert max(detector.calls) == 1
        run(tmp_path / "images", tmp_path / "large")
        assert content(tmp_path / "small") == content(tmp_path / "large")


class TestFailures:
    def test_a_fatal_error_ends_a_run_whose_images_wait_for_memory(self, tmp_path):
        for number in range(9):
            write_image(tmp_path / "images" / f"{number}.png", number, (700, 500))
        small = CONFIG.with_options({"runtime.decoded_megabytes": 1, "runtime.loader_threads": 4})
        detector = RecordingDetector(failing_height=700, error=CheckpointError)
        with pytest.raises(CheckpointError):
            run(tmp_path / "images", tmp_path / "labeled", config=small, detector=detector)

    def test_an_unreadable_file_is_one_failed_item_and_the_run_goes_on(self, images, tmp_path):
        (images / "0_truncated.png").write_bytes((images / "1.png").read_bytes()[:60])
        (images / "1_empty.png").write_bytes(b"")
        (images / "2_text.png").write_text("no image")
        (images / "3_gone.png").symlink_to("nowhere.png")
        summary = run(images, tmp_path / "labeled")
        assert (summary.total, summary.labeled, summary.failed) == (12, 8, 4)
        with LabelStore.open(tmp_path / "labeled") as store:
            reasons = {item.item_id: reason for item, reason in store.failures()}
        assert list(reasons) == ["0_truncated.png", "1_empty.png", "2_text.png", "3_gone.png"]
        assert "empty (0 bytes)" in reasons["1_empty.png"]
        assert "does not exist" in reasons["3_gone.png"]

    def test_when_a_model_fails_on_a_batch_only_the_causing_image_fails(self, images, tmp_path):
        write_image(images / "4b.png", 99, size_hw=(50, 32))
        detector = RecordingDetector(failing_height=50)
        summary = run(images, tmp_path / "labeled", detector=detector)
        assert (summary.labeled, summary.failed) == (8, 1)
        assert detector.calls == [3, 3, 1, 1, 1, 3]
        with LabelStore.open(tmp_path / "labeled") as store:
            [(item, reason)] = store.failures()
        assert (item.item_id, reason) == ("4b.png", "RuntimeError: index 7 is out of bounds")
        assert item.size_hw == (50, 32)

    @pytest.mark.parametrize("error", [CheckpointError, PromptError])
    def test_an_error_that_every_image_would_cause_ends_the_run(self, images, tmp_path, error):
        detector = RecordingDetector(failing_height=24, error=error)
        with pytest.raises(error):
            run(images, tmp_path / "labeled", detector=detector)
        assert content(tmp_path / "labeled") == []

    def test_a_full_disk_ends_the_run(self, images, tmp_path):
        class Full(ImageRef):
            def fetch(self):
                raise OSError(errno.ENOSPC, "No space left on device")

        refs = list(FolderSource(images))
        full = Full(refs[4].item_id, refs[4].path)
        source = ListSource(images, *refs[:4], full, *refs[5:])
        with pytest.raises(SourceError, match="No space left on device; make space"):
            run_source(source, tmp_path / "labeled")
        with LabelStore.open(tmp_path / "labeled") as store:
            assert (store.summary().images, store.summary().failed) == (3, 0)

    def test_a_failed_remote_image_is_not_fetched_again(self, images, tmp_path):
        class Away(ImageRef):
            def is_local(self):
                return False

            def fetch(self):
                fetched.append(self.item_id)
                raise OSError("no response")

        fetched: list[str] = []
        source = ListSource(images, *(Away(ref.item_id, ref.path) for ref in FolderSource(images)))
        assert run_source(source, tmp_path / "labeled").failed == 8
        assert run_source(source, tmp_path / "labeled").nothing_to_do
        assert len(fetched) == 8

    def test_a_failed_run_leaves_no_blocked_thread(self, tmp_path):
        """A thread that waits for memory forever would keep the interpreter from ending."""
        for number in range(6):
            write_image(tmp_path / "images" / f"{number}.png", number, (700, 700))
        all_loading = threading.Event()

        class CountingSource(FolderSource):
            iterations = 0

            def __iter__(self):
                yield from super().__iter__()
                type(self).iterations += 1
                if self.iterations == 2:  # the first iteration registers the names
                    all_loading.set()

        class Failing(FakeDetector):
            def detect(self, images, captions):
                assert all_loading.wait(30)
                raise CheckpointError("weights are gone")

        config = Config().with_options(
            {"runtime.batch_size": 1, "runtime.prefetch": 8, "runtime.decoded_megabytes": 1}
        )
        before = set(threading.enumerate())
        source = CountingSource(tmp_path / "images")
        with LabelStore.create(tmp_path / "labeled") as store, pytest.raises(CheckpointError):
            label_images(
                source, store, DetectThenSegment(Failing(), FakeSegmenter()), ONTOLOGY, config
            )
        left = [thread for thread in threading.enumerate() if thread not in before]
        for thread in left:
            thread.join(20)
        assert not any(thread.is_alive() for thread in left)


class TestResuming:
    def test_a_finished_run_skips_all_images_and_calls_no_model(self, images, tmp_path):
        run(images, tmp_path / "labeled")
        before = content(tmp_path / "labeled")
        detector = RecordingDetector()
        progress = RecordingProgress()
        summary = run(images, tmp_path / "labeled", detector=detector, progress=progress)
        assert summary.nothing_to_do
        assert summary.skipped == 8
        assert detector.calls == []
        assert progress.steps == [(0, 0, 3), (0, 0, 3), (0, 0, 2)]
        assert content(tmp_path / "labeled") == before

    def test_only_new_images_are_labeled(self, images, tmp_path):
        run(images, tmp_path / "labeled")
        write_image(images / "new.png", 50)
        detector = RecordingDetector()
        summary = run(images, tmp_path / "labeled", detector=detector)
        assert (summary.labeled, summary.skipped) == (1, 8)
        assert detector.calls == [1]

    def test_a_changed_image_is_labeled_again_and_one_with_only_a_new_timestamp_is_not(
        self, images, tmp_path
    ):
        run(images, tmp_path / "labeled")
        before = dict(content(tmp_path / "labeled"))
        write_image(images / "1.png", 77)
        touch(images / "1.png")
        touch(images / "2.png")
        detector = RecordingDetector()
        summary = run(images, tmp_path / "labeled", detector=detector)
        assert (summary.labeled, summary.skipped, detector.calls) == (1, 7, [1])
        after = dict(content(tmp_path / "labeled"))
        changed = {item.item_id: item for item in after.keys() - before.keys()}
        assert set(changed) == {"1.png", "2.png"}
        touched = changed["2.png"]  # only its stamp, so that the next run does not read it
        assert replace(touched, file_stamp=None) in {replace(i, file_stamp=None) for i in before}
        assert after[touched] in before.values()

    def test_labels_of_an_image_that_cannot_be_examined_are_kept(self, images, tmp_path):
        run(images, tmp_path / "labeled")
        (images / "1.png").unlink()
        (images / "1.png").symlink_to("nowhere.png")
        assert run(images, tmp_path / "labeled").nothing_to_do
        with LabelStore.open(tmp_path / "labeled") as store:
            assert store.summary().images == 8

    def test_failed_images_are_retried_when_they_change_or_on_request(self, images, tmp_path):
        (images / "bad.png").write_text("no image")
        write_image(images / "tall.png", 99, size_hw=(50, 32))
        labeled = tmp_path / "labeled"
        assert run(images, labeled, detector=RecordingDetector(failing_height=50)).failed == 2
        assert run(images, labeled).nothing_to_do

        write_image(images / "bad.png", 51)
        summary = run(images, labeled)
        assert (summary.labeled, summary.skipped) == (1, 9)

        summary = run(images, labeled, retry_failed=True)
        assert (summary.labeled, summary.failed, summary.skipped) == (1, 0, 9)
        with LabelStore.open(labeled) as store:
            assert list(store.failures()) == []


class TestChangedConfiguration:
    def test_options_of_speed_and_limits_continue_the_run(self, images, tmp_path):
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

    def test_other_thresholds_are_refused_or_make_a_new_run(self, images, tmp_path):
        run(images, tmp_path / "labeled")
        strict = CONFIG.with_options({"detector.min_confidence": 0.95})
        with pytest.raises(StoreError, match=r"\(detector\.min_confidence: 0\.3 → 0\.95\)"):
            run(images, tmp_path / "labeled", config=strict)
        detector = RecordingDetector()
        summary = run(images, tmp_path / "labeled", config=strict, new_run=True, detector=detector)
        assert (summary.labeled, summary.postprocessed, detector.calls) == (8, 8, [])
        with LabelStore.open(tmp_path / "labeled") as store:
            first, second = store.runs()
            assert store.summary(first.id).objects > 0
            assert store.summary(second.id).objects == store.summary().objects == 0

    def test_another_source_is_refused_with_both_names(self, images, tmp_path):
        run(images, tmp_path / "labeled")
        with pytest.raises(StoreError, match=r"source: '\.\./images' → '\.\./images/sub'"):
            run(images / "sub", tmp_path / "labeled")


class TestRunConfig:
    def test_contains_the_models_and_all_options_that_change_labels(self):
        run_config = image_run_config(Config(), ONTOLOGY)
        assert run_config.models == {
            "detector": "florence-community/Florence-2-base",
            "segmenter": "facebook/sam2.1-hiera-tiny",
        }
        assert set(run_config.inference) == {"detector", "segmenter", "tiling"}
        assert run_config.postprocess["detector"] == {"min_confidence": 0.3}
        assert "nms_iou" in run_config.postprocess["cleanup"]
        for option, value in [
            ("detector.checkpoint", "other"),
            ("detector.num_beams", 3),
            ("segmenter.checkpoint", "large"),
            ("segmenter.mask_threshold", 0.5),
            ("tiling.mode", "never"),
            ("detector.candidate_confidence", 0.2),
        ]:
            other = image_run_config(Config().with_options({option: value}), ONTOLOGY)
            assert not other.same_inference(run_config), option
        for option, value in [
            ("cleanup.nms_iou", 0.9),
            ("detector.min_confidence", 0.5),
            ("segmenter.min_mask_quality", 0.5),
        ]:
            other = image_run_config(Config().with_options({option: value}), ONTOLOGY)
            assert other.key != run_config.key
            assert other.same_inference(run_config), option

    def test_a_threshold_below_the_candidate_confidence_lowers_it(self):
        low = image_run_config(Config().with_options({"detector.min_confidence": 0.05}), ONTOLOGY)
        assert low.inference["detector"]["candidate_confidence"] == 0.05

    def test_contains_the_captions_if_they_are_detected_together(self):
        config = Config().with_options({"detector.task": "phrase_grounding"})
        more = CaptionOntology({**ONTOLOGY.to_dict(), "green object": "pen"})
        assert not image_run_config(config, more).same_inference(image_run_config(config, ONTOLOGY))
        assert image_run_config(Config(), more) == image_run_config(Config(), ONTOLOGY)


class TestChangedOntology:
    def test_only_new_captions_are_detected(self, images, tmp_path):
        add_green(images)
        both = CaptionOntology({**ONTOLOGY.to_dict(), **GREEN})
        run(images, tmp_path / "labeled")
        detector = CaptionRecordingDetector()
        summary = run(images, tmp_path / "labeled", ontology=both, detector=detector)
        assert detector.captions == [["green object"]] * 8
        assert (summary.labeled, summary.postprocessed) == (8, 0)
        assert summary.change == OntologyChange(("green object",), (), ())
        run(images, tmp_path / "at once", ontology=both)
        assert labels_of(tmp_path / "labeled") == labels_of(tmp_path / "at once")
        assert export_all(tmp_path / "labeled") == export_all(tmp_path / "at once")
        assert run(images, tmp_path / "labeled", ontology=both).nothing_to_do

    def test_a_renamed_class_and_a_removed_caption_need_no_model_and_no_pixels(
        self, images, tmp_path
    ):
        run(images, tmp_path / "labeled")
        moved = images.rename(tmp_path / "images away")
        other = CaptionOntology({"red object": "sphere"})
        for path in moved.rglob("*.png"):  # the names exist, the pixels do not
            (images / path.relative_to(moved)).parent.mkdir(parents=True, exist_ok=True)
            (images / path.relative_to(moved)).symlink_to("nowhere.png")
        detector = CaptionRecordingDetector()
        summary = run(images, tmp_path / "labeled", ontology=other, detector=detector)
        assert (summary.labeled, summary.postprocessed, summary.failed) == (8, 8, 0)
        assert summary.change == OntologyChange(
            (), ("blue object",), (("red object", "ball", "sphere"),)
        )
        assert detector.captions == []
        with LabelStore.open(tmp_path / "labeled") as store:
            assert store.classes() == ["sphere"]
            names = {label.class_name for _, labels in store.labels() for label in labels.objects}
            assert names == {"sphere"}
            assert store.summary().dropped_candidates["not_wanted"] > 0

        summary = run(images, tmp_path / "labeled", detector=detector)  # and back
        assert (summary.postprocessed, detector.captions) == (8, [])

    def test_a_run_interrupted_after_an_ontology_change_continues(self, images, tmp_path):
        add_green(images)
        both = CaptionOntology({**ONTOLOGY.to_dict(), **GREEN})
        run(images, tmp_path / "labeled")
        with pytest.raises(RunInterrupted):
            run(images, tmp_path / "labeled", ontology=both, detector=InterruptingDetector())
        with LabelStore.open(tmp_path / "labeled") as store:
            assert 0 < store.summary().images < 8  # none of them with earlier labels
        run(images, tmp_path / "labeled", ontology=both)
        run(images, tmp_path / "at once", ontology=both)
        assert labels_of(tmp_path / "labeled") == labels_of(tmp_path / "at once")

    def test_an_image_that_changed_with_the_ontology_is_detected_with_all_captions(
        self, images, tmp_path
    ):
        run(images, tmp_path / "labeled")
        write_image(images / "1.png", 77)
        touch(images / "1.png")
        both = CaptionOntology({**ONTOLOGY.to_dict(), **GREEN})
        detector = CaptionRecordingDetector()
        run(images, tmp_path / "labeled", ontology=both, detector=detector)
        assert sorted(detector.captions) == sorted([["green object"]] * 7 + [both.prompts()])


class TestRemovedImages:
    def test_a_removed_image_is_reported_and_pruned_only_on_request(self, images, tmp_path):
        run(images, tmp_path / "labeled")
        (images / "1.png").unlink()
        summary = run(images, tmp_path / "labeled")
        assert (summary.total, summary.removed, summary.removed_ids) == (7, 1, ("1.png",))
        assert len(content(tmp_path / "labeled")) == 8
        summary = run(images, tmp_path / "labeled", prune=True)
        assert (summary.removed, summary.pruned) == (1, True)
        assert len(content(tmp_path / "labeled")) == 7

    def test_nothing_is_pruned_while_a_folder_cannot_be_read(self, images, tmp_path):
        refs = list(FolderSource(images))
        run_source(ListSource(images, *refs), tmp_path / "labeled")
        lost = FailedRef("sub", images / "sub", "source: folder 'sub' cannot be listed")
        partly = ListSource(images, *refs[:5], lost)
        with pytest.raises(SourceError, match=r"'sub' cannot be listed; .*nothing is pruned"):
            run_source(partly, tmp_path / "labeled", prune=True)
        summary = run_source(partly, tmp_path / "labeled")
        assert (summary.failed, summary.removed) == (1, 3)
        with LabelStore.open(tmp_path / "labeled") as store:
            assert (store.summary().images, store.summary().failed) == (8, 1)

    def test_labels_of_a_removed_image_follow_ontology_changes_that_need_no_pixels(
        self, images, tmp_path
    ):
        run(images, tmp_path / "labeled")
        (images / "1.png").unlink()
        renamed = CaptionOntology({"red object": "sphere", "blue object": "box"})
        run(images, tmp_path / "labeled", ontology=renamed)
        [labels] = [found for name, found in labels_of(tmp_path / "labeled") if name == "1.png"]
        assert {label.class_name for label in labels.objects} == {"sphere", "box"}
        with_green = CaptionOntology({**renamed.to_dict(), **GREEN})
        run(images, tmp_path / "labeled", ontology=with_green)
        assert "1.png" not in dict(
            labels_of(tmp_path / "labeled")
        )  # it cannot be detected any more
        run(images, tmp_path / "labeled", ontology=renamed)
        assert "1.png" in dict(labels_of(tmp_path / "labeled"))


class TestSummary:
    def test_the_automatic_batch_size_is_determined_once_and_kept(self, images, tmp_path):
        auto = Config()
        assert auto.runtime.batch_size == "auto"
        first = run(images, tmp_path / "labeled", config=auto, auto_batch_size=lambda: 5)
        again = run(images, tmp_path / "labeled", config=auto, auto_batch_size=lambda: 7)
        chosen = run(images, tmp_path / "labeled", config=CONFIG)
        assert (first.batch_size, again.batch_size, chosen.batch_size) == (5, 5, 3)

    def test_the_working_time_of_every_stage_is_reported(self, images, tmp_path):
        summary = run(images, tmp_path / "labeled")
        assert [stage.name for stage in summary.stages] == ["decode", "models", "masks", "store"]
        assert all(stage.seconds > 0 for stage in summary.stages)
        assert summary.seconds > 0


class TestInterruptions:
    @pytest.mark.skipif(os.name != "posix", reason="needs signals between processes")
    def test_ctrl_c_writes_the_batches_in_flight_and_states_how_to_continue(self, images, tmp_path):
        detector = InterruptingDetector()
        with pytest.raises(KeyboardInterrupt, match=r"6 of 8 images.*same command") as stopped:
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

    @pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
    def test_a_killed_run_continues_to_byte_identical_exports(self, images, tmp_path):
        (images / "bad.png").write_text("no image")
        run(images, tmp_path / "whole")

        command = [sys.executable, "-c", PROGRAM, str(images), str(tmp_path / "killed")]
        killed = subprocess.run([*command, "3"], check=False)
        assert killed.returncode == -signal.SIGKILL
        with LabelStore.open(tmp_path / "killed") as store:
            counts = store.summary()
            stored = counts.images + counts.failed
            assert stored in (0, 3, 6)  # whole batches
            assert stored + counts.pending == 9
        summary = run(images, tmp_path / "killed")
        assert (summary.labeled + summary.failed, summary.skipped) == (9 - stored, stored)

        assert content(tmp_path / "killed") == content(tmp_path / "whole")
        whole = export_all(tmp_path / "whole")
        assert export_all(tmp_path / "killed") == whole
        assert len(whole) > 20
