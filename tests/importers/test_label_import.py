"""An import is a run of its own: repeatable, complete or to be completed, next to other runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from grounded_sam2.engine.summaries import RunInterrupted
from grounded_sam2.errors import DatasetError, StoreError
from grounded_sam2.exporters import ExportOptions, export
from grounded_sam2.importers import import_labels
from grounded_sam2.pipeline import GroundedSAM2
from grounded_sam2.store import LabelStore
from grounded_sam2.testing import FakeDetector, FakeSegmenter


@pytest.fixture
def dataset(tmp_path: Path, write_image: Any, write_json: Any) -> Callable[..., Path]:
    """Write a COCO dataset of images, each with one box of this class."""

    def write(*names: str, name: str = "cat") -> Path:
        data = tmp_path / "data"
        images = [{"id": n, "file_name": f"{each}.png"} for n, each in enumerate(names)]
        boxes = [
            {"id": n, "image_id": n, "category_id": 1, "bbox": [n, 0, 2, 2]}
            for n, _ in enumerate(names)
        ]
        for each in names:
            write_image(data / f"{each}.png")
        parts = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": name}]}
        write_json(data / "labels.json", parts)
        return data

    return write


class RecordedProgress:
    """Progress that counts, and optionally sends Ctrl-C after some images."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.total = self.labeled = self.failed = 0
        self._stop_after = stop_after

    def start(self, total: int) -> None:
        self.total = total

    def advance(self, *, labeled: int, failed: int, skipped: int) -> None:
        self.labeled += labeled
        self.failed += failed
        if self.labeled == self._stop_after:
            signal.raise_signal(signal.SIGINT)


class TestRuns:
    def test_an_import_is_added_next_to_the_run_of_a_model(
        self, labeled: Any, dataset: Any, tmp_path: Path
    ) -> None:
        labeled.add("m.png", labeled.label(labeled.disc()))
        labeled.store.close()
        summary = import_labels(dataset("a"), labeled.folder)
        with LabelStore.open(labeled.folder) as store:
            assert [run.id for run in store.runs()] == [labeled.run.id, summary.run_id]
            assert store.run().config.models == {"import": "coco"}
            assert store.run().config.source == "../data"
            assert store.run().ontology == (("cat", "cat"),)
            assert [item.item_id for item, _ in store.labels(labeled.run.id)] == ["m.png"]
            assert [item.item_id for item, _ in store.labels()] == ["a.png"]
            options = ExportOptions(run_id=summary.run_id)
            assert export("jsonl", store, tmp_path / "jsonl", options).objects == {"cat": 1}

    @pytest.mark.slow
    def test_a_model_can_label_after_an_import(
        self, dataset: Any, imported: Any, tmp_path: Path
    ) -> None:
        imported(dataset("a"))
        model = GroundedSAM2({"red box": "cat"}, detector=FakeDetector(), segmenter=FakeSegmenter())
        label = partial(model.label, tmp_path / "data", output_folder=tmp_path / "labeled")
        assert label(formats=()).summary.run_id == 2
        imported(tmp_path / "data")
        assert label(formats=()).summary.run_id == 2
        other = model.config.with_options({"detector.min_confidence": 0.9})
        model = GroundedSAM2(
            {"red box": "cat"},
            config=other,
            detector=FakeDetector(),
            segmenter=FakeSegmenter(),
        )
        with pytest.raises(StoreError, match=r"\(detector.min_confidence: [0-9.]+ → 0.9\)"):
            model.label(tmp_path / "data", output_folder=tmp_path / "labeled", formats=())

    def test_a_repeated_import_is_the_same_run_with_the_same_labels(
        self, dataset: Any, imported: Any
    ) -> None:
        first = imported(dataset("a", "b"))
        second = imported(dataset("a", "b"))
        assert second.summary.counts == first.summary.counts
        assert second.objects == first.objects
        with LabelStore.open(first.folder) as store:
            assert len(store.runs()) == 1

    def test_a_repeated_import_follows_changes_of_the_dataset(
        self, dataset: Any, imported: Any
    ) -> None:
        imported(dataset("a", "b", "c"))
        again = imported(dataset("b", "d", name="dog"))
        assert {name: label.class_name for name, (label,) in again.objects.items()} == {
            "b.png": "dog",
            "d.png": "dog",
        }
        assert again.summary.counts.objects_per_class == {"dog": 2}

    @pytest.mark.parametrize(
        "other", [{"name": "second"}, {"origin": "model"}, {"crowds": True}], ids=str
    )
    def test_another_name_origin_or_crowd_option_is_another_run(
        self, dataset: Any, imported: Any, other: Any
    ) -> None:
        imported(dataset("a"))
        got = imported(dataset("a"), **other)
        with LabelStore.open(got.folder) as store:
            assert len(store.runs()) == 2

    def test_two_datasets_are_two_runs(self, dataset: Any, imported: Any, tmp_path: Path) -> None:
        imported(dataset("a"))
        data = dataset("b").rename(tmp_path / "other")
        assert list(imported(data).objects) == ["b.png"]
        with LabelStore.open(tmp_path / "labeled") as store:
            assert [run.config.source for run in store.runs()] == ["../data", "../other"]

    def test_images_are_stored_with_content_hash_and_size(
        self, dataset: Any, imported: Any
    ) -> None:
        got = imported(dataset("a"))
        with LabelStore.open(got.folder) as store:
            (item,) = store.done_items()
        assert item.size_hw == (6, 8)
        assert len(item.content_hash) == 64
        assert item.path.samefile(got.folder.parent / "data" / "a.png")


