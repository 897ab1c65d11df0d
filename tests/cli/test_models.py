"""``grounded-sam2 models``: types, facts and broken packages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fixtures.command_line import draw_boxes, is_one_line

Cli = Callable[..., Any]


def test_lists_the_types_of_this_package_with_their_facts(cli: Cli) -> None:
    ran = cli("models")
    assert ran.code == 0
    assert "detector.type: florence2 (Florence-2, the default)" in ran.out
    assert "segmenter.type: sam2 (" in ran.out
    for fact in ("likelihood of the generated tokens", "0.3; candidates from 0.1", "MIT", "0.23 B"):
        assert fact in ran.out
    assert "task, num_beams, max_new_tokens" in ran.out


def test_lists_types_of_other_packages_and_why_one_is_broken(cli: Cli, toy_models: Path) -> None:
    ran = cli("models")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert "detector.type: toy_masks (Toy)" in lines
    assert "  returns:             masks, without a segmenter" in lines
    assert "detector.type: toy_broken is broken" in lines
    assert "package toy-models 1.0 cannot be loaded" in ran.out


def test_an_unknown_type_is_one_line(cli: Cli, tmp_path: Path) -> None:
    draw_boxes(tmp_path / "x.png")
    ran = cli("predict", tmp_path / "x.png", "--prompt", "a", "--set", "detector.type=dino")
    assert ran.code != 0
    assert is_one_line(ran.err)
    assert "detector.type is 'dino' (known: florence2)" in ran.err
