"""CVAT: the XML, read as CVAT's own importer reads it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import PIL.Image
import pytest

from grounded_sam2.exporters import ExportOptions, export
from grounded_sam2.geometry.polygons import polygons_to_mask


def run(labeled, **options):
    return export("cvat", labeled.store, labeled.folder / "cvat", ExportOptions(**options))


def document(labeled, split="train") -> ElementTree.Element:
    return ElementTree.parse(labeled.folder / "cvat" / "annotations" / f"{split}.xml").getroot()


def images(labeled, split="train") -> dict[str, ElementTree.Element]:
    return {image.attrib["name"]: image for image in document(labeled, split).iter("image")}


def from_mask(element: ElementTree.Element, size_hw=(60, 80)) -> np.ndarray:
    """Decode a mask as CVAT does: row-major run lengths in the box, background first."""
    runs = [int(run) for run in element.attrib["rle"].split(",")]
    left, top, width, height = (int(element.attrib[k]) for k in ("left", "top", "width", "height"))
    crop = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    mask = np.zeros(size_hw, bool)
    mask[top : top + height, left : left + width] = crop
    return mask


def ring_of(element: ElementTree.Element) -> np.ndarray:
    pairs = element.attrib["points"].split(";")
    return np.array([[float(value) for value in pair.split(",")] for pair in pairs])


def test_masks_are_read_back_with_holes_and_parts(rich):
    run(rich)
    read = images(rich)
    for item, labels in rich.store.labels():
        image = read[item.item_id]
        assert (image.attrib["height"], image.attrib["width"]) == ("60", "80")
        shapes = list(image)
        assert [shape.tag for shape in shapes] == ["mask"] * len(labels)
        for shape, label in zip(shapes, labels.objects, strict=True):
            assert shape.attrib["label"] == label.class_name
            assert np.array_equal(from_mask(shape), label.mask.decode())


def test_polygons_of_an_object_form_a_group(rich):
    run(rich, segmentation="polygons")
    read = images(rich)
    for item, labels in rich.store.labels():
        polygons = list(read[item.item_id])
        assert {polygon.tag for polygon in polygons} <= {"polygon"}
        groups = {}
        for polygon in polygons:
            key = (polygon.attrib["z_order"], polygon.attrib.get("group_id"))
            groups.setdefault(key, []).append(ring_of(polygon))
        assert len(groups) == len(labels)
        for rings, label in zip(groups.values(), labels.objects, strict=True):
            painted, mask = polygons_to_mask(rings, (60, 80)), label.mask.decode()
            assert (painted & mask).sum() / (painted | mask).sum() >= 0.98
    numbers = [
        p.attrib["group_id"] for p in document(rich).iter("polygon") if "group_id" in p.attrib
    ]
    assert numbers == ["1", "1", "2", "2"]


def test_background_is_an_image_without_shapes(rich):
    run(rich)
    assert list(images(rich)["background.png"]) == []


def test_the_object_of_higher_confidence_is_on_top(labeled):
    confidences = (0.2, 0.9, None, 0.5)
    labeled.add("a.png", *(labeled.label(labeled.disc(), confidence=c) for c in confidences))
    run(labeled)
    shapes = images(labeled)["a.png"]
    assert [shape.attrib["z_order"] for shape in shapes] == ["0", "2", "3", "1"]


def test_scores_and_caption_are_attributes_and_unknown_ones_are_absent(labeled):
    labeled.add("a.png", labeled.label(labeled.disc(), confidence=None, caption="a < b"))
    run(labeled)
    [shape] = images(labeled)["a.png"]
    assert {each.attrib["name"]: each.text for each in shape} == {
        "mask_quality": "0.5",
        "caption": "a < b",
        "uid": labeled.store.objects("a.png")[0].uid,
    }


def test_an_object_without_a_mask_is_a_box(labeled):
    labeled.add("a.png", labeled.label(None, box_xyxy=(-3, 6.25, 40, 30)))
    summary = run(labeled)
    [box] = images(labeled)["a.png"]
    assert box.tag == "box"
    assert [box.attrib[k] for k in ("xtl", "ytl", "xbr", "ybr")] == [
        "0.00",
        "6.25",
        "40.00",
        "30.00",
    ]
    assert summary.notes == ("objects without a mask, written as their box: 1",)


def test_an_object_without_extent_is_left_out_and_counted(labeled):
    labeled.add("a.png", labeled.label(np.zeros((60, 80), bool)))
    assert run(labeled).notes == ("objects without extent, left out: 1",)
    assert list(images(labeled)["a.png"]) == []


@pytest.mark.parametrize("segmentation", ["rle", "polygons"])
def test_an_object_of_one_pixel_is_read_back(labeled, segmentation):
    labeled.add("a.png", labeled.label(labeled.pixel(79, 0)))
    run(labeled, segmentation=segmentation)
    [shape] = images(labeled)["a.png"]
    if segmentation == "rle":
        assert shape.attrib["rle"] == "0, 1"
        assert np.array_equal(from_mask(shape), labeled.pixel(79, 0))
    else:
        assert np.array_equal(polygons_to_mask([ring_of(shape)], (60, 80)), labeled.pixel(79, 0))


def test_names_are_those_of_the_images_of_the_split(rich):
    run(rich, split={"train": 0.5, "val": 0.5})
    for split in ("train", "val"):
        written = rich.folder / "cvat" / "images" / split
        present = {p.relative_to(written).as_posix() for p in written.rglob("*.png")}
        assert set(images(rich, split)) == present
        ids = [image.attrib["id"] for image in images(rich, split).values()]
        assert ids == [str(i) for i in range(len(ids))]


def test_images_with_equal_stems_get_different_names(labeled):
    labeled.add("a.jpg", seed=1)
    labeled.add("a.png", seed=2)
    run(labeled)
    assert set(images(labeled)) == {"a.jpg", "a_png.png"}


def test_names_and_classes_are_escaped_for_xml(labeled):
    labeled.add('a & "b" <c>.png', labeled.label(labeled.disc(), "'x' & \"y\""))
    run(labeled)
    [shape] = images(labeled)['a & "b" <c>.png']
    assert shape.attrib["label"] == "'x' & \"y\""


def test_an_image_rotated_by_exif_agrees_with_its_size(labeled):
    labeled.add("a.jpg", labeled.label(labeled.disc()), orientation=6)
    run(labeled)
    image = images(labeled)["a.jpg"]
    with PIL.Image.open(labeled.folder / "cvat" / "images" / "train" / "a.jpg") as written:
        assert written.size == (int(image.attrib["width"]), int(image.attrib["height"])) == (80, 60)


def test_labels_are_listed_for_the_task_and_in_the_document(rich):
    run(rich)
    raw = json.loads((rich.folder / "cvat" / "labels.json").read_text())
    assert [label["name"] for label in raw] == rich.classes
    attributes = ["confidence", "mask_quality", "caption", "uid"]
    assert [a["name"] for a in raw[0]["attributes"]] == attributes
    named = [label.findtext("name") for label in document(rich).iter("label")]
    assert named == rich.classes
    assert document(rich).findtext("version") == "1.1"
