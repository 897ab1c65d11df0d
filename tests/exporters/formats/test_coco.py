"""COCO: pycocotools and supervision read the labels of the store."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import supervision as sv
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from grounded_sam2.exporters import ExportOptions, export
from grounded_sam2.geometry.rle import encode
from grounded_sam2.results import Label
from grounded_sam2.store import LabelStore


def run(labeled, **options):
    with LabelStore.open(labeled.folder) as store:
        return export("coco", store, labeled.folder / "coco", ExportOptions(**options))


def load(labeled, split="train") -> dict:
    path = labeled.folder / "coco" / "annotations" / f"instances_{split}.json"
    return json.loads(path.read_text(encoding="ascii"))


def stored(labeled) -> dict[str, list[Label]]:
    with LabelStore.open(labeled.folder) as store:
        return {item.item_id: list(labels.objects) for item, labels in store.labels()}


def square(**changes) -> Label:
    mask = np.zeros((60, 80), bool)
    mask[10:20, 30:60] = True
    label = Label("ball", "red circle", (30, 10, 60, 20), encode(mask)[0], 0.75, 0.5)
    return replace(label, **changes)


def test_ids_begin_at_one_and_are_consistent(rich):
    run(rich)
    data = load(rich)
    assert [i["id"] for i in data["images"]] == [1, 2, 3, 4, 5]
    assert [a["id"] for a in data["annotations"]] == [1, 2, 3, 4, 5, 6, 7]
    assert [(c["id"], c["name"]) for c in data["categories"]] == [
        (1, "ball"),
        (2, "box"),
        (3, "Katze ü"),
    ]
    names = {i["id"]: i["file_name"] for i in data["images"]}
    classes = {c["id"]: c["name"] for c in data["categories"]}
    read: dict[str, list[str]] = {name: [] for name in names.values()}
    for annotation in data["annotations"]:
        read[names[annotation["image_id"]]].append(classes[annotation["category_id"]])
    assert read == {name: [o.class_name for o in objects] for name, objects in stored(rich).items()}


def test_images_are_listed_with_their_sub_folders_background_included(rich):
    run(rich)
    images = load(rich)["images"]
    assert [i["file_name"] for i in images] == [
        *("a.png", "background.png", "sub/deep/ring.png", "sub/ring.png", "z.png"),
    ]
    assert {(i["height"], i["width"]) for i in images} == {(60, 80)}
    for image in images:
        assert (rich.folder / "coco" / "images" / "train" / image["file_name"]).is_file()


def test_an_annotation_holds_all_values_of_the_store(labeled):
    labeled.add("a.png", square())
    run(labeled)
    [annotation] = load(labeled)["annotations"]
    segmentation = annotation.pop("segmentation")
    assert annotation == {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [30, 10, 30, 10],
        "area": 300,
        "iscrowd": 0,
        "score": 0.75,
        "mask_quality": 0.5,
        "caption": "red circle",
        "uid": labeled.store.objects("a.png")[0].uid,
    }
    assert segmentation["size"] == [60, 80]
    assert isinstance(segmentation["counts"], str)


def test_box_and_area_are_those_of_the_mask(labeled):
    labeled.add("a.png", square(box_xyxy=(0, 0, 80, 60)))
    run(labeled)
    [annotation] = load(labeled)["annotations"]
    assert (annotation["bbox"], annotation["area"]) == ([30, 10, 30, 10], 300)


def test_unknown_scores_are_absent(labeled):
    labeled.add("a.png", square(confidence=None, mask_quality=None))
    run(labeled)
    [annotation] = load(labeled)["annotations"]
    assert not annotation.keys() & {"score", "mask_quality"}


@pytest.mark.parametrize("segmentation", ["rle", "polygons"])
def test_objects_without_extent_are_left_out_and_counted(labeled, segmentation):
    empty = labeled.label(np.zeros((60, 80), bool))
    outside = labeled.label(None, box_xyxy=(90, 10, 99, 20))
    labeled.add("a.png", empty, square(), outside)
    summary = run(labeled, segmentation=segmentation)
    [annotation] = load(labeled)["annotations"]
    assert (annotation["id"], annotation["area"]) == (1, 300)
    assert summary.objects["ball"] == 1
    assert summary.notes == ("objects without extent, left out: 2",)


def test_a_box_is_clipped_to_the_image(labeled):
    labeled.add("a.png", square(mask=None, box_xyxy=(-5.5, 10.25, 40.5, 70)))
    run(labeled)
    [annotation] = load(labeled)["annotations"]
    assert annotation["bbox"] == [0, 10.25, 40.5, 49.75]


def test_an_object_without_a_mask_is_the_corners_of_its_box(labeled):
    labeled.add("a.png", square(mask=None, box_xyxy=(1.25, 2, 11.25, 7)))
    summary = run(labeled)
    [annotation] = load(labeled)["annotations"]
    assert annotation["bbox"] == [1.25, 2, 10, 5]
    assert annotation["area"] == 50
    assert annotation["segmentation"] == [[1.25, 2, 11.25, 2, 11.25, 7, 1.25, 7]]
    assert summary.notes == ("objects without a mask, written as their box: 1",)


def test_splits_have_a_file_each_and_ids_of_their_own(rich):
    split = {"train": 0.5, "val": 0.5, "test": 0.0}
    summary = run(rich, split=split)
    names = []
    for name in split:
        data = load(rich, name)
        assert [i["id"] for i in data["images"]] == list(range(1, summary.images[name] + 1))
        assert len(data["categories"]) == 3
        names += [i["file_name"] for i in data["images"]]
    assert sorted(names) == sorted(stored(rich))
    assert all(summary.images[name] for name in ("train", "val"))
    assert load(rich, "test")["images"] == []


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_pycocotools_scores_the_store_against_its_export_as_perfect(rich, kind, capsys):
    run(rich)
    truth = COCO(str(rich.folder / "coco" / "annotations" / "instances_train.json"))
    image_ids = {image["file_name"]: i for i, image in truth.imgs.items()}
    category_ids = {category["name"]: i for i, category in truth.cats.items()}
    predictions = []
    for item_id, objects in stored(rich).items():
        for label in objects:
            left, top, right, bottom = label.mask.bbox_xyxy
            shape = {"bbox": [left, top, right - left, bottom - top]}
            if kind == "segm":
                shape = {"segmentation": label.mask.to_coco()}
            predictions.append(
                {
                    "image_id": image_ids[item_id],
                    "category_id": category_ids[label.class_name],
                    "score": label.confidence or 0.1,
                    **shape,
                }
            )
    evaluation = COCOeval(truth, truth.loadRes(predictions), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    capsys.readouterr()
    assert evaluation.stats[0] == pytest.approx(1.0)


def test_masks_are_read_back_exactly_with_holes_and_parts(rich):
    run(rich)
    truth = COCO(str(rich.folder / "coco" / "annotations" / "instances_train.json"))
    for i, image in truth.imgs.items():
        annotations = truth.loadAnns(truth.getAnnIds(imgIds=[i]))
        for annotation, label in zip(annotations, stored(rich)[image["file_name"]], strict=True):
            mask = truth.annToMask(annotation).astype(bool)
            assert np.array_equal(mask, label.mask.decode())
            assert annotation["area"] == mask.sum()
            assert annotation["bbox"] == coco_mask.toBbox(truth.annToRLE(annotation)).tolist()


def test_polygons_rasterize_to_the_mask(rich):
    run(rich, segmentation="polygons", min_polygon_iou=0.95)
    truth = COCO(str(rich.folder / "coco" / "annotations" / "instances_train.json"))
    shapes = 0
    for i, image in truth.imgs.items():
        annotations = truth.loadAnns(truth.getAnnIds(imgIds=[i]))
        for annotation, label in zip(annotations, stored(rich)[image["file_name"]], strict=True):
            assert all(len(polygon) >= 6 for polygon in annotation["segmentation"])
            mask, expected = truth.annToMask(annotation).astype(bool), label.mask.decode()
            assert (mask & expected).sum() / (mask | expected).sum() > 0.94
            shapes += len(annotation["segmentation"])
    assert shapes == 9  # two of the seven objects have two parts


def test_supervision_reads_classes_and_masks(rich):
    run(rich)
    root = rich.folder / "coco"
    dataset = sv.DetectionDataset.from_coco(
        images_directory_path=str(root / "images" / "train"),
        annotations_path=str(root / "annotations" / "instances_train.json"),
        force_masks=True,
    )
    assert dataset.classes == ["ball", "box", "Katze ü"]
    read = {
        path.removeprefix(f"{root}/images/train/"): detections for path, _, detections in dataset
    }
    assert set(read) == set(stored(rich))
    for name, objects in stored(rich).items():
        assert len(read[name]) == len(objects)
        for mask, label in zip(read[name].mask if objects else (), objects, strict=True):
            assert np.array_equal(mask.astype(bool), label.mask.decode())
