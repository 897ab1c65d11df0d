"""Errors and warnings as one line, and exit codes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from fixtures.command_line import is_one_line

from grounded_sam2.pipeline import GroundedSAM2

Cli = Callable[..., Any]


class TestWrongUse:
    """Exit code 2 and one line with the repair."""

    @pytest.mark.parametrize(
        ("arguments", "message"),
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
    def test_is_told_in_is_one_line(
        self,
        arguments: list[str],
        message: str,
        cli: Cli,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("x").mkdir()
        ran = cli(*arguments)
        assert ran.code == 2
        assert is_one_line(ran.err)
        assert message in ran.err
        assert ran.out == ""

    def test_no_captions(self, cli: Cli, fakes: None, images: Path) -> None:
        ran = cli("predict", images / "red.png", "--config", "demo")
        assert ran.code == 2
        assert is_one_line(ran.err)
        assert "captions" in ran.err

    def test_a_broken_ontology(self, cli: Cli, images: Path, tmp_path: Path) -> None:
        path = tmp_path / "broken.yaml"
        path.write_text("van: []\n")
        ran = cli("label", images, "--ontology", path)
        assert ran.code == 2
        assert is_one_line(ran.err)
        assert "'van'" in ran.err

    def test_an_unknown_format_fails_before_labeling(
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


def test_an_interrupted_program_exits_with_130(
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


def test_the_base_class_of_bad_parameter_is_the_usage_error() -> None:
    assert typer.BadParameter.__base__.__name__ == "UsageError"
