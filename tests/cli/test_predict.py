"""``grounded-sam2 predict`` with fake models."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from fixtures.command_line import is_one_line

Cli = Callable[..., Any]


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

    def test_prints_that_nothing_was_found(self, cli: Cli, fakes: None, images: Path) -> None:
        ran = cli("predict", images / "empty.png", "--prompt", "red box")
        assert (ran.code, ran.out) == (0, "nothing found\n")

    def test_drops_detections_of_low_confidence(self, cli: Cli, fakes: None, images: Path) -> None:
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

    def test_prints_json_with_masks(
        self, cli: Cli, fakes: None, images: Path, tmp_path: Path
    ) -> None:
        args = ("--prompt", "red box", "--json", "--out", tmp_path / "a.png")
        (found,) = json.loads(cli("predict", images / "red.png", *args).out)["objects"]
        mask = found.pop("segmentation")
        assert mask["size"] == [48, 64]
        assert re.fullmatch("[0-9a-f]{16}", found.pop("uid"))
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
        assert is_one_line(ran.err)
        assert name in ran.err

    def test_an_unknown_output_format_fails_before_the_models_load(
        self, cli: Cli, images: Path
    ) -> None:
        ran = cli("predict", images / "red.png", "--prompt", "red box", "--out", "a.mp4")
        assert ran.code == 2
        assert is_one_line(ran.err)
        assert "'.mp4'" in ran.err

    def test_missing_weights_are_one_line_with_the_repairs(self, cli: Cli, images: Path) -> None:
        args = ("--prompt", "a", "--set", "runtime.local_files_only=true")
        checkpoint = "nobody-we-know/no-such-model"
        ran = cli(
            "predict", images / "red.png", *args, "--set", f"detector.checkpoint={checkpoint}"
        )
        assert ran.code == 1
        assert is_one_line(ran.err)
        for repair in (f"hf download {checkpoint}", "detector.checkpoint", "--config demo"):
            assert repair in ran.err
