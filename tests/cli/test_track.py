"""Arguments of ``grounded-sam2 track``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


def test_digits_are_the_number_of_a_camera(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = cli("track", "97", "--config", "demo", "--ontology", "shapes", "--out", out)
    assert ran.code == 1
    assert "camera 97" in ran.err


def test_drawing_a_camera_is_refused(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = cli("track", "0", "--config", "demo", "--ontology", "shapes", "--video", "a.mp4")
    assert ran.code == 1
    assert "cannot be drawn" in ran.err
    assert list(tmp_path.iterdir()) == []
