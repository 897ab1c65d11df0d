"""YOLO, COCO and Pascal VOC, as supervision loads them."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import pytest
import supervision as sv


def by_name(dataset: sv.DetectionDataset, root: Path) -> dict[str, tuple[Any, sv.Detections]]:
    """Return BGR image and objects by path relative to a folder."""
    return {
        Path(path).relative_to(root.resolve()).as_posix(): (image, detections)
        for path, image, detections in dataset
    }


def class_names(dataset: sv.DetectionDataset, detections: sv.Detections) -> list[str]:
    return [dataset.classes[i] for i in detections.class_id]


def from_yolo(folder: Path, sub: str, **options: Any) -> sv.DetectionDataset:
    """Load one folder of images: supervision does not search sub-folders."""
    return sv.DetectionDataset.from_yolo(
        images_directory_path=str(folder / "images" / "train" / sub),
        annotations_directory_path=str(folder / "labels" / "train" / sub),
        data_yaml_path=str(folder / "data.yaml"),
        **options,
    )


def in_folder(images: dict[str, Any], sub: str) -> dict[str, Any]:
    return {name: each for name, each in images.items() if str(PurePosixPath(name).parent) == sub}


def test_coco_is_read_back_exactly(awkward):
    folder = awkward.export("coco")
    dataset = sv.DetectionDataset.from_coco(
        images_directory_path=str(folder / "images" / "train"),
        annotations_path=str(folder / "annotations" / "instances_train.json"),
        force_masks=True,
    )
    assert tuple(dataset.classes) == awkward.classes
    read = by_name(dataset, folder / "images" / "train")
    expected = awkward.by_name(awkward.names.BY_STEM)
    assert set(read) == set(expected)
    for name, truth in expected.items():
        image, detections = read[name]
        assert image.shape[:2] == truth.size_hw
        assert class_names(dataset, detections) == [each.class_name for each in truth.objects]
        for index, label in enumerate(truth.objects):
            assert detections.xyxy[index] == pytest.approx(label.box_xyxy)
            if label.mask is not None:
                assert np.array_equal(detections.mask[index], label.mask.decode())


@pytest.mark.parametrize("sub", [".", "shapes", "objects", "turned", "modes", "kinds", "odd"])
def test_yolo_masks_are_at_most_a_pixel_larger(awkward, sub):
    folder = awkward.export("yolo")
    dataset = from_yolo(folder, sub, force_masks=True)
    assert tuple(dataset.classes) == awkward.classes
    read = by_name(dataset, folder / "images" / "train")
    expected = in_folder(awkward.by_name(awkward.names.YOLO, min_side=10), sub)
    assert set(read) == set(expected)
    for name, truth in expected.items():
        image, detections = read[name]
        assert image.shape[:2] == truth.size_hw
        assert class_names(dataset, detections) == [each.class_name for each in truth.objects]
        for index, label in enumerate(truth.objects):
            if label.mask is None or name == "shapes/large.jpg":
                continue
            mask, truth = detections.mask[index].astype(np.bool_), label.mask.decode()
            # supervision rounds to whole pixels and fills those under the outline as well
            around = cv2.dilate(truth.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.bool_)
            assert (mask & truth).sum() >= 0.98 * truth.sum()
            assert (mask & ~around).sum() <= 0.02 * truth.sum()


def test_a_large_yolo_mask_is_nearly_exact(awkward):
    dataset = from_yolo(awkward.export("yolo"), "shapes", force_masks=True)
    [masks] = [each.mask for path, _, each in dataset if path.endswith("large.jpg")]
    truth = awkward.images["shapes/large.jpg"].objects[0].mask.decode()
    assert awkward.iou(masks[0].astype(np.bool_), truth) >= 0.98


@pytest.mark.parametrize("sub", [".", "shapes", "objects", "tiny"])
def test_yolo_boxes_are_read_back(awkward, sub):
    folder = awkward.export("yolo-boxes")
    dataset = from_yolo(folder, sub)
    read = by_name(dataset, folder / "images" / "train")
    expected = in_folder(awkward.by_name(awkward.names.YOLO, min_side=10), sub)
    assert set(read) == set(expected)
    for name, image in expected.items():
        detections = read[name][1]
        assert class_names(dataset, detections) == [each.class_name for each in image.objects]
        boxes = np.array([label.box_xyxy for label in image.objects]).reshape(-1, 4)
        assert detections.xyxy == pytest.approx(boxes, abs=0.01)


@pytest.mark.parametrize("sub", [".", "shapes", "objects", "tiny", "turned"])
def test_pascal_voc_boxes_are_read_back_in_whole_pixels(awkward, sub):
    root = awkward.export("voc") / "VOCdevkit" / "VOC2012"
    dataset = sv.DetectionDataset.from_pascal_voc(
        images_directory_path=str(root / "JPEGImages" / sub),
        annotations_directory_path=str(root / "Annotations" / sub),
    )
    renamed = {name: name.replace(":", "_") for name in awkward.classes}  # for its label map
    read = {Path(path).stem: (image, found) for path, image, found in dataset}
    expected = in_folder(awkward.by_name(awkward.names.BY_STEM), sub)
    assert set(read) == {PurePosixPath(name).stem.replace(" ", "_") for name in expected}
    for name, truth in expected.items():
        image, detections = read[PurePosixPath(name).stem.replace(" ", "_")]
        assert image.shape[:2] == truth.size_hw
        found = class_names(dataset, detections)
        assert found == [renamed[label.class_name] for label in truth.objects]
        for box, label in zip(detections.xyxy, truth.objects, strict=True):
            left, top, right, bottom = label.box_xyxy  # in whole pixels there
            around = [np.floor(left), np.floor(top), np.ceil(right), np.ceil(bottom)]
            assert box.tolist() == around
