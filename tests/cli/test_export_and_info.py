"""``grounded-sam2 export`` and ``info`` of a labeled folder."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fixtures.command_line import is_one_line

from grounded_sam2.store import VideoRecord

Cli = Callable[..., Any]


class TestExportAndInfo:
    @pytest.fixture
    def labeled(self, cli: Cli, fakes: None, images: Path, ontology: Path, tmp_path: Path) -> Path:
        out = tmp_path / "labeled"
        assert cli("label", images, "--ontology", ontology, "--out", out).code == 0
        return out

    def test_info_loads_no_heavy_library(self, labeled: Path) -> None:
        code = (
            "import sys; from grounded_sam2.cli import main; main(sys.argv[1:]); "
            "heavy = {'torch', 'scipy', 'pyarrow', 'supervision'} & set(sys.modules); "
            "sys.exit(f'loaded {heavy}' if heavy else 0)"
        )
        command = [sys.executable, "-c", code, "info", labeled]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def test_export_writes_another_format(self, cli: Cli, labeled: Path) -> None:
        ran = cli("export", labeled, "--format", "coco", "--segmentation", "polygons")
        assert ran.code == 0
        assert f"coco: {labeled / 'coco'} (train 4 images; 4 objects)" in ran.out
        coco = json.loads((labeled / "coco/annotations/instances_train.json").read_text())
        assert all(isinstance(row["segmentation"], list) for row in coco["annotations"])

    def test_export_writes_to_another_folder(self, cli: Cli, labeled: Path, tmp_path: Path) -> None:
        out = tmp_path / "datasets"
        assert cli("export", labeled, "--format", "yolo", "--out", out, "--run", 1).code == 0
        assert (out / "yolo" / "data.yaml").is_file()

    def test_export_finds_images_that_were_moved(
        self, cli: Cli, labeled: Path, images: Path, tmp_path: Path
    ) -> None:
        moved = images.rename(tmp_path / "elsewhere")
        lost = cli("export", labeled, "--format", "coco")
        assert lost.code == 1
        assert is_one_line(lost.err)
        assert cli("export", labeled, "--format", "coco", "--images-from", moved).code == 0

    def test_export_of_a_missing_run_is_one_line(self, cli: Cli, labeled: Path) -> None:
        ran = cli("export", labeled, "--format", "coco", "--run", 9)
        assert ran.code == 1
        assert is_one_line(ran.err)

    def test_info_shows_models_captions_and_counts(self, cli: Cli, labeled: Path) -> None:
        ran = cli("info", labeled)
        assert ran.code == 0
        for text in (
            "detector: florence-community/Florence-2-base",
            "segmenter: facebook/sam2.1-hiera-tiny",
            "warm: red box",
            "cold: blue box, white box",
            "images labeled",
            "failed: broken.png: is not an image",
        ):
            assert text in ran.out

    def test_info_shows_the_first_failures_and_how_to_see_all(
        self, cli: Cli, fakes: None, images: Path, ontology: Path, tmp_path: Path
    ) -> None:
        for number in range(7):
            (images / f"it's {number}.png").write_bytes(b"")
        out = tmp_path / "la beled"
        cli("label", images, "--ontology", ontology, "--out", out)
        printed = cli("info", out).out.splitlines()
        assert sum(line.startswith("failed: ") for line in printed) == 5
        assert printed[-1].startswith("… and 3 more failed; all of them: grounded-sam2 info ")
        shown = cli(*shlex.split(printed[-1].partition(": grounded-sam2 ")[2]))
        first, *others = shown.out.splitlines()
        assert first.startswith("broken.png: is not an image")
        assert others == [f"it's {number}.png: is empty (0 bytes)" for number in range(7)]

    def test_info_of_the_failures_of_a_run_without_any(
        self, cli: Cli, labeled: Path, images: Path, ontology: Path
    ) -> None:
        (images / "broken.png").unlink()
        other = ("--new-run", "--min-confidence", "0.95")
        cli("label", images, "--ontology", ontology, "--out", labeled, *other)
        assert cli("info", labeled, "--failures").out == "nothing failed\n"
        assert cli("info", labeled, "--failures", "--run", 1).out.startswith("broken.png: is not")

    def test_info_lists_videos_that_failed(self, cli: Cli, tracked: Any) -> None:
        tracked.add(tracked.images("good", 2), {0: []})
        for name, error in (("cut", "video 'clips/cut.mp4': has no frame"), ("late", "is gone")):
            tracked.store.begin_video(tracked.run.id, VideoRecord(name, None, tracked.size_hw))
            tracked.store.fail_video(tracked.run.id, name, error)
        ran = cli("info", tracked.folder, "--failures")
        assert ran.out.splitlines() == ["cut: has no frame", "late: is gone"]

    def test_info_names_the_run_whose_failures_are_not_all_shown(
        self, cli: Cli, fakes: None, images: Path, ontology: Path, tmp_path: Path
    ) -> None:
        for number in range(7):
            (images / f"{number}.png").touch()
        label = ("label", images, "--ontology", ontology, "--out", tmp_path / "out")
        cli(*label)
        cli(*label, "--new-run", "--min-confidence", "0.95")
        assert cli("info", tmp_path / "out", "--run", 1).out.endswith(" --failures --run 1\n")
        assert cli("info", tmp_path / "out").out.endswith(" --failures\n")

    @pytest.mark.parametrize("command", [["info"], ["export", "--format", "coco"]])
    def test_a_folder_without_labels(self, cli: Cli, command: list[str], tmp_path: Path) -> None:
        ran = cli(*command, tmp_path)
        assert ran.code == 1
        assert is_one_line(ran.err)
        assert "labels.db" in ran.err

    @pytest.mark.parametrize("command", [["info"], ["export", "--format", "coco"]])
    def test_no_folder(self, cli: Cli, command: list[str], tmp_path: Path) -> None:
        ran = cli(*command, tmp_path / "absent")
        assert ran.code == 2
        assert is_one_line(ran.err)
