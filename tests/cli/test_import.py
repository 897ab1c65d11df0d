"""``grounded-sam2 import``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grounded_sam2.store import LabelStore

Cli = Callable[..., Any]


@pytest.fixture
def dataset(tmp_path: Path, write_image: Any) -> Path:
    """Two images, one that is missing, a good annotation and six broken ones."""
    data = tmp_path / "data"
    for name in ("a.png", "b.png"):
        write_image(data / name, (12, 16))
    parts = {
        "images": [{"id": n, "file_name": f"{name}.png"} for n, name in enumerate("abc")],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 5, "bbox": [1, 1, 5, 5]},
            *({"id": n, "image_id": 1, "category_id": 6, "bbox": [1, 1, 5, 5]} for n in range(6)),
        ],
        "categories": [{"id": 5, "name": "cat"}],
    }
    (data / "labels.json").write_text(json.dumps(parts))
    return data


def test_prints_what_was_imported_and_what_was_left_out(
    cli: Cli, dataset: Path, tmp_path: Path
) -> None:
    ran = cli("import", dataset, "--out", tmp_path / "labeled")
    assert ran.code == 0
    assert "6 × of a category that is not listed; left out" in ran.out
    assert "    annotation 0 of b.png: category_id 6" in ran.out
    assert "    … and 1 more" in ran.out
    assert "failed: c.png: is in none of the folders" in ran.out
    assert f"coco is run 1 of {tmp_path / 'labeled' / 'labels.db'}" in ran.out


def test_imported_runs_appear_in_info_and_can_be_exported(
    cli: Cli, dataset: Path, tmp_path: Path
) -> None:
    labeled = tmp_path / "labeled"
    cli("import", dataset, "--out", labeled)
    ran = cli("import", dataset, "--out", labeled, "--name", "second", "--origin", "model")
    assert "coco is run 2" in ran.out
    info = cli("info", labeled).out
    assert "name: second" in info
    assert "images from: ../data" in info
    assert cli("export", labeled, "--format", "yolo", "--run", 1).code == 0
    assert (labeled / "yolo" / "data.yaml").is_file()
    with LabelStore.open(labeled) as store:
        assert [
            {label.origin for _, labels in store.labels(run) for label in labels.objects}
            for run in (1, 2)
        ] == [{"human"}, {"model"}]


def test_images_crowds_and_format_options(
    cli: Cli, dataset: Path, tmp_path: Path, write_image: Any
) -> None:
    write_image(tmp_path / "pictures" / "c.png", (12, 16))
    options = ("--images", tmp_path / "pictures", "--crowds", "--format", "coco")
    ran = cli("import", dataset / "labels.json", "--out", tmp_path / "labeled", *options)
    assert ran.code == 0
    with LabelStore.open(tmp_path / "labeled") as store:
        assert [item.item_id for item in store.done_items()] == ["c.png"]
        assert store.run().config.inference["crowds"] is True


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["absent"], 2, "'absent' does not exist"),
        (["data", "--origin", "cat"], 2, "human or model"),
        (["data", "--format", "voc"], 2, "choose from coco, yolo, hf"),
        (["data", "--format", "hf"], 1, "no Parquet files"),
        (["empty"], 1, "no COCO annotations"),
    ],
)
def test_wrong_use_is_one_line(
    cli: Cli,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    ran = cli("import", *arguments, "--out", "labeled")
    assert ran.code == code
    assert message in ran.err
    assert ran.err.count("\n") == 1


def test_fails_if_no_image_can_be_read(cli: Cli, dataset: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (dataset / name).unlink()
    ran = cli("import", dataset, "--out", tmp_path / "labeled")
    assert ran.code == 1
    assert "failed: a.png" in ran.out
    assert "none of the images" in ran.err
