"""``demo`` and ``predict`` with the embedded models."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from grounded_sam2.demo.scenes import make_scene

Cli = Callable[..., Any]


@pytest.mark.slow
class TestWithEmbeddedModels:
    def test_demo_writes_its_files_and_prints_scores(
        self, cli: Cli, demo_weights: Path, tmp_path: Path
    ) -> None:
        ran = cli("demo", "--out", tmp_path / "demo", "--images", 4)
        assert ran.code == 0
        assert "say nothing about photographs" in ran.out
        for name in ("images", "ground_truth.json", "labels.db", "yolo/data.yaml", "coco"):
            assert (tmp_path / "demo" / name).exists()
        with PIL.Image.open(tmp_path / "demo" / "contact_sheet.png") as sheet:
            assert sheet.width > 512

    def test_predict_finds_a_shape(self, cli: Cli, demo_weights: Path, tmp_path: Path) -> None:
        scene = make_scene(3)
        PIL.Image.fromarray(scene.image).save(tmp_path / "scene.png")
        prompts = [word for each in scene.objects for word in ("--prompt", each.name)]
        ran = cli("predict", tmp_path / "scene.png", *prompts, "--config", "demo", "--json")
        assert json.loads(ran.out)["objects"]
