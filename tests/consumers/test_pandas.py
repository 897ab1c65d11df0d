"""CSV and JSON lines, as pandas reads them with its defaults."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

pd = pytest.importorskip("pandas")


def paths(awkward) -> dict:
    expected = awkward.by_name(awkward.names.EVERYWHERE)
    return {f"images/train/{name}": image for name, image in expected.items()}


def test_the_table_of_images_has_a_row_per_image(awkward):
    folder = awkward.export("csv")
    images = pd.read_csv(folder / "images.csv").set_index("image")
    assert set(images.index) == set(paths(awkward))
    for path, image in paths(awkward).items():
        row = images.loc[path]
        assert (row["height"], row["width"]) == image.size_hw
        assert (folder / path).is_file()


def test_the_table_of_objects_has_a_row_per_object_with_its_mask(awkward):
    objects = pd.read_csv(awkward.export("csv") / "objects.csv")
    objects = objects[objects["image"] != "images/train/objects/nowhere.jpg"]
    for path, image in paths(awkward).items():
        rows = objects[objects["image"] == path]
        if image.item_id == "objects/nowhere.jpg":
            continue
        assert rows["class"].tolist() == [label.class_name for label in image.objects]
        for (_, row), label in zip(rows.iterrows(), image.objects, strict=True):
            box = [row[edge] for edge in ("x_min", "y_min", "x_max", "y_max")]
            assert box == pytest.approx(label.box_xyxy)
            assert pd.isna(row["confidence"]) == (label.confidence is None)
            if label.mask is None:
                assert pd.isna(row["rle"])
                assert pd.isna(row["area"])
            else:
                size = [int(row["height"]), int(row["width"])]
                mask = coco_mask.decode({"size": size, "counts": row["rle"].encode()})
                assert np.array_equal(mask, label.mask.decode())
                assert row["area"] == label.mask.area


def test_json_lines_hold_the_objects_of_each_image(awkward):
    lines = pd.read_json(awkward.export("jsonl") / "labels.jsonl", lines=True).set_index("image")
    assert set(lines.index) == set(paths(awkward))
    for path, image in paths(awkward).items():
        found = [each["class"] for each in lines.loc[path, "objects"]]
        expected = [label.class_name for label in image.objects]
        assert found[: len(expected)] == expected
        assert len(found) == len(expected) + 2 * (image.item_id == "objects/nowhere.jpg")
