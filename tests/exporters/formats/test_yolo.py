"""YOLO segmentation: what Ultralytics and supervision need to read it correctly."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import supervision as sv
import yaml

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters import ExportOptions, export
from grounded_sam2.exporters.formats.yolo import format_rows
from grounded_sam2.geometry.ragged import RaggedOffsets
from grounded_sam2.results import Label, Labels
from grounded_sam2.store import ItemOutcome, LabelStore


def run(labeled, **options):
    with LabelStore.open(labeled.folder) as store:
        return export("yolo", store, labeled.folder / "yolo", ExportOptions(**options))


def rows(folder: Path) -> dict[str, list[list[str]]]:
    labels = folder / "labels"
    return {
        path.relative_to(labels).as_posix(): [r.split() for r in path.read_text().splitlines()]
        for path in sorted(labels.rglob("*.txt"))
    }


def as_ultralytics_reads(row: list[str], size_hw: tuple[int, int]) -> np.ndarray:
    height, width = size_hw
    points = np.array(row[1:], np.float32).reshape(-1, 2) * [width, height]
    mask = np.zeros(size_hw, np.uint8)
    cv2.fillPoly(mask, [points.astype(np.int32)], 1)
    return mask.astype(bool)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def stored(labeled) -> dict[str, list[Label]]:
    with LabelStore.open(labeled.folder) as store:
        return {item.item_id: list(labels.objects) for item, labels in store.labels()}


def test_every_row_is_an_outline_within_the_image(rich):
    run(rich)
    values = [row for each in rows(rich.folder / "yolo").values() for row in each]
    assert len(values) == 7
    for row in values:
        assert row[0] in {"0", "1", "2"}
        assert len(row) >= 7
        assert len(row) % 2 == 1
        assert all(0 <= float(value) <= 1 for value in row[1:])


def test_an_object_with_holes_and_parts_is_one_row(rich):
    run(rich)
    read = rows(rich.folder / "yolo")
    for item_id, objects in stored(rich).items():
        mine = read[f"train/{Path(item_id).with_suffix('.txt').as_posix()}"]
        assert len(mine) == len(objects)
        for row, expected in zip(mine, objects, strict=True):
            painted = as_ultralytics_reads(row, (60, 80))
            assert iou(painted, expected.mask.decode()) > 0.95


def test_background_has_an_empty_file(rich):
    run(rich)
    assert (rich.folder / "yolo" / "labels" / "train" / "background.txt").read_bytes() == b""


def test_the_path_of_each_image_leads_to_its_labels(rich):
    run(rich, split={"train": 0.5, "val": 0.5})
    images = [str(p) for p in (rich.folder / "yolo" / "images").rglob("*.png")]
    found = {"/labels/".join(p.rsplit("/images/", 1)).rsplit(".", 1)[0] + ".txt" for p in images}
    assert found == {str(p) for p in (rich.folder / "yolo" / "labels").rglob("*.txt")}


def test_names_that_would_mislead_the_reader_are_changed(labeled):
    labeled.add("a.jpg", labeled.label(labeled.disc()), seed=1)
    labeled.add("a.png", seed=2)
    labeled.add("images/b.png", labeled.label(labeled.disc(), "box"), seed=3)
    run(labeled)
    read = rows(labeled.folder / "yolo")
    assert {name: len(each) for name, each in read.items()} == {
        "train/a.txt": 1,
        "train/a_png.txt": 0,
        "train/images_/b.txt": 1,
    }
    images = labeled.folder / "yolo" / "images" / "train"
    assert (images / "a_png.png").read_bytes() == (labeled.images / "a.png").read_bytes()
    assert (images / "images_" / "b.png").is_file()


def test_hidden_images_and_folders_lose_their_dot(labeled):
    for seed, name in enumerate([".a.jpg", ".b/.c.jpg", "d.e/f.jpg"]):
        labeled.add(name, labeled.label(labeled.disc()), seed=seed)
    run(labeled)
    assert set(rows(labeled.folder / "yolo")) == {
        *("train/_a.txt", "train/_b/_c.txt", "train/d.e/f.txt"),
    }


@pytest.mark.parametrize("name", ["images", "names", "path"])
def test_a_split_with_a_reserved_name_is_an_error(rich, name):
    with pytest.raises(ExportError, match=f"split '{name}' means something else"):
        run(rich, split={name: 1.0})


@pytest.mark.parametrize(("name", "becomes"), [("a.png", "a.png"), ("a.jpg", "a.png")])
def test_an_image_with_a_wrong_suffix_is_reencoded(labeled, name, becomes):
    path = labeled.images / name
    labeled.image("a.gif").rename(path)
    labeled.write(ItemOutcome(labeled.item(path), Labels((60, 80))))
    run(labeled)
    [written] = (labeled.folder / "yolo" / "images" / "train").iterdir()
    assert written.name == becomes
    with PIL.Image.open(written) as ours, PIL.Image.open(path) as original:
        assert ours.format == "PNG"
        assert np.array_equal(np.asarray(ours), np.asarray(original.convert("RGB")))


def test_an_image_of_an_unsupported_type_becomes_png(labeled):
    path = labeled.add("a.gif")
    run(labeled)
    written = labeled.folder / "yolo" / "images" / "train" / "a.png"
    with PIL.Image.open(written) as ours, PIL.Image.open(path) as original:
        assert ours.format == "PNG"
        assert np.array_equal(np.asarray(ours), np.asarray(original.convert("RGB")))


def test_an_unsupported_suffix_changes_without_reencoding(labeled):
    path = labeled.image("a.jpg").rename(labeled.images / "a.jfif")
    labeled.write(ItemOutcome(labeled.item(path), Labels((60, 80))))
    run(labeled)
    written = labeled.folder / "yolo" / "images" / "train" / "a.jpg"
    assert written.read_bytes() == path.read_bytes()


def test_tiny_images_are_left_out_and_counted(labeled):
    labeled.add("tiny.png", size_hw=(9, 80))
    labeled.add("enough.png", size_hw=(10, 10))
    summary = run(labeled)
    assert summary.images == {"train": 1}
    [skipped] = summary.skipped
    assert (skipped.count, skipped.example) == (1, "tiny.png")
    assert "10 pixels" in skipped.reason


def test_an_object_without_a_mask_is_the_corners_of_its_box(labeled):
    labeled.add(
        "a.png", labeled.label(None, box_xyxy=(8, 6, 40, 30)), labeled.label(labeled.disc())
    )
    summary = run(labeled)
    first, second = rows(labeled.folder / "yolo")["train/a.txt"]
    assert [float(v) for v in first] == pytest.approx([0, 0.1, 0.1, 0.5, 0.1, 0.5, 0.5, 0.1, 0.5])
    assert len(second) > 9
    assert summary.notes[-1] == "objects without a mask, written as their box: 1"


def test_objects_without_extent_are_left_out_and_counted(labeled):
    empty = labeled.label(np.zeros((60, 80), bool))
    outside = labeled.label(None, box_xyxy=(90, 10, 99, 20))
    labeled.add("a.png", empty, outside)
    summary = run(labeled)
    assert rows(labeled.folder / "yolo")["train/a.txt"] == []
    assert "objects without extent, left out: 2" in summary.notes


def test_an_image_rotated_by_exif_agrees_with_its_labels(labeled):
    mask = np.zeros((60, 80), bool)
    mask[:30, :20] = True
    labeled.add("a.jpg", labeled.label(mask), orientation=6)
    run(labeled)
    [row] = rows(labeled.folder / "yolo")["train/a.txt"]
    with PIL.Image.open(labeled.folder / "yolo" / "images" / "train" / "a.jpg") as image:
        assert image.size == (80, 60)
    assert iou(as_ultralytics_reads(row, (60, 80)), mask) > 0.98


def data_yaml(labeled) -> dict:
    return yaml.safe_load((labeled.folder / "yolo" / "data.yaml").read_text(encoding="ascii"))


def test_data_yaml_is_relative_and_names_all_classes(rich):
    run(rich, split={"train": 0.4, "val": 0.3, "test": 0.3}, seed=1)
    data = data_yaml(rich)
    assert list(data)[:2] == ["train", "val"]
    assert "path" not in data
    assert data["nc"] == 3
    assert data["names"] == ["ball", "box", "Katze ü"]
    for split in ("train", "val"):
        assert list((rich.folder / "yolo" / data[split]).rglob("*.png"))


def test_with_one_split_train_and_val_are_the_same(rich):
    summary = run(rich)
    data = data_yaml(rich)
    assert (data["train"], data["val"]) == ("images/train", "images/train")
    assert "test" not in data
    assert summary.notes == ("data.yaml names 'images/train' as val: there are no val images",)


def test_data_yaml_leaves_out_empty_splits(labeled):
    labeled.add("a.png")
    summary = run(labeled, split={"train": 0.0, "val": 0.0, "test": 1.0})
    data = data_yaml(labeled)
    assert data["train"] == data["val"] == data["test"] == "images/test"
    assert summary.images == {"train": 0, "val": 0, "test": 1}


def test_supervision_reads_classes_counts_and_masks(labeled):
    size = (240, 320)
    ring = labeled.ring(size, center=(120, 200), radii=(30, 70))
    parts = labeled.disc(size, (60, 60), 50) | labeled.disc(size, (180, 240), 40)
    labeled.add("a.png", labeled.label(ring), labeled.label(parts, "box"), size_hw=size, seed=1)
    labeled.add("b.png", size_hw=size, seed=2)
    labeled.add(
        "c.png", labeled.label(labeled.disc(size, (99, 88), 77), "Katze ü"), size_hw=size, seed=3
    )
    run(labeled)
    root = labeled.folder / "yolo"
    dataset = sv.DetectionDataset.from_yolo(
        images_directory_path=str(root / "images" / "train"),
        annotations_directory_path=str(root / "labels" / "train"),
        data_yaml_path=str(root / "data.yaml"),
        force_masks=True,
    )
    assert dataset.classes == ["ball", "box", "Katze ü"]
    assert len(dataset) == 3
    read = {Path(path).name: detections for path, _, detections in dataset}
    assert {name: detections.class_id.tolist() for name, detections in read.items()} == {
        "a.png": [0, 1],
        "b.png": [],
        "c.png": [2],
    }
    for name, objects in stored(labeled).items():
        for mask, expected in zip(read[name].mask if objects else (), objects, strict=True):
            # supervision rounds to whole pixels, which makes objects half a pixel larger
            assert iou(mask.astype(bool), expected.mask.decode()) > 0.95


# Numbers of rows


def test_numbers_have_six_decimals():
    numbers = np.array([0, 1, 0.5, 1e-6, 0.999999, 0.1234564, 0.1234566, 4e-7, 0.99999951])
    (text,) = format_rows(numbers, RaggedOffsets([9]))
    assert text == " ".join(f"{number:.6f}" for number in numbers)


def test_random_numbers_are_formatted_as_python_does():
    numbers = np.random.default_rng(0).random(2000)
    (text,) = format_rows(numbers, RaggedOffsets([2000]))
    assert text == " ".join(f"{number:.6f}" for number in numbers)


def test_each_row_has_its_own_text_and_an_empty_row_none():
    assert format_rows(np.array([0.25, 1, 0]), RaggedOffsets([2, 0, 1])) == [
        "0.250000 1.000000",
        "",
        "0.000000",
    ]
    assert format_rows(np.zeros(0), RaggedOffsets([])) == []
