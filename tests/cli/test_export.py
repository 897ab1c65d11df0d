"""Export options of the command line."""

from __future__ import annotations

from typing import Any

import pytest
from typer.main import get_command

from grounded_sam2.cli import main
from grounded_sam2.cli.commands import app
from grounded_sam2.exporters import EXPORTERS, VIDEO_FORMATS

GROUP: Any = get_command(app)


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("label", [name for name in EXPORTERS if name not in VIDEO_FORMATS]),
        ("export", list(EXPORTERS)),
    ],
)
def test_the_help_lists_every_format(command, names):
    (option,) = [p for p in GROUP.commands[command].params if "--format" in p.opts]
    named = option.help.split(":")[1].removesuffix(". Repeatable.").replace(" or ", ", ")
    assert [name.strip() for name in named.split(",")] == names


def test_thresholds_and_splits_reach_the_export(rich, capsys):
    arguments = ["export", str(rich.folder), "--format", "coco", "--min-confidence", "0.6"]
    assert main([*arguments, "--split", "0.5/0.5", "--split-by", "folder"]) == 0
    assert "below the thresholds, left out: 1" in capsys.readouterr().out


def test_a_lower_polygon_iou_gives_fewer_points(rich):
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
        ("--frame-stride", "0", "frame_stride 0"),
        ("--frame-format", "gif", "frame_format 'gif'"),
        ("--frame-quality", "0", "frame_quality 0"),
    ],
)
def test_values_out_of_range_are_usage_errors(rich, capsys, option, value, reason):
    assert main(["export", str(rich.folder), "--format", "coco", option, value]) == 2
    assert reason in capsys.readouterr().err


def test_label_refuses_video_formats(rich, capsys):
    assert main(["label", str(rich.images), "--format", "mots"]) == 2
    assert "format 'mots' is made of videos; choose from yolo" in capsys.readouterr().err


def test_frame_options_reach_the_export(tracked, capsys):
    tracked.add(tracked.movie("clip.mp4", 5), {number: [] for number in range(5)})
    command = ["export", str(tracked.folder), "--format", "coco", "--format", "davis"]
    assert main([*command, "--frame-stride", "2", "--frame-format", "png"]) == 0
    root = tracked.folder / "coco" / "images" / "train" / "clip"
    assert sorted(path.name for path in root.iterdir()) == [
        *("000000.png", "000002.png", "000004.png")
    ]
    assert len(list((tracked.folder / "davis" / "JPEGImages" / "clip").iterdir())) == 3
