"""Pascal VOC: torchvision, Pillow and an XML parser read the labels of the store."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import supervision as sv
from torchvision.datasets import VOCDetection, VOCSegmentation

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters import ExportOptions, export
from grounded_sam2.exporters.mask_png import voc_palette

VOID = 255


def run(labeled, **options):
    return export("voc", labeled.store, labeled.folder / "voc", ExportOptions(**options))


def root(labeled) -> Path:
    return labeled.folder / "voc" / "VOCdevkit" / "VOC2012"


def boxes(labeled, name: str) -> list[tuple]:
    """Return class and ``xmin ymin xmax ymax`` of every object."""
    tree = ElementTree.parse(root(labeled) / "Annotations" / f"{name}.xml")
    return [
        (each.findtext("name"), *(int(value.text) for value in each.find("bndbox")))
        for each in tree.iter("object")
    ]


def pixels(labeled, kind: str, name: str) -> np.ndarray:
    with PIL.Image.open(root(labeled) / f"Segmentation{kind}" / f"{name}.png") as image:
        assert image.mode == "P"
        return np.asarray(image)


def test_boxes_are_one_based_and_include_both_ends(rich):
    run(rich)
    for item, labels in rich.store.labels():
        expected = []
        for label in labels.objects:
            left, top, right, bottom = label.mask.bbox_xyxy
            expected.append((label.class_name, left + 1, top + 1, right, bottom))
        assert boxes(rich, item.item_id.removesuffix(".png")) == expected


def test_masks_hold_classes_and_objects_with_holes_and_parts(rich):
    run(rich)
    assert np.array_equal(pixels(rich, "Class", "sub/deep/ring") == 3, rich.ring())
    disc, parts = rich.disc(), rich.two_parts()  # 0.75 lies on 0.5
    expected = np.where(disc, 1, np.where(parts, 2, 0))
    assert np.array_equal(pixels(rich, "Class", "a"), expected)
    assert np.array_equal(pixels(rich, "Object", "a"), expected)


def test_background_is_listed_and_all_zero(rich):
    run(rich)
    assert boxes(rich, "background") == []
    assert not pixels(rich, "Class", "background").any()
    assert not pixels(rich, "Object", "background").any()
    for kind in ("Main", "Segmentation"):
        listed = (root(rich) / "ImageSets" / kind / "train.txt").read_text().splitlines()
        assert listed == ["a", "background", "sub/deep/ring", "sub/ring", "z"]


def test_an_object_of_one_pixel_has_a_box_of_one_pixel(labeled):
    labeled.add("a.png", labeled.label(labeled.pixel(79, 0)))
    run(labeled)
    assert boxes(labeled, "a") == [("ball", 80, 1, 80, 1)]
    assert np.argwhere(pixels(labeled, "Object", "a")).tolist() == [[0, 79]]


def test_the_box_of_an_object_without_a_mask_is_void(labeled):
    labeled.add("a.png", labeled.label(None, box_xyxy=(9.5, 10, 20, 20)))
    summary = run(labeled)
    assert boxes(labeled, "a") == [("ball", 10, 11, 20, 20)]
    for kind in ("Class", "Object"):
        assert (pixels(labeled, kind, "a") == VOID).sum() == 11 * 10
    assert "void in masks: 1" in summary.notes[0]


def test_an_object_outside_the_image_is_left_out_and_counted(labeled):
    labeled.add("a.png", labeled.label(None, box_xyxy=(90, 10, 99, 20)))
    assert run(labeled).notes == ("objects without extent, left out: 1",)
    assert boxes(labeled, "a") == []


def test_objects_beyond_the_palette_are_void(labeled):
    spots = [labeled.label(labeled.pixel(i % 80, i // 80)) for i in range(300)]
    labeled.add("a.png", *spots)
    summary = run(labeled)
    painted = pixels(labeled, "Object", "a").ravel()[:300]
    assert painted.tolist() == [*range(1, 255), *[VOID] * 46]
    assert summary.notes[-1].endswith("void in masks of objects: 46")
    assert len(boxes(labeled, "a")) == 300


def test_more_classes_than_the_palette_holds_are_an_error(labeled):
    names = [f"class {i}" for i in range(252)]
    labeled.add("a.png", *(labeled.label(labeled.pixel(1, 1), name) for name in names))
    with pytest.raises(ExportError, match="at most 254 classes, there are 255; choose masks"):
        run(labeled)


def test_only_images_that_are_no_jpeg_are_reencoded(labeled):
    kept = [labeled.add(name, seed=i) for i, name in enumerate(["a.jpg", "b.JPG", "c.jpeg"])]
    labeled.add("d.png", seed=4)
    run(labeled)
    images = root(labeled) / "JPEGImages"
    names = sorted(path.name for path in images.iterdir())
    assert names == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    for path in kept:
        assert (images / f"{path.stem}.jpg").read_bytes() == path.read_bytes()
    with (
        PIL.Image.open(images / "d.jpg") as written,
        PIL.Image.open(labeled.images / "d.png") as original,
    ):
        assert written.format == "JPEG"
        difference = np.asarray(written).astype(int) - np.asarray(original.convert("RGB"))
    assert abs(difference).mean() < 1.5


def test_names_that_collide_or_hold_spaces_change(labeled):
    for seed, name in enumerate(["a b.jpg", "a.jpg", "a.png", "a_b.jpg"]):
        labeled.add(name, seed=seed)
    run(labeled)
    listed = (root(labeled) / "ImageSets" / "Main" / "train.txt").read_text().splitlines()
    assert listed == ["a_b", "a", "a_png", "a_b_jpg"]
    for name in listed:
        assert (root(labeled) / "JPEGImages" / f"{name}.jpg").is_file()


def test_classes_are_escaped_for_xml(labeled):
    labeled.add("a.png", labeled.label(labeled.disc(), 'a < b & "c"\x07'))
    run(labeled)
    assert boxes(labeled, "a")[0][0] == 'a < b & "c"\ufffd'


def test_an_image_rotated_by_exif_agrees_with_its_labels(labeled):
    labeled.add("a.jpg", labeled.label(labeled.pixel(79, 0)), orientation=6)
    run(labeled)
    with PIL.Image.open(root(labeled) / "JPEGImages" / "a.jpg") as image:
        assert image.size == (80, 60)
        assert image.getexif().get(0x0112, 1) == 1
    assert pixels(labeled, "Class", "a").shape == (60, 80)


def test_the_palette_is_that_of_pascal_voc():
    palette = voc_palette().tolist()
    assert palette[:4] == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert palette[15] == [192, 128, 128]
    assert palette[VOID] == [224, 224, 192]
    assert len({tuple(color) for color in palette}) == 256


def test_the_label_map_names_the_values(rich):
    run(rich)
    lines = (root(rich) / "labelmap.txt").read_text(encoding="utf-8").splitlines()
    assert lines[1:] == [
        *("background:0,0,0::", "ball:128,0,0::", "box:0,128,0::", "Katze ü:128,128,0::"),
        "void:224,224,192::",
    ]


def test_classes_that_the_label_map_cannot_represent_are_renamed(labeled):
    classes = ["car: red", "car_ red", "#1", "void", " a  b "]
    labeled.add("a.png", *(labeled.label(labeled.pixel(1, 1), name) for name in classes))
    summary = run(labeled)
    lines = (root(labeled) / "labelmap.txt").read_text(encoding="utf-8").splitlines()[5:-1]
    called = {" a  b ": "a b", "#1": "_1", "car: red": "car_ red", "car_ red": "car_ red_2"}
    called["void"] = "void_2"
    assert [line.split(":")[0] for line in lines] == [called[name] for name in sorted(classes)]
    assert [box[0] for box in boxes(labeled, "a")] == [called[name] for name in classes]
    assert "classes that the label map cannot represent, renamed: 5" in summary.notes


def test_torchvision_reads_boxes_and_masks(rich):
    run(rich)
    folder = str(rich.folder / "voc")
    stored = [labels.objects for _, labels in rich.store.labels()]
    detection = VOCDetection(folder, year="2012", image_set="train")
    assert len(detection) == len(stored)
    for (image, target), objects in zip(detection, stored, strict=True):
        assert image.size == (80, 60)
        read = [each["name"] for each in target["annotation"].get("object", [])]
        assert read == [label.class_name for label in objects]
    segmentation = VOCSegmentation(folder, year="2012", image_set="train")
    for (image, mask), objects in zip(segmentation, stored, strict=True):
        assert image.size == mask.size
        covered = np.zeros((60, 80), bool)
        for label in objects:
            covered |= label.mask.decode()
        assert np.array_equal(np.asarray(mask) > 0, covered)


def test_supervision_reads_boxes(labeled):
    labeled.add("a.jpg", labeled.label(labeled.disc()), labeled.label(labeled.ring(), "box"))
    run(labeled)
    dataset = sv.DetectionDataset.from_pascal_voc(
        images_directory_path=str(root(labeled) / "JPEGImages"),
        annotations_directory_path=str(root(labeled) / "Annotations"),
    )
    [(_, _, detections)] = dataset
    expected = [labeled.label(m).mask.bbox_xyxy for m in (labeled.disc(), labeled.ring())]
    assert detections.xyxy.tolist() == [list(box) for box in expected]
    assert [dataset.classes[i] for i in detections.class_id] == ["ball", "box"]
