"""COCO, as pycocotools reads and scores it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from grounded_sam2.results import Label

FORMS = ["rle", "polygons"]


def read(awkward, segmentation: str) -> COCO:
    folder = awkward.export("coco", segmentation=segmentation)
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(folder / "annotations" / "instances_train.json"))


def pairs(awkward, coco: COCO) -> Iterator[tuple[dict[str, Any], Label]]:
    """Yield every annotation with its object."""
    numbers = {image["file_name"]: number for number, image in coco.imgs.items()}
    for name, truth in awkward.by_name(awkward.names.BY_STEM).items():
        yield from zip(coco.imgToAnns[numbers[name]], truth.objects, strict=True)


def truth(awkward, coco: COCO) -> COCO:
    """Return the labels of the store, with the image and category ids of an export."""
    category_ids = {category["name"]: number for number, category in coco.cats.items()}
    found = []
    for each, label in pairs(awkward, coco):
        x, y, right, bottom = label.box_xyxy
        shape = label.mask.to_coco() if label.mask else [[x, y, right, y, right, bottom, x, bottom]]
        annotation = {
            "id": len(found) + 1,
            "image_id": each["image_id"],
            "category_id": category_ids[label.class_name],
            "bbox": [x, y, right - x, bottom - y],
            "segmentation": shape,
            "area": (right - x) * (bottom - y),
            "iscrowd": 0,
        }
        found.append(annotation)
    labeled = COCO()
    labeled.dataset = {**coco.dataset, "annotations": found}
    labeled.createIndex()
    return labeled


@pytest.mark.parametrize("segmentation", FORMS)
def test_every_image_and_object_is_loaded(awkward, segmentation):
    coco = read(awkward, segmentation)
    expected = awkward.by_name(awkward.names.BY_STEM)
    assert {image["file_name"] for image in coco.imgs.values()} == set(expected)
    assert tuple(category["name"] for category in coco.cats.values()) == awkward.classes
    for each, label in pairs(awkward, coco):
        assert coco.cats[each["category_id"]]["name"] == label.class_name
    assert len(coco.anns) == sum(len(truth.objects) for truth in expected.values())


@pytest.mark.parametrize("segmentation", FORMS)
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_average_precision_against_what_was_labeled_is_one(awkward, segmentation, kind):
    coco = read(awkward, segmentation)
    predictions = [
        {
            "image_id": each["image_id"],
            "category_id": each["category_id"],
            "score": each.get("score", 1.0),
            **({"bbox": each["bbox"]} if kind == "bbox" else {"segmentation": coco.annToRLE(each)}),
        }
        for each in coco.anns.values()
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        labeled = truth(awkward, coco)
        evaluation = COCOeval(labeled, labeled.loadRes(predictions), kind)
        evaluation.params.maxDets = [1000]  # the crowd has more than the default of 100
        evaluation.evaluate()
        evaluation.accumulate()
    assert evaluation.params.iouThrs[-1] == pytest.approx(0.95)
    precision = evaluation.eval["precision"][:, :, :, 0, 0]  # any size
    evaluated = (precision >= 0).all(axis=(0, 1))
    assert evaluated.tolist() == [name != "never seen" for name in awkward.classes]
    assert precision[..., evaluated].min() == pytest.approx(1)


def test_run_lengths_are_the_masks(awkward):
    coco = read(awkward, "rle")
    for each, label in pairs(awkward, coco):
        if label.mask is not None:
            assert np.array_equal(coco.annToMask(each), label.mask.decode())
            assert each["area"] == label.mask.area


def test_polygons_reach_the_iou_even_for_objects_of_one_pixel(awkward):
    coco = read(awkward, "polygons")
    for each, label in pairs(awkward, coco):
        if label.mask is not None:
            mask = coco.annToMask(each).astype(np.bool_)
            assert awkward.iou(mask, label.mask.decode()) >= 0.98
