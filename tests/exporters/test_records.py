"""JSON lines and CSV: scripts read the values of the store."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
from pycocotools import mask as coco_mask

from grounded_sam2.exporters import ExportOptions, export

SPLIT = {"train": 0.5, "val": 0.5}


def run(labeled, format_name, **options):
    options = ExportOptions(**options)
    return export(format_name, labeled.store, labeled.folder / format_name, options)


def lines(labeled) -> list[dict]:
    text = (labeled.folder / "jsonl" / "labels.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def table(labeled, name: str) -> list[dict[str, str]]:
    with (labeled.folder / "csv" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def decoded(segmentation: dict) -> np.ndarray:
    return coco_mask.decode(segmentation).astype(bool)


def test_every_image_is_a_line_with_the_masks_of_its_objects(rich):
    run(rich, "jsonl", split=SPLIT)
    stored = {item.item_id: labels for item, labels in rich.store.labels()}
    read = {each["image"].split("/", 2)[2]: each for each in lines(rich)}
    assert set(read) == set(stored)
    for item_id, labels in stored.items():
        image = read[item_id]
        assert (image["height"], image["width"]) == labels.size_hw
        assert image["image"].split("/")[1] == image["split"]
        for each, label in zip(image["objects"], labels.objects, strict=True):
            assert np.array_equal(decoded(each["segmentation"]), label.mask.decode())
            assert each["area"] == label.mask.area
            assert each["box"] == list(label.mask.bbox_xyxy)
            assert (each["class"], each["caption"]) == (label.class_name, label.caption)
            assert each["confidence"] == label.confidence
            assert each["mask_quality"] == label.mask_quality
            assert each["origin"] == "model"


def test_tables_hold_the_values_of_the_lines(rich):
    run(rich, "jsonl", split=SPLIT)
    run(rich, "csv", split=SPLIT)
    assert table(rich, "images") == [
        {
            "image": each["image"],
            "split": each["split"],
            "width": "80",
            "height": "60",
            "objects": str(len(each["objects"])),
        }
        for each in lines(rich)
    ]
    expected = [(image, each) for image in lines(rich) for each in image["objects"]]
    for row, (image, each) in zip(table(rich, "objects"), expected, strict=True):
        assert row["image"] == image["image"]
        assert row["class"] == each["class"]
        assert [float(row[k]) for k in ("x_min", "y_min", "x_max", "y_max")] == each["box"]
        assert row["confidence"] == ("" if each["confidence"] is None else str(each["confidence"]))
        size = [int(row["height"]), int(row["width"])]
        mask = decoded({"size": size, "counts": row["rle"].encode("ascii")})
        assert np.array_equal(mask, decoded(each["segmentation"]))


@pytest.mark.parametrize("name", ['a, "b"\nc', "=1+1", "日本語"])
def test_any_class_and_caption_is_read_back(labeled, name):
    labeled.add("a.png", labeled.label(labeled.disc(), name, caption=name))
    run(labeled, "csv")
    run(labeled, "jsonl")
    assert [(row["class"], row["caption"]) for row in table(labeled, "objects")] == [(name, name)]
    assert lines(labeled)[0]["objects"][0]["class"] == name


def test_an_object_without_a_mask_has_its_box_and_neither_area_nor_mask(labeled):
    label = labeled.label(None, box_xyxy=(8.25, 6, 40, 30), mask_quality=None)
    labeled.add("a.png", replace(label, track_id=7, origin="human"))
    summary = run(labeled, "jsonl")
    [each] = lines(labeled)[0]["objects"]
    assert each["box"] == [8.25, 6, 40, 30]
    assert each["area"] is each["segmentation"] is each["mask_quality"] is None
    assert (each["track_id"], each["origin"]) == (7, "human")
    assert summary.notes == ("objects without a mask, written as their box: 1",)
    run(labeled, "csv")
    [row] = table(labeled, "objects")
    assert row["area"] == row["rle"] == row["mask_quality"] == ""


def test_an_object_of_one_pixel_has_a_box_of_one_pixel(labeled):
    labeled.add("a.png", labeled.label(labeled.pixel(79, 0)))
    run(labeled, "jsonl")
    [each] = lines(labeled)[0]["objects"]
    assert (each["box"], each["area"]) == ([79, 0, 80, 1], 1)


def test_an_image_rotated_by_exif_agrees_with_its_record(labeled):
    labeled.add("a.jpg", labeled.label(labeled.disc()), orientation=6)
    run(labeled, "jsonl")
    [record] = lines(labeled)
    with PIL.Image.open(labeled.folder / "jsonl" / record["image"]) as image:
        assert image.size == (record["width"], record["height"]) == (80, 60)
