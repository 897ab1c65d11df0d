"""Label Studio tasks, as Label Studio's own converter reads configuration and brush strokes."""

from __future__ import annotations

import json
from urllib.parse import unquote

import numpy as np
import PIL.Image
import pytest

brush = pytest.importorskip("label_studio_converter.brush")
label_config = pytest.importorskip("label_studio_tools.core.label_config")


@pytest.fixture(scope="module", params=["rle", "polygons"])
def folder(request, awkward):
    return awkward.export("labelstudio", segmentation=request.param)


@pytest.fixture(scope="module")
def tasks(folder) -> list[dict]:
    return json.loads((folder / "tasks" / "00000.json").read_text(encoding="utf-8"))


def test_every_region_matches_the_labeling_interface(folder, tasks, awkward):
    config = label_config.parse_config((folder / "label_config.xml").read_text(encoding="utf-8"))
    for control in config.values():
        assert tuple(control["labels"]) == awkward.classes
    for task in tasks:
        for region in task["predictions"][0]["result"]:
            control = config[region["from_name"]]
            assert control["type"].lower() == region["type"]
            assert control["to_name"] == [region["to_name"]]
            assert set(region["value"][region["type"]]) <= set(control["labels"])


def test_every_image_has_a_type_that_browsers_display(folder, tasks, awkward):
    assert len(tasks) == len(awkward.images)
    for task, truth in zip(tasks, awkward.images.values(), strict=True):
        path = unquote(task["data"]["image"].removeprefix("/data/local-files/?d="))
        with PIL.Image.open(folder / path) as image:
            assert image.size[::-1] == truth.size_hw
            assert image.format in {"JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF"}


def test_regions_are_the_objects(tasks, awkward):
    stored = {item.item_id: labels.objects for item, labels in awkward.store.labels()}
    for task, (item_id, image) in zip(tasks, awkward.images.items(), strict=True):
        regions = task["predictions"][0]["result"]
        assert len(regions) == len({region["id"] for region in regions}) == len(image.objects)
        by_uid = {label.uid: label for label in stored[item_id]}
        for region in regions:
            label = by_uid[region["id"]]
            assert region["value"][region["type"]] == [label.class_name]
            size_hw = region["original_height"], region["original_width"]
            assert size_hw == image.size_hw
            if region["type"] == "brushlabels":
                painted = brush.decode_rle(region["value"]["rle"]).reshape(*size_hw, 4)
                assert np.array_equal(painted[..., 3] > 0, label.mask.decode())
