"""Hugging Face datasets, as ``datasets.load_dataset`` makes them of the folder."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

SPLIT = {"train": 0.6, "val": 0.3, "test": 0.1}


@pytest.fixture(scope="module")
def loaded(awkward, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        datasets = pytest.importorskip("datasets")
        cache = tmp_path_factory.mktemp("cache")
        return datasets.load_dataset(str(awkward.export("hf", split=SPLIT)), cache_dir=str(cache))


@pytest.fixture(scope="module")
def rows(loaded):
    """Every row, by the name of its image."""
    return {row["file_name"]: row for split in loaded.values() for row in split}


def test_all_splits_and_images_are_loaded(loaded, rows, awkward):
    images = awkward.summary("hf", split=SPLIT).images
    assert {name: len(split) for name, split in loaded.items()} == {
        "train": images["train"],
        "validation": images["val"],
        "test": images["test"],
    }
    assert set(rows) == set(awkward.by_name(awkward.names.EVERYWHERE))


def test_features_describe_the_values(loaded, awkward):
    features = loaded["train"].features
    assert type(features["image"]).__name__ == "Image"
    objects = features["objects"]
    assert tuple(objects["category"].feature.names) == awkward.classes
    assert objects["bbox"].feature.length == 4
    assert objects["area"].feature.dtype == "float64"
    assert set(objects["segmentation"].feature) == {"size", "counts"}


def test_images_are_decoded_upright(rows, awkward):
    for name, truth in awkward.by_name(awkward.names.EVERYWHERE).items():
        image = rows[name]["image"]
        assert image.size[::-1] == (rows[name]["height"], rows[name]["width"]) == truth.size_hw
        if truth.in_color:
            difference = np.asarray(image.convert("RGB")).astype(int) - truth.upright
            assert np.abs(difference).mean() < 8


def test_objects_come_back_exactly(loaded, rows, awkward):
    category = loaded["train"].features["objects"]["category"].feature
    for name, image in awkward.by_name(awkward.names.EVERYWHERE).items():
        objects = rows[name]["objects"]
        assert category.int2str(objects["category"]) == [o.class_name for o in image.objects]
        assert objects["caption"] == [label.caption for label in image.objects]
        assert objects["confidence"] == [label.confidence for label in image.objects]
        for box, mask, label in zip(
            objects["bbox"], objects["segmentation"], image.objects, strict=True
        ):
            left, top, right, bottom = label.box_xyxy
            assert box == pytest.approx([left, top, right - left, bottom - top])
            if label.mask is None:
                assert mask is None
            else:
                assert np.array_equal(coco_mask.decode(mask), label.mask.decode())
