"""What the command line says and passes on about exports."""

from __future__ import annotations

from typing import Any

import pytest
from typer.main import get_command

from grounded_sam2.cli import main
from grounded_sam2.cli.commands import app
from grounded_sam2.exporters import EXPORTERS

GROUP: Any = get_command(app)


@pytest.mark.parametrize("command", ["label", "export"])
def test_the_help_names_every_format(command):
    (option,) = [p for p in GROUP.commands[command].params if "--format" in p.opts]
    named = option.help.split(":")[1].removesuffix(". Repeatable.").replace(" or ", ", ")
    assert [name.strip() for name in named.split(",")] == list(EXPORTERS)


def test_thresholds_and_splits_reach_the_export(rich, capsys):
    arguments = ["export", str(rich.folder), "--format", "coco", "--min-confidence", "0.6"]
    assert main([*arguments, "--split", "0.5/0.5", "--split-by", "folder"]) == 0
    assert "below the thresholds, left out: 1" in capsys.readouterr().out


def test_points_can_be_traded_for_accuracy(rich):
    rows = rich.folder / "yolo" / "labels" / "train" / "a.txt"
    sizes = []
    for bound in ("0.8", "0.98", "1"):
        command = ["export", str(rich.folder), "--format", "yolo", "--min-polygon-iou", bound]
        assert main(command) == 0
        sizes.append(rows.stat().st_size)
    assert sizes[0] < sizes[1] < sizes[2]


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--min-confidence", "50", "min_confidence 50"),
        ("--min-mask-quality", "-1", "min_mask_quality -1"),
        ("--min-polygon-iou", "98", "min_polygon_iou 98"),
        ("--split-by", "name", "split_by 'name'"),
    ],
)
def test_wrong_values_are_wrong_use(rich, capsys, option, value, reason):
    assert main(["export", str(rich.folder), "--format", "coco", option, value]) == 2
    assert reason in capsys.readouterr().err
