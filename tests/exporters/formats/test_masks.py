"""PNG masks: Pillow and OpenCV read the labels of the store."""

from __future__ import annotations

import json

import cv2
import numpy as np
import PIL.Image
import pytest

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters import ExportOptions, export
from grounded_sam2.store import LabelStore, RunConfig

IGNORE, IGNORE_16 = 255, 65535


def run(labeled, **options):
    return export("masks", labeled.store, labeled.folder / "masks", ExportOptions(**options))


def read(labeled, kind: str, name: str, split="train") -> np.ndarray:
    """Return the values of a mask, which Pillow and OpenCV read alike."""
    path = labeled.folder / "masks" / kind / split / f"{name}.png"
    with PIL.Image.open(path) as image:
        values = np.asarray(image)
    assert np.array_equal(values, cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
    return values


def test_masks_hold_classes_and_objects_with_holes_and_parts(rich):
    run(rich)
    assert read(rich, "semantic", "a").dtype == np.uint8
    assert read(rich, "instances", "a").dtype == np.uint16
    assert np.array_equal(read(rich, "semantic", "sub/deep/ring"), 3 * rich.ring())
    assert np.array_equal(read(rich, "instances", "sub/deep/ring"), rich.ring())
    expected = np.where(rich.disc(), 1, np.where(rich.two_parts(), 2, 0))  # 0.75 lies on 0.5
    assert np.array_equal(read(rich, "semantic", "a"), expected)


def test_the_class_of_an_object_is_the_semantic_value_at_its_pixels(rich):
    run(rich)
    ids = {name: i for i, name in enumerate(rich.classes, start=1)}
    for item, labels in rich.store.labels():
        name = item.item_id.removesuffix(".png")
        semantic, instances = read(rich, "semantic", name), read(rich, "instances", name)
        assert np.array_equal(semantic > 0, instances > 0)
        for number in np.unique(instances[instances > 0]):
            expected = ids[labels.objects[number - 1].class_name]
            assert set(semantic[instances == number].tolist()) == {expected}


def test_background_is_all_zero(rich):
    run(rich)
    assert not read(rich, "semantic", "background").any()
    assert not read(rich, "instances", "background").any()


def test_an_object_of_one_pixel_is_kept(labeled):
    labeled.add("a.png", labeled.label(labeled.pixel(79, 0), "box"))
    run(labeled)
    assert np.argwhere(read(labeled, "semantic", "a") == 2).tolist() == [[0, 79]]


def test_the_box_of_an_object_without_a_mask_is_to_be_ignored(labeled):
    labeled.add(
        "a.png",
        labeled.label(None, box_xyxy=(10, 10, 20, 20)),
        labeled.label(labeled.pixel(12, 12)),
    )
    summary = run(labeled)
    assert (read(labeled, "semantic", "a") == IGNORE).sum() == 99
    assert (read(labeled, "instances", "a") == IGNORE_16).sum() == 99
    assert read(labeled, "instances", "a")[12, 12] == 2
    assert "objects without a mask, to be ignored where their box is: 1" in summary.notes


def test_an_object_hidden_behind_others_is_counted(labeled):
    small, large = labeled.disc(radius=5), labeled.disc(radius=9)
    labeled.add("a.png", labeled.label(small, confidence=0.3), labeled.label(large, confidence=0.4))
    assert run(labeled).notes == ("objects hidden behind others: 1",)
    assert set(np.unique(read(labeled, "instances", "a")).tolist()) == {0, 2}


def test_images_with_equal_stems_have_their_own_masks(labeled):
    labeled.add("a.jpg", labeled.label(labeled.disc()), seed=1)
    labeled.add("a.png", seed=2)
    run(labeled)
    assert read(labeled, "semantic", "a").any()
    assert not read(labeled, "semantic", "a_png").any()


def test_an_image_rotated_by_exif_agrees_with_its_masks(labeled):
    labeled.add("a.jpg", labeled.label(labeled.pixel(79, 0)), orientation=6)
    run(labeled)
    with PIL.Image.open(labeled.folder / "masks" / "images" / "train" / "a.jpg") as image:
        assert image.size[::-1] == read(labeled, "semantic", "a").shape == (60, 80)


def test_the_class_file_maps_values_to_classes(rich):
    run(rich)
    assert json.loads((rich.folder / "masks" / "classes.json").read_text(encoding="ascii")) == {
        "semantic": {
            "background": 0,
            "ignore": IGNORE,
            "classes": {"ball": 1, "box": 2, "Katze ü": 3},
        },
        "instances": {"background": 0, "ignore": IGNORE_16},
    }


def test_many_classes_take_16_bits(labeled):
    names = [f"class {i:03}" for i in range(252)]  # and three of the ontology
    labeled.add(
        "a.png", *(labeled.label(labeled.pixel(i % 80, i // 80), n) for i, n in enumerate(names))
    )
    run(labeled)
    semantic = read(labeled, "semantic", "a")
    assert semantic.dtype == np.uint16
    assert semantic.ravel()[:252].tolist() == list(range(4, 256))


@pytest.mark.slow
def test_more_classes_than_16_bits_hold_are_an_error(tmp_path):
    ontology = tuple((f"c{i}", f"c{i}") for i in range(65535))
    with LabelStore.create(tmp_path / "many") as store:
        store.begin_run(RunConfig(models={"d": "d"}, inference={}), ontology=ontology)
        with pytest.raises(
            ExportError, match="65535 classes are more than 16-bit masks hold; choose coco"
        ):
            export("masks", store, tmp_path / "masks", ExportOptions())
