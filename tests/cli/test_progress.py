"""The progress bar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from grounded_sam2.cli.progress import ProgressBar

Cli = Callable[..., Any]


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
