"""The command line. Most of it runs with fakes; the last tests with the embedded models."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import typer
import yaml
from pycocotools.coco import COCO
from rich.console import Console
from typer.main import get_command

from grounded_sam2.cli.commands import app
from grounded_sam2.cli.progress import ProgressBar
from grounded_sam2.config.yaml_files import shipped_names
from grounded_sam2.exporters import EXPORTERS
from grounded_sam2.pipeline import GroundedSAM2
from grounded_sam2.pipeline.models import LazyModels
from grounded_sam2.store import VideoRecord
from grounded_sam2.testing import COLORS, FakeDetector, FakeSegmenter

Cli = Callable[..., Any]
GROUP: Any = get_command(app)
COMMANDS = sorted(GROUP.commands)


def examples(command: str) -> list[str]:
    """The example lines in a command's help, without their line breaks."""
    text = GROUP.commands[command].help.replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.strip().startswith("grounded-sam2")]


def one_line(err: str) -> bool:
    return err.count("\n") == 1 and err.startswith("grounded-sam2: ")


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LazyModels, "detector", FakeDetector())
    monkeypatch.setattr(LazyModels, "segmenter", FakeSegmenter())


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two images of boxes, one of nothing, one in a sub-folder, one that is none."""
    folder = tmp_path / "images"
    (folder / "more").mkdir(parents=True)
    draw(folder / "red.png", "red")
    draw(folder / "both.png", "red", "blue")
    draw(folder / "empty.png")
    draw(folder / "more" / "blue.bmp", "blue")
    (folder / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def ontology(tmp_path: Path) -> Path:
    path = tmp_path / "boxes.yaml"
    path.write_text("warm: [red box]\ncold: [blue box, white box]\n")
    return path


def draw(path: Path, *colors: str) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    for index, color in enumerate(colors):
        image[10:30, 5 + 30 * index : 25 + 30 * index] = COLORS[color]
    PIL.Image.fromarray(image).save(path)


class TestHelp:
    @pytest.mark.parametrize("command", COMMANDS)
    def test_has_an_example_that_the_command_accepts(
        self, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for folder in ("images", "labeled"):
            Path(folder).mkdir()
        assert examples(command)
        for example in examples(command):
            _, name, *arguments = shlex.split(example)
            assert name == command
            GROUP.commands[command].make_context(name, arguments)

    @pytest.mark.parametrize("command", COMMANDS)
    def test_explains_every_option(self, command: str) -> None:
        for parameter in GROUP.commands[command].params:
            assert len(getattr(parameter, "help", None) or "") > 8, parameter.name

    @pytest.mark.parametrize("command", COMMANDS)
    def test_says_in_a_short_line_what_the_command_does(self, command: str, cli: Cli) -> None:
        first = GROUP.commands[command].help.splitlines()[0]
        assert first in cli("--help").out, "it is cut off in the list of commands"

    @pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
    def test_is_shown(self, command: list[str], cli: Cli) -> None:
        ran = cli(*command, "--help")
        assert ran.code == 0
        assert " ".join(["Usage: grounded-sam2", *command]) in ran.out

    def test_is_shown_without_arguments(self, cli: Cli) -> None:
        assert cli().out == cli("--help").out

    def test_names_every_shipped_configuration_and_format(self, cli: Cli) -> None:
        told = (cli(command, "--help").out for command in ("label", "export"))
        text = "".join(part for each in told for part in each.split())  # a hyphen may end a line
        assert all(name in text for name in (*shipped_names("config"), *EXPORTERS))

    def test_loads_no_model_library(self) -> None:
        code = (
            "import sys; from grounded_sam2.cli import main; main(['label', '--help']); "
            "heavy = {'torch', 'transformers', 'supervision', 'cv2', 'numpy'} & set(sys.modules); "
            "sys.exit(f'loaded {heavy}' if heavy else 0)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)

    def test_version(self, cli: Cli) -> None:
        assert cli("--version").out.startswith("grounded-sam2 ")

    def test_the_package_runs_as_a_module(self, cli: Cli) -> None:
        module = [sys.executable, "-m", "grounded_sam2"]
        asked = subprocess.run([*module, "--version"], check=True, capture_output=True, text=True)
        assert asked.stdout == cli("--version").out
        wrong = subprocess.run([*module, "lable"], capture_output=True, text=True)
        assert wrong.returncode == 2
        assert one_line(wrong.stderr)


class TestWrongUse:
    """Exit code 2 and one line that says how to put it right."""

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["lable"], "No such command"),
            (["label"], "Missing argument"),
            (["label", "x", "--otology", "y"], "--otology"),
            (["label", "x", "--format", "cocoa"], "choose from yolo, coco"),
            (["label", "x", "--split", "0.5/0.4"], "must sum to 1"),
            (["label", "x", "--images", "move"], "copy, link, symlink"),
            (["label", "x", "--segmentation", "png"], "rle, polygons"),
            (["label", "x", "--seed", "one"], "--seed"),
            (["label", "x", "--config", "dmeo"], "demo"),
            (["label", "x", "--ontology", "shpaes"], "'shapes'"),
            (["label", "x", "--set", "detector"], "KEY=VALUE"),
            (["label", "x", "--set", "detector.num_beans=3"], "'detector.num_beams'"),
            (["label", "x", "--set", "detector.num_beams=[3"], "cannot be read"),
            (["label", "x", "--min-confidence", "7"], "from 0 to 1"),
            (["export", "x"], "choose from yolo, coco"),
            (["label", "y"], "'y' does not exist"),
            (["info", "y"], "'y' does not exist"),
            (["predict", "y.png", "--prompt", "a"], "'y.png' is not a file"),
            (["demo", "--images", "0"], "--images"),
            (["demo", "--seed", "1000"], "--seed"),
            (["predict", "x.png", "--prompt", "a", "--ontology", "shapes"], "give one"),
        ],
    )
    def test_is_told_in_one_line(
        self,
        arguments: list[str],
        says: str,
        cli: Cli,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("x").mkdir()
        ran = cli(*arguments)
        assert ran.code == 2
        assert one_line(ran.err)
        assert says in ran.err
        assert ran.out == ""

    def test_no_captions(self, cli: Cli, fakes: None, images: Path) -> None:
        ran = cli("predict", images / "red.png", "--config", "demo")
        assert ran.code == 2
        assert one_line(ran.err)
        assert "captions" in ran.err

    def test_a_broken_ontology(self, cli: Cli, images: Path, tmp_path: Path) -> None:
        path = tmp_path / "broken.yaml"
        path.write_text("van: []\n")
        ran = cli("label", images, "--ontology", path)
        assert ran.code == 2
        assert one_line(ran.err)
        assert "'van'" in ran.err

    def test_an_unknown_format_is_noticed_before_anything_is_labeled(
        self, cli: Cli, fakes: None, images: Path, ontology: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        args = ("--ontology", ontology, "--out", out, "--format", "yolo", "--format", "vok")
        assert cli("label", images, *args).code == 2
        assert not out.exists()


class TestRenamedKeys:
    """A former name of a configuration key is one line on standard error, and no error."""

    LINE = (
        "grounded-sam2: config key 'tracking.sure_confidence' is now 'tracking.high_confidence'; "
        "rename it\n"
    )

    def test_in_a_file(self, cli: Cli, fakes: None, images: Path, tmp_path: Path) -> None:
        config = tmp_path / "old.yaml"
        config.write_text("tracking:\n  sure_confidence: 0.6\n")
        ran = cli("predict", images / "red.png", "--prompt", "red box", "--config", config)
        assert (ran.code, ran.err) == (0, self.LINE)
        assert "red box" in ran.out

    def test_in_an_option(self, cli: Cli, fakes: None, images: Path) -> None:
        setting = ("--set", "tracking.sure_confidence=0.6")
        ran = cli("predict", images / "red.png", "--prompt", "red box", *setting)
        assert (ran.code, ran.err) == (0, self.LINE)

    def test_in_both_is_shown_once(
        self, cli: Cli, fakes: None, images: Path, tmp_path: Path
    ) -> None:
        config = tmp_path / "old.yaml"
        config.write_text("tracking:\n  sure_confidence: 0.6\n")
        setting = ("--config", config, "--set", "tracking.sure_confidence=0.7")
        ran = cli("predict", images / "red.png", "--prompt", "red box", *setting)
        assert (ran.code, ran.err) == (0, self.LINE)

    def test_is_shown_again_by_the_next_command(self, cli: Cli, fakes: None, images: Path) -> None:
        setting = ("--set", "tracking.sure_confidence=0.6")
        first, second = (
            cli("predict", images / "red.png", "--prompt", "red box", *setting) for _ in range(2)
        )
        assert first.err == second.err == self.LINE


class TestPredict:
    def test_prints_a_table(self, cli: Cli, fakes: None, images: Path) -> None:
        args = ("--prompt", "red box", "--prompt", "blue box", "--config", "demo")
        ran = cli("predict", images / "both.png", *args)
        assert ran.code == 0
        for text in ("red box", "blue box", "0.900", "0.800", "5.0 10.0 25.0 30.0"):
            assert text in ran.out
        assert ran.err == ""

    def test_takes_an_ontology(self, cli: Cli, fakes: None, images: Path, ontology: Path) -> None:
        ran = cli("predict", images / "red.png", "--ontology", ontology)
        assert "warm" in ran.out
        assert "red box" in ran.out

    def test_says_when_nothing_was_found(self, cli: Cli, fakes: None, images: Path) -> None:
        ran = cli("predict", images / "empty.png", "--prompt", "red box")
        assert (ran.code, ran.out) == (0, "nothing found\n")

    def test_drops_what_is_too_unsure(self, cli: Cli, fakes: None, images: Path) -> None:
        args = ("--prompt", "red box", "--min-confidence", "0.95")
        assert cli("predict", images / "red.png", *args).out == "nothing found\n"

    def test_writes_the_annotated_image(
        self, cli: Cli, fakes: None, images: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "new" / "annotated.png"
        ran = cli("predict", images / "red.png", "--prompt", "red box", "--out", out)
        assert str(out) in ran.out
        before = np.asarray(PIL.Image.open(images / "red.png"))
        after = np.asarray(PIL.Image.open(out))
        assert after.shape == before.shape
        assert (after[12:28, 8:22] != before[12:28, 8:22]).any(), "the mask is drawn"

    def test_prints_json_that_other_programs_read(
        self, cli: Cli, fakes: None, images: Path, tmp_path: Path
    ) -> None:
        args = ("--prompt", "red box", "--json", "--out", tmp_path / "a.png")
        (found,) = json.loads(cli("predict", images / "red.png", *args).out)["objects"]
        mask = found.pop("segmentation")
        assert mask["size"] == [48, 64]
        assert found == {
            "class": "red box",
            "caption": "red box",
            "confidence": 0.9,
            "mask_quality": 0.8,
            "box_xyxy": [5.0, 10.0, 25.0, 30.0],
        }

    def test_json_without_objects(self, cli: Cli, fakes: None, images: Path) -> None:
        ran = cli("predict", images / "empty.png", "--prompt", "red box", "--json")
        assert json.loads(ran.out) == {"objects": []}

    @pytest.mark.parametrize(("name", "code"), [("broken.png", 1), ("absent.png", 2), ("more", 2)])
    def test_an_image_that_cannot_be_read(
        self, cli: Cli, fakes: None, images: Path, name: str, code: int
    ) -> None:
        ran = cli("predict", images / name, "--prompt", "red box")
        assert ran.code == code
        assert one_line(ran.err)
        assert name in ran.err

    def test_an_output_that_cannot_be_written_is_noticed_before_the_models_load(
        self, cli: Cli, images: Path
    ) -> None:
        ran = cli("predict", images / "red.png", "--prompt", "red box", "--out", "a.mp4")
        assert ran.code == 2
        assert one_line(ran.err)
        assert "'.mp4'" in ran.err

    def test_missing_weights_are_one_line_with_the_ways_out(self, cli: Cli, images: Path) -> None:
        args = ("--prompt", "a", "--set", "runtime.local_files_only=true")
        checkpoint = "nobody-we-know/no-such-model"
        ran = cli(
            "predict", images / "red.png", *args, "--set", f"detector.checkpoint={checkpoint}"
        )
        assert ran.code == 1
        assert one_line(ran.err)
        for way in (f"hf download {checkpoint}", "detector.checkpoint", "--config demo"):
            assert way in ran.err


class TestLabel:
    def label(self, cli: Cli, images: Path, ontology: Path, out: Path, *args: object) -> Any:
        return cli("label", images, "--ontology", ontology, "--out", out, *args)

    def test_ends_with_a_summary(
        self, cli: Cli, fakes: None, images: Path, ontology: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        ran = self.label(cli, images, ontology, out, "--format", "yolo", "--format", "coco")
        assert ran.code == 0
        rows = dict(row_of(line) for line in ran.out.splitlines() if line.startswith("│"))
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
    def test_takes_the_images_asked_for(
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
        rows = dict(row_of(line) for line in ran.out.splitlines() if line.startswith("│"))
        assert rows["images labeled"] == str(labeled)

    def test_does_nothing_when_all_is_done(
        self, cli: Cli, fakes: None, images: Path, ontology: Path, tmp_path: Path
    ) -> None:
        first, second = (self.label(cli, images, ontology, tmp_path / "out") for _ in range(2))
        assert "nothing to do" not in first.out
        assert "nothing to do: all 5 images" in second.out

    def test_tries_failed_images_again_when_asked(
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
        assert one_line(refused.err)
        assert "--new-run" in refused.err
        renewed = self.label(cli, images, ontology, tmp_path / "out", *other, "--new-run")
        assert renewed.code == 0
        assert "run 2" in renewed.out

    def test_a_missing_folder(self, cli: Cli, fakes: None, ontology: Path, tmp_path: Path) -> None:
        ran = self.label(cli, tmp_path / "absent", ontology, tmp_path / "out")
        assert ran.code == 2
        assert one_line(ran.err)

    def test_when_not_one_image_can_be_labeled_the_reasons_are_shown(
        self, cli: Cli, fakes: None, ontology: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "broken.png").write_bytes(b"no image")
        ran = self.label(cli, tmp_path / "in", ontology, tmp_path / "out")
        assert ran.code == 1
        assert "failed: broken.png: " in ran.out
        assert one_line(ran.err)
        assert "none of the images" in ran.err

    def test_ctrl_c_says_how_to_continue_and_the_same_command_does(
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
        assert one_line(ran.err)
        assert "run the same command again" in ran.err
        again = self.label(cli, images, ontology, tmp_path / "out", *one_by_one)
        assert again.code == 0
        rows = dict(row_of(line) for line in again.out.splitlines() if line.startswith("│"))
        assert rows["images labeled"] == "4"


class PressesCtrlC(FakeDetector):
    """A user who loses patience while the first image is looked at."""

    def detect(self, images: Any, captions: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return super().detect(images, captions)


class TestExportAndInfo:
    @pytest.fixture
    def labeled(self, cli: Cli, fakes: None, images: Path, ontology: Path, tmp_path: Path) -> Path:
        out = tmp_path / "labeled"
        assert cli("label", images, "--ontology", ontology, "--out", out).code == 0
        return out

    def test_info_loads_nothing_that_makes_labels_or_datasets(self, labeled: Path) -> None:
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

    def test_export_elsewhere(self, cli: Cli, labeled: Path, tmp_path: Path) -> None:
        out = tmp_path / "datasets"
        assert cli("export", labeled, "--format", "yolo", "--out", out, "--run", 1).code == 0
        assert (out / "yolo" / "data.yaml").is_file()

    def test_export_finds_images_that_were_moved(
        self, cli: Cli, labeled: Path, images: Path, tmp_path: Path
    ) -> None:
        moved = images.rename(tmp_path / "elsewhere")
        lost = cli("export", labeled, "--format", "coco")
        assert lost.code == 1
        assert one_line(lost.err)
        assert cli("export", labeled, "--format", "coco", "--images-from", moved).code == 0

    def test_export_of_a_run_that_does_not_exist(self, cli: Cli, labeled: Path) -> None:
        ran = cli("export", labeled, "--format", "coco", "--run", 9)
        assert ran.code == 1
        assert one_line(ran.err)

    def test_info_shows_what_was_labeled_with_what(self, cli: Cli, labeled: Path) -> None:
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
        said = cli("info", out).out.splitlines()
        assert sum(line.startswith("failed: ") for line in said) == 5
        assert said[-1].startswith("… and 3 more failed; all of them: grounded-sam2 info ")
        shown = cli(*shlex.split(said[-1].partition(": grounded-sam2 ")[2]))
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
        assert one_line(ran.err)
        assert "labels.db" in ran.err

    @pytest.mark.parametrize("command", [["info"], ["export", "--format", "coco"]])
    def test_no_folder(self, cli: Cli, command: list[str], tmp_path: Path) -> None:
        ran = cli(*command, tmp_path / "absent")
        assert ran.code == 2
        assert one_line(ran.err)


class TestProgressBar:
    def test_speed_and_time_left_do_not_count_images_of_earlier_runs(self) -> None:
        times = iter([0.0, 0.0, 2.0, 4.0])
        console = Console(force_terminal=True, width=120, color_system=None, record=True)
        with ProgressBar(console=console, clock=lambda: next(times)) as bar:
            bar.start(100)
            bar.advance(labeled=0, failed=0, skipped=40)
            bar.advance(labeled=19, failed=1, skipped=0)
        shown = console.export_text()
        assert "60/100" in shown
        assert "5.0 images/s" in shown  # 20 in 4 s
        assert "0:00:08 left" in shown  # 40 to go
        assert "1 failed" in shown

    def test_prints_nothing_without_a_terminal(self, capsys: pytest.CaptureFixture[str]) -> None:
        with ProgressBar() as bar:
            bar.start(2)
            bar.advance(labeled=2, failed=0, skipped=0)
        assert capsys.readouterr() == ("", "")


def test_an_interrupted_program_says_so(
    cli: Cli, fakes: None, monkeypatch: pytest.MonkeyPatch, images: Path
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(GroundedSAM2, "predict", interrupted)
    ran = cli("predict", images / "red.png", "--prompt", "red box")
    assert (ran.code, ran.err) == (130, "grounded-sam2: stopped\n")


def test_a_defect_shows_its_traceback(
    cli: Cli, fakes: None, monkeypatch: pytest.MonkeyPatch, images: Path
) -> None:
    monkeypatch.setattr(GroundedSAM2, "predict", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli("predict", images / "red.png", "--prompt", "red box")


def test_typer_has_the_class_of_usage_errors_where_we_look() -> None:
    assert typer.BadParameter.__base__.__name__ == "UsageError"


@pytest.mark.slow
class TestWithEmbeddedModels:
    def test_demo_leaves_everything_and_prints_scores(
        self, cli: Cli, demo_weights: Path, tmp_path: Path
    ) -> None:
        ran = cli("demo", "--out", tmp_path / "demo", "--images", 4)
        assert ran.code == 0
        assert "say nothing about photographs" in ran.out
        for name in ("images", "ground_truth.json", "labels.db", "yolo/data.yaml", "coco"):
            assert (tmp_path / "demo" / name).exists()
        assert PIL.Image.open(tmp_path / "demo" / "contact_sheet.png").width > 512

    def test_predict_finds_a_shape(self, cli: Cli, demo_weights: Path, tmp_path: Path) -> None:
        from grounded_sam2.demo.scenes import make_scene

        scene = make_scene(3)
        PIL.Image.fromarray(scene.image).save(tmp_path / "scene.png")
        prompts = [word for thing in scene.objects for word in ("--prompt", thing.name)]
        ran = cli("predict", tmp_path / "scene.png", *prompts, "--config", "demo", "--json")
        assert json.loads(ran.out)["objects"]


def row_of(line: str) -> tuple[str, str]:
    name, count = line.strip("│").split("│")
    return name.strip(), count.strip()