class TestInterruption:
    def test_the_same_call_completes_an_interrupted_import(
        self, dataset: Any, imported: Any, tmp_path: Path
    ) -> None:
        data = dataset("a", "b", "c")
        with pytest.raises(RunInterrupted, match="stopped after 2 of 3 images; run the same"):
            imported(data, progress=RecordedProgress(stop_after=2), batch_size=1)
        with LabelStore.open(tmp_path / "labeled") as store:
            assert (store.summary().images, store.summary().pending) == (2, 1)
        assert len(imported(data).objects) == 3

    def test_progress_counts_labeled_and_failed_images(self, dataset: Any, imported: Any) -> None:
        data = dataset("a", "b", "c")
        (data / "b.png").unlink()
        progress = RecordedProgress()
        imported(data, progress=progress)
        assert (progress.total, progress.labeled, progress.failed) == (3, 2, 1)

    def test_an_output_folder_that_another_process_writes_is_refused(
        self, dataset: Any, tmp_path: Path
    ) -> None:
        with LabelStore.create(tmp_path / "labeled"), pytest.raises(StoreError, match="another"):
            import_labels(dataset("a"), tmp_path / "labeled")


class TestUnreadableDatasets:
    def test_a_dataset_that_cannot_be_listed_adds_no_run(
        self, imported: Any, tmp_path: Path, write_image: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_image(tmp_path / "data" / "images" / "sub" / "a.png")
        (tmp_path / "data" / "data.yaml").write_text("train: images\nnames: [cat]\n")
        scandir = os.scandir

        def refused(path: str) -> Any:
            if str(path).endswith("sub"):
                raise PermissionError(13, "Permission denied")
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refused)
        with pytest.raises(DatasetError, match="cannot be listed: Permission denied"):
            imported(tmp_path / "data")
        with LabelStore.open(tmp_path / "labeled") as store:
            assert store.runs() == []

    def test_a_dataset_without_images_is_refused(self, imported: Any, tmp_path: Path) -> None:
        (tmp_path / "data" / "images").mkdir(parents=True)
        (tmp_path / "data" / "data.yaml").write_text("train: images\nnames: [cat]\n")
        with pytest.raises(DatasetError, match="contains no images"):
            imported(tmp_path / "data")


class TestFormatDetection:
    def test_an_unknown_format_is_refused(self, dataset: Any, imported: Any) -> None:
        with pytest.raises(DatasetError, match="choose from coco, yolo, hf"):
            imported(dataset("a"), format="voc")

    def test_a_format_that_does_not_match_the_files_is_refused(
        self, dataset: Any, imported: Any
    ) -> None:
        with pytest.raises(DatasetError, match="no Parquet files"):
            imported(dataset("a"), format="hf")

    @pytest.mark.parametrize("what", ["absent", "folder", "text"])
    def test_a_path_that_is_not_a_dataset_is_refused(
        self, imported: Any, tmp_path: Path, what: str
    ) -> None:
        path = tmp_path / "data"
        if what == "folder":
            path.mkdir()
        elif what == "text":
            path.write_text("cats")
        with pytest.raises(DatasetError, match=str(path)):
            imported(path)
        assert not (tmp_path / "labeled").exists()

    def test_an_output_folder_is_not_a_dataset(self, imported: Any, dataset: Any) -> None:
        got = imported(dataset("a"))
        with LabelStore.open(got.folder) as store:
            export("jsonl", store, got.folder / "jsonl")
        with pytest.raises(DatasetError, match="no COCO annotations"):
            imported(got.folder)
