"""CVAT, COCO and Pascal VOC, as Datumaro imports them: the library behind CVAT's own imports."""

from __future__ import annotations

import shutil
from itertools import groupby
from pathlib import PurePosixPath

import numpy as np
import pytest
from pycocotools import mask as coco_mask

dm = pytest.importorskip("datumaro")


def items(dataset) -> dict:
    return {item.id: item for item in dataset}


def by_id(images: dict) -> dict:
    """Return images by their ids in Datumaro: their names without the suffix."""
    return {str(PurePosixPath(name).with_suffix("")): each for name, each in images.items()}


def labels(dataset) -> list[str]:
    return [each.name for each in dataset.categories()[dm.AnnotationType.label]]


def check_images(read: dict, images: dict) -> None:
    assert set(read) == set(images)
    for name, truth in images.items():
        image = read[name].media.data
        assert image.shape[:2] == truth.size_hw
        if truth.in_color:  # blue comes first
            assert np.abs(image[..., 2::-1].astype(int) - truth.upright).mean() < 8


@pytest.fixture(params=["rle", "polygons"])
def cvat(request, awkward, tmp_path):
    """An import by Datumaro, which expects ``images`` beside the file, unlike CVAT itself."""
    folder = awkward.export("cvat", segmentation=request.param)
    (tmp_path / "images").symlink_to(folder / "images")
    shutil.copy(folder / "annotations" / "train.xml", tmp_path)
    return request.param, dm.Dataset.import_from(str(tmp_path / "train.xml"), "cvat")


def test_cvat_shapes_are_the_objects(cvat, awkward):
    segmentation, dataset = cvat
    assert tuple(labels(dataset)) == awkward.classes
    read, images = items(dataset), by_id(awkward.by_name(awkward.names.BY_STEM))
    check_images(read, images)
    for name, image in images.items():
        shapes = groupby(read[name].annotations, key=lambda shape: shape.group or object())
        for (_, group), label in zip(shapes, image.objects, strict=True):
            own = list(group)
            assert {labels(dataset)[shape.label] for shape in own} == {label.class_name}
            assert {shape.attributes["caption"] for shape in own} == {label.caption}
            if label.mask is None:
                [box] = own
                left, top, width, height = box.get_bbox()
                assert (left, top, left + width, top + height) == pytest.approx(label.box_xyxy)
            elif segmentation == "rle":
                [mask] = own
                assert np.array_equal(mask.image > 0, label.mask.decode())
            else:
                outlines = [shape.points for shape in own]
                read_again = coco_mask.merge(coco_mask.frPyObjects(outlines, *image.size_hw))
                mask = coco_mask.decode(read_again).astype(np.bool_)
                assert awkward.iou(mask, label.mask.decode()) >= 0.98


def test_coco_masks_are_the_objects(awkward):
    dataset = dm.Dataset.import_from(str(awkward.export("coco")), "coco_instances")
    read, images = items(dataset), by_id(awkward.by_name(awkward.names.BY_STEM))
    check_images(read, images)
    for name, image in images.items():
        shapes = [each for each in read[name].annotations if each.type.name != "bbox"]
        shapes.sort(key=lambda shape: shape.id)
        assert [labels(dataset)[shape.label] for shape in shapes] == [
            label.class_name for label in image.objects
        ]
        for shape, label in zip(shapes, image.objects, strict=True):
            if label.mask is not None:
                assert np.array_equal(shape.image > 0, label.mask.decode())


def test_pascal_voc_boxes_and_masks_are_the_objects(awkward):
    folder = awkward.export("voc") / "VOCdevkit" / "VOC2012"
    dataset = dm.Dataset.import_from(str(folder), "voc")
    renamed = [name.replace(":", "_") for name in awkward.classes]
    assert labels(dataset) == ["background", *renamed, "void"]
    read = items(dataset)
    assert len(read) == len(awkward.images)
    names = (folder / "ImageSets" / "Main" / "train.txt").read_text(encoding="utf-8").splitlines()
    for name, image in zip(names, awkward.images.values(), strict=True):
        boxes = [each for each in read[name].annotations if each.type.name == "bbox"]
        assert [labels(dataset)[box.label] for box in boxes] == [
            label.class_name.replace(":", "_") for label in image.objects
        ]
        masks = [each for each in read[name].annotations if each.type.name == "mask"]
        if len(image.objects) == 1 and image.objects[0].mask is not None:
            [mask] = masks
            assert np.array_equal(mask.image > 0, image.objects[0].mask.decode())
