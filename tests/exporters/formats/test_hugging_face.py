"""Hugging Face datasets: Parquet as pyarrow reads it, and the card beside it."""

from __future__ import annotations

import io
import json

import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest
import yaml
from pycocotools import mask as coco_mask

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters import ExportOptions, export
from grounded_sam2.sources.image import load_image

SPLIT = {"train": 0.5, "val": 0.3, "test": 0.2}


def run(labeled, **options):
    return export("hf", labeled.store, labeled.folder / "hf", ExportOptions(**options))


def shards(labeled) -> list[str]:
    return sorted(path.name for path in (labeled.folder / "hf" / "data").iterdir())


def rows(labeled, split="train") -> list[dict]:
    paths = sorted((labeled.folder / "hf" / "data").glob(f"{split}-*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def opened(row: dict) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(row["image"]["bytes"]))


def test_a_row_is_an_image_with_its_bytes_and_objects(rich):
    summary = run(rich)
    assert summary.images == {"train": 5}
    assert shards(rich) == ["train-00000-of-00001.parquet"]
    stored = list(rich.store.labels())
    object_id = 0
    for number, (row, (item, labels)) in enumerate(zip(rows(rich), stored, strict=True), start=1):
        assert (row["image_id"], row["file_name"]) == (number, item.item_id)
        assert row["image"]["bytes"] == item.path.read_bytes()
        assert (row["height"], row["width"]) == labels.size_hw
        objects = row["objects"]
        assert {len(values) for values in objects.values()} == {len(labels)}
        for i, label in enumerate(labels.objects):
            object_id += 1
            assert objects["id"][i] == object_id
            assert rich.classes[objects["category"][i]] == label.class_name
            left, top, right, bottom = label.mask.bbox_xyxy
            assert objects["bbox"][i] == [left, top, right - left, bottom - top]
            assert objects["area"][i] == label.mask.area
            mask = coco_mask.decode(objects["segmentation"][i])
            assert np.array_equal(mask, label.mask.decode())
            assert objects["confidence"][i] == label.confidence
            assert objects["mask_quality"][i] == label.mask_quality
            assert objects["caption"][i] == label.caption


def test_an_object_without_a_mask_has_a_null_segmentation(labeled):
    labeled.add("a.png", labeled.label(None, box_xyxy=(8.25, 6, 40, 30), mask_quality=None))
    run(labeled)
    [row] = rows(labeled)
    assert row["objects"]["segmentation"] == [None]
    assert row["objects"]["mask_quality"] == [None]
    assert row["objects"]["bbox"] == [[8.25, 6, 31.75, 24]]
    assert row["objects"]["area"] == [762]


def test_objects_without_extent_are_left_out_and_counted(labeled):
    empty = labeled.label(np.zeros((60, 80), bool))
    outside = labeled.label(None, box_xyxy=(90, 10, 99, 20))
    labeled.add("a.png", empty, labeled.label(labeled.disc()), outside)
    summary = run(labeled)
    assert rows(labeled)[0]["objects"]["id"] == [1]
    assert summary.notes == ("objects without extent, left out: 2",)


def test_an_object_of_one_pixel_has_a_box_of_one_pixel(labeled):
    labeled.add("a.png", labeled.label(labeled.pixel(79, 0)))
    run(labeled)
    assert rows(labeled)[0]["objects"]["bbox"] == [[79, 0, 1, 1]]


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_an_image_rotated_by_exif_is_upright(labeled, name):
    path = labeled.add(name, labeled.label(labeled.disc()), orientation=6)
    run(labeled)
    [row] = rows(labeled)
    with opened(row) as image:
        assert image.size == (row["width"], row["height"]) == (80, 60)
        assert image.getexif().get(0x0112, 1) == 1
        difference = np.asarray(image).astype(int) - load_image(path)
    assert abs(difference).mean() < (1.5 if name == "a.jpg" else 1e-9)


def test_names_that_differ_by_case_get_different_names(labeled):
    labeled.add("A.png", seed=1)
    labeled.add("a.png", seed=2)
    run(labeled)
    assert [row["file_name"] for row in rows(labeled)] == ["A.png", "a_png.png"]


def test_the_card_names_the_shards_of_each_split_with_images(rich):
    summary = run(rich, split=SPLIT, seed=1)
    text = (rich.folder / "hf" / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---")[1])
    names = {"train": "train", "val": "validation", "test": "test"}
    assert front["configs"][0]["data_files"] == [
        {"split": names[split], "path": f"data/{names[split]}-*.parquet"}
        for split, count in summary.images.items()
        if count
    ]
    assert "| Katze ü | 2 |" in text


def test_splits_that_get_the_same_name_are_an_error(rich):
    with pytest.raises(ExportError, match="'a-b' and 'a_b': both would be called 'a_b'"):
        run(rich, split={"a-b": 0.5, "a_b": 0.5})


def test_the_schema_holds_the_features(rich):
    run(rich)
    path = rich.folder / "hf" / "data" / "train-00000-of-00001.parquet"
    features = json.loads(pq.read_schema(path).metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["objects"]["category"]["feature"]["names"] == rich.classes
