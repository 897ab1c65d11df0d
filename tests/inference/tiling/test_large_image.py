"""The embedded models on large images: what is found, and what it costs."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grounded_sam2 import GroundedSAM2
from grounded_sam2.config import load_config
from grounded_sam2.geometry.boxes import box_iou

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "large_image.py"
NAMES = ["circle", "square", "triangle", "star", "ring", "cross"]


@pytest.fixture(scope="module")
def drawn() -> tuple[Any, Any]:
    """An image of 2400 × 1800 with 14 small shapes after two large ones, and the truth."""
    spec = importlib.util.spec_from_file_location("large_image", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    sys.modules["large_image"] = script  # dataclasses look up their module there
    spec.loader.exec_module(script)
    return script.draw((1800, 2400), small=14, radius=(30, 50), seed=3)


def found(image: Any, truth: Any, mode: str) -> Any:
    """IoU of the best object of the right shape with each of the true ones."""
    model = GroundedSAM2(config=load_config("demo").with_options({"tiling.mode": mode}))
    objects = model.predict(image, prompt=NAMES)
    iou = box_iou([box for _, box in truth], objects.xyxy)
    shapes = np.array([shape for shape, _ in truth], np.object_)
    iou *= shapes[:, None] == objects.data["class_name"][None]
    return iou.max(axis=1, initial=0)


@pytest.mark.slow
@pytest.mark.usefixtures("demo_weights")
def test_small_shapes_are_found_with_tiles_and_missed_without(drawn: tuple[Any, Any]) -> None:
    image, truth = drawn
    with_tiles, without = found(image, truth, "auto"), found(image, truth, "never")
    assert (with_tiles[:2] > 0.8).all()
    assert (with_tiles[2:] > 0.8).sum() >= 12
    assert (without[:2] > 0.8).all()
    assert (without[2:] > 0.5).sum() <= 2


@pytest.mark.slow
@pytest.mark.usefixtures("demo_weights")
def test_an_image_of_80_million_pixels_is_labeled_in_less_than_2_gib() -> None:
    # Tiles of 1024, so that it takes seconds: the memory is that of the image.
    command = [sys.executable, str(BENCHMARK), "--json", "--only-tiled"]
    command += ["--shapes", "12", "--radius", "130", "220", "--set", "tiling.tile_size=1024"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    outcome = json.loads(done.stdout)["with tiles"]
    assert outcome["peak_bytes"] < 2 * 2**30
    assert outcome["large_found"] == 2
    assert outcome["small_found"] >= 10
