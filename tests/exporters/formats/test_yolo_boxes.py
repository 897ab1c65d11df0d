"""YOLO detection: rows of five numbers that hold the boxes of the store."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import supervision as sv
import yaml

from grounded_sam2.exporters import ExportOptions, export


def run(labeled, **options):
    return export("yolo-boxes", labeled.store, labeled.folder / "boxes", ExportOptions(**options))


def boxes(labeled, name: str, size_hw=(60, 80)) -> np.ndarray:
    """Return xyxy in pixels and class of every row, as Ultralytics computes them: ``(n, 5)``."""
    rows = (labeled.folder / "boxes" / "labels" / "train" / name).read_text().splitlines()
    numbers = np.array([row.split() for row in rows], float).reshape(-1, 5)
    height, width = size_hw
    center, side = numbers[:, 1:3] * (width, height), numbers[:, 3:] * (width, height)
    return np.concatenate((center - side / 2, center + side / 2, numbers[:, :1]), axis=1)


def test_boxes_are_those_of_the_masks(rich):
    run(rich)
    by_name = {item.item_id: labels.objects for item, labels in rich.store.labels()}
    for item_id, objects in by_name.items():
        read = boxes(rich, item_id.replace(".png", ".txt"))
        expected = [
            (*label.mask.bbox_xyxy, rich.classes.index(label.class_name)) for label in objects
        ]
        assert read == pytest.approx(np.array(expected).reshape(-1, 5), abs=1e-3)


def test_background_has_an_empty_file(rich):
    run(rich)
    file = rich.folder / "boxes" / "labels" / "train" / "background.txt"
    assert file.read_bytes() == b""


def test_an_object_of_one_pixel_has_a_box_of_one_pixel(labeled):
    labeled.add("a.png", labeled.label(labeled.pixel(79, 59)))
    run(labeled)
    assert boxes(labeled, "a.txt") == pytest.approx(np.array([[79, 59, 80, 60, 0]]), abs=1e-3)


def test_an_object_without_a_mask_has_its_box_clipped_to_the_image(labeled):
    labeled.add("a.png", labeled.label(None, box_xyxy=(-5.5, 10.25, 40.5, 70)))
    summary = run(labeled)
    expected = np.array([[0, 10.25, 40.5, 60, 0]])
    assert boxes(labeled, "a.txt") == pytest.approx(expected, abs=1e-3)
    assert "objects without a mask, written as their box: 1" in summary.notes


def test_an_object_outside_the_image_is_left_out_and_counted(labeled):
    labeled.add("a.png", labeled.label(None, box_xyxy=(90, 10, 99, 20)))
    summary = run(labeled)
    assert boxes(labeled, "a.txt").size == 0
    assert summary.objects["ball"] == 0
    assert "objects without extent, left out: 1" in summary.notes


def test_an_image_rotated_by_exif_agrees_with_its_boxes(labeled):
    labeled.add("a.jpg", labeled.label(labeled.pixel(79, 0)), orientation=8)
    run(labeled)
    with PIL.Image.open(labeled.folder / "boxes" / "images" / "train" / "a.jpg") as image:
        assert image.size == (80, 60)
        assert image.getexif().get(0x0112, 1) == 1
    assert boxes(labeled, "a.txt") == pytest.approx(np.array([[79, 0, 80, 1, 0]]), abs=1e-3)


def test_supervision_reads_classes_and_boxes(labeled):
    labeled.add(
        "a.png", labeled.label(labeled.disc()), labeled.label(labeled.ring(), "box"), seed=1
    )
    labeled.add("b.png", seed=2)
    run(labeled)
    root = labeled.folder / "boxes"
    assert yaml.safe_load((root / "data.yaml").read_text())["names"] == labeled.classes
    dataset = sv.DetectionDataset.from_yolo(
        images_directory_path=str(root / "images" / "train"),
        annotations_directory_path=str(root / "labels" / "train"),
        data_yaml_path=str(root / "data.yaml"),
    )
    read = {path.rsplit("/", 1)[1]: detections for path, _, detections in dataset}
    assert read["a.png"].class_id.tolist() == [0, 1]
    assert read["a.png"].mask is None
    expected = [labeled.label(m).mask.bbox_xyxy for m in (labeled.disc(), labeled.ring())]
    assert read["a.png"].xyxy == pytest.approx(np.array(expected), abs=1e-3)
    assert len(read["b.png"]) == 0
