"""Images, an ontology and fake models for tests of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from fixtures.command_line import draw_boxes

from grounded_sam2.pipeline.models import LazyModels
from grounded_sam2.testing import FakeDetector, FakeSegmenter


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LazyModels, "detector", FakeDetector())
    monkeypatch.setattr(LazyModels, "segmenter", FakeSegmenter())


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two images of boxes, one of nothing, one in a sub-folder, one that is none."""
    folder = tmp_path / "images"
    (folder / "more").mkdir(parents=True)
    draw_boxes(folder / "red.png", "red")
    draw_boxes(folder / "both.png", "red", "blue")
    draw_boxes(folder / "empty.png")
    draw_boxes(folder / "more" / "blue.bmp", "blue")
    (folder / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def ontology(tmp_path: Path) -> Path:
    path = tmp_path / "boxes.yaml"
    path.write_text("warm: [red box]\ncold: [blue box, white box]\n")
    return path
