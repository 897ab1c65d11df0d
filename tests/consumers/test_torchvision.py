"""COCO and Pascal VOC, as torchvision's dataset classes and transforms load them.

torchvision expects ``VOCdevkit/VOC2012`` in its root folder, as in an export: pass the folder of
the export, ``year="2012"`` and the split as ``image_set``.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import (
    CocoDetection,
    VOCDetection,
    VOCSegmentation,
    wrap_dataset_for_transforms_v2,
)

VOID = 255


@pytest.fixture(scope="module", params=["rle", "polygons"])
def coco(request, awkward) -> CocoDetection:
    folder = awkward.export("coco", segmentation=request.param)
    with contextlib.redirect_stdout(io.StringIO()):
        return CocoDetection(
            str(folder / "images" / "train"),
            str(folder / "annotations" / "instances_train.json"),
        )


def images(awkward, dataset: CocoDetection) -> list:
    """Return the images of a dataset, in its order."""
    expected = awkward.by_name(awkward.names.BY_STEM)
    return [expected[dataset.coco.imgs[number]["file_name"]] for number in dataset.ids]


def test_coco_images_are_upright_and_their_objects_complete(coco, awkward):
    assert len(coco) == len(awkward.images)
    for (image, target), truth in zip(coco, images(awkward, coco), strict=True):
        assert image.size[::-1] == truth.size_hw
        assert len(target) == len(truth.objects)
        if truth.in_color:
            assert np.abs(np.asarray(image).astype(int) - truth.upright).mean() < 8


def test_coco_targets_for_training_hold_boxes_labels_and_masks(coco, awkward):
    wrapped = wrap_dataset_for_transforms_v2(coco, target_keys=("boxes", "labels", "masks"))
    for (_, target), image in zip(wrapped, images(awkward, coco), strict=True):
        if not image.objects:
            assert "boxes" not in target
            continue
        boxes = np.array([label.box_xyxy for label in image.objects])
        assert target["boxes"].numpy() == pytest.approx(boxes, abs=1e-3)
        assert (target["boxes"][:, 2:] > target["boxes"][:, :2]).all()
        assert [awkward.classes[i - 1] for i in target["labels"]] == [
            label.class_name for label in image.objects
        ]
        for mask, label in zip(target["masks"].numpy(), image.objects, strict=True):
            if label.mask is not None:
                assert awkward.iou(mask > 0, label.mask.decode()) >= 0.98


def listed(awkward) -> Iterator:
    """Yield the images in the order of the lists in ``ImageSets``: by id."""
    yield from awkward.images.values()


def test_voc_boxes_are_those_of_the_objects(awkward):
    dataset = VOCDetection(str(awkward.export("voc")), year="2012", image_set="train")
    renamed = {name: name.replace(":", "_") for name in awkward.classes}  # for its label map
    assert len(dataset) == len(awkward.images)
    for (image, target), truth in zip(dataset, listed(awkward), strict=True):
        assert image.size[::-1] == truth.size_hw
        objects = target["annotation"].get("object", [])
        assert [each["name"] for each in objects] == [
            renamed[label.class_name] for label in truth.objects
        ]
        for each, label in zip(objects, truth.objects, strict=True):
            left, top, right, bottom = label.box_xyxy
            assert [int(each["bndbox"][edge]) for edge in ("xmin", "ymin", "xmax", "ymax")] == [
                *(int(left) + 1, int(top) + 1, np.ceil(right), np.ceil(bottom)),
            ]


def test_voc_masks_cover_the_pixels_of_the_objects(awkward):
    dataset = VOCSegmentation(str(awkward.export("voc")), year="2012", image_set="train")
    wrapped = wrap_dataset_for_transforms_v2(dataset)
    assert len(wrapped) == len(awkward.images)
    for (image, mask), truth in zip(wrapped, listed(awkward), strict=True):
        [values] = mask.numpy()
        assert values.shape == image.size[::-1] == truth.size_hw
        covered = np.zeros(truth.size_hw, np.bool_)
        for label in truth.objects:
            if label.mask is None:
                continue
            own = label.mask.decode()
            covered |= own
            if len(truth.objects) == 1:
                value = awkward.classes.index(label.class_name) + 1
                assert np.array_equal(values == value, own)
        assert np.array_equal((values > 0) & (values != VOID), covered)


def test_voc_lists_name_existing_files(awkward):
    root = awkward.export("voc") / "VOCdevkit" / "VOC2012"
    names = (root / "ImageSets" / "Main" / "train.txt").read_text(encoding="utf-8").splitlines()
    for name in names:
        assert Path(f"{root}/JPEGImages/{name}.jpg").is_file()
        assert Path(f"{root}/SegmentationObject/{name}.png").is_file()
