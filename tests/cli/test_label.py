"""``grounded-sam2 label`` with fake models."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fixtures.command_line import is_one_line, table_rows
from pycocotools.coco import COCO

from grounded_sam2.pipeline.models import LazyModels
from grounded_sam2.testing import FakeDetector

Cli = Callable[..., Any]


class PressesCtrlC(FakeDetector):
    """A detector during whose first call the user presses Ctrl-C."""

    def detect(self, images: Any, captions: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return super().detect(images, captions)


class TestLabel:
    def label(self, cli: Cli, images: Path, ontology: Path, out: Path, *args: object) -> Any:
        return cli("label", images, "--ontology", ontology, "--out", out, *args)

    def test_prints_a_summary(
        self, cli: Cli, fakes: None, images: Path, ontology: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        ran = self.label(cli, images, ontology, out, "--format", "yolo", "--format", "coco")
        assert ran.code == 0
        rows = table_rows(ran.out)
        assert rows == {
            "images labeled": "4",
            "of these background": "1",
            "images failed": "1",
            "objects": "4",
            "warm": "2",
            "cold": "2",
        }
        for text in ("broken.png", "images/s", out / "yolo", out / "coco", out / "labels.db"):
            assert str(text) in ran.out

    def test_writes_the_datasets(
        self, cli: Cli, fakes: None, images: Path, ontology: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        self.label(cli, images, ontology, out, "--format", "yolo", "--format", "coco")
        assert yaml.safe_load((out / "yolo" / "data.yaml").read_text())["names"] == ["warm", "cold"]
        coco = COCO(out / "coco" / "annotations" / "instances_train.json")
        assert len(coco.imgs) == 4
        assert len(coco.anns) == 4

    def test_writes_yolo_beside_the_images_by_default(
        self, cli: Cli, fakes: None, images: Path, ontology: Path
    ) -> None:
        assert cli("label", images, "--ontology", ontology).code == 0
        assert (images.parent / "images_labeled" / "yolo" / "data.yaml").is_file()

    def test_splits(
        self, cli: Cli, fakes: None, images: Path, ontology: Path, tmp_path: Path
    ) -> None:
        args = ("--split", "0/1/0", "--format", "coco", "--seed", "3")
        self.label(cli, images, ontology, tmp_path / "out", *args)
        folder = tmp_path / "out" / "coco" / "images" / "val"
        assert len([path for path in folder.rglob("*") if path.is_file()]) == 4

    @pytest.mark.parametrize(
        ("args", "labeled"),
        [(("--extension", ".bmp"), 1), (("--no-recursive",), 3), ((), 4)],
        ids=["extension", "no-recursive", "all"],
    )
    def test_labels_only_the_requested_images(
        self,
        cli: Cli,
        fakes: None,
        images: Path,
        ontology: Path,
        tmp_path: Path,
        args: tuple[str, ...],
        labeled: int,
    ) -> None:
        ran = self.label(cli, images, ontology, tmp_path / "out", *args)
        rows = table_rows(ran.out)
        assert rows["images labeled"] == str(labeled)

    def test_the_same_command_again_has_nothing_to_do(
        self, cli: Cli, fakes: None, images: Path, ontology: Path, tmp_path: Path
    ) -> None:
        first, second = (self.label(cli, images, ontology, tmp_path / "out") for _ in range(2))
        assert "nothing to do" not in first.out
        assert "nothing to do: all 5 images" in second.out

    def test_retries_failed_images_on_request(
        self, cli: Cli, fakes: None, images: Path, ontology: Path, tmp_path: Path
    ) -> None:
        self.label(cli, images, ontology, tmp_path / "out")
        again = self.label(cli, images, ontology, tmp_path / "out", "--retry-failed")
        assert "4 processed before" in again.out

    def test_other_settings_need_a_new_run(
        self, cli: Cli, fakes: None, images: Path, ontology: Path, tmp_path: Path
    ) -> None:
        self.label(cli, images, ontology, tmp_path / "out")
        other = ("--min-confidence", "0.95")
        refused = self.label(cli, images, ontology, tmp_path / "out", *other)
        assert refused.code == 1
        assert is_one_line(refused.err)
        assert "--new-run" in refused.err
        renewed = self.label(cli, images, ontology, tmp_path / "out", *other, "--new-run")
        assert renewed.code == 0
        assert "run 2" in renewed.out

    def test_a_missing_folder(self, cli: Cli, fakes: None, ontology: Path, tmp_path: Path) -> None:
        ran = self.label(cli, tmp_path / "absent", ontology, tmp_path / "out")
        assert ran.code == 2
        assert is_one_line(ran.err)

    def test_fails_with_the_reasons_if_no_image_can_be_labeled(
        self, cli: Cli, fakes: None, ontology: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "broken.png").write_bytes(b"no image")
        ran = self.label(cli, tmp_path / "in", ontology, tmp_path / "out")
        assert ran.code == 1
        assert "failed: broken.png: " in ran.out
        assert is_one_line(ran.err)
        assert "none of the images" in ran.err

    def test_the_same_command_continues_after_ctrl_c(
        self,
        cli: Cli,
        fakes: None,
        monkeypatch: pytest.MonkeyPatch,
        images: Path,
        ontology: Path,
        tmp_path: Path,
    ) -> None:
        one_by_one = ("--set", "runtime.batch_size=1")
        with monkeypatch.context() as during:
            during.setattr(LazyModels, "detector", PressesCtrlC())
            ran = self.label(cli, images, ontology, tmp_path / "out", *one_by_one)
        assert ran.code == 130
        assert is_one_line(ran.err)
        assert "run the same command again" in ran.err
        again = self.label(cli, images, ontology, tmp_path / "out", *one_by_one)
        assert again.code == 0
        rows = table_rows(again.out)
        assert rows["images labeled"] == "4"
