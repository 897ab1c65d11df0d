"""Label Studio: tasks, brush strokes and the interface, read as its own tools read them."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from urllib.parse import parse_qs, urlparse

import numpy as np
import PIL.Image
import pytest

from grounded_sam2.exporters import ExportOptions, export
from grounded_sam2.exporters.formats.label_studio import brush_rles, export_label_studio
from grounded_sam2.geometry.polygons import polygons_to_mask
from grounded_sam2.geometry.rle import encode


def run(labeled, **options):
    return export("labelstudio", labeled.store, labeled.folder / "ls", ExportOptions(**options))


def tasks(labeled) -> dict[str, dict]:
    files = sorted((labeled.folder / "ls" / "tasks").iterdir())
    read = [task for file in files for task in json.loads(file.read_text(encoding="ascii"))]
    return {task["data"]["file_name"]: task for task in read}


def regions(labeled, name: str) -> list[dict]:
    [prediction] = tasks(labeled)[name]["predictions"]
    return prediction["result"]


def unpacked(packed: list[int], size_hw=(60, 80)) -> np.ndarray:
    """Decode a brush stroke bit by bit: the RGBA image ``(h, w, 4)``."""
    bits = "".join(f"{byte:08b}" for byte in packed)
    position = 0

    def read(width: int) -> int:
        nonlocal position
        position += width
        return int(bits[position - width : position], 2)

    number, word = read(32), read(5) + 1
    widths = [read(4) + 1 for _ in range(4)]
    out: list[int] = []
    while len(out) < number:
        repeated, length = read(1), read(widths[read(2)]) + 1
        out += [read(word)] * length if repeated else [read(word) for _ in range(length)]
    assert len(out) == number
    assert len(bits) - position < 8
    return np.array(out, np.uint8).reshape(*size_hw, 4)


@pytest.mark.parametrize("name", ["disc", "ring", "two_parts"])
def test_a_brush_stroke_holds_the_mask_in_all_channels(labeled, name):
    mask = getattr(labeled, name)()
    image = unpacked(brush_rles(encode(mask))[0])
    assert np.array_equal(image, np.repeat(255 * mask[..., None], 4, axis=2))


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((60, 80), bool),
        np.ones((60, 80), bool),
        np.eye(60, 80, dtype=bool),
        np.ones((400, 500), bool),  # longer than one run can be
        np.zeros((128, 128), bool),  # as long as one run can be
    ],
    ids=["empty", "full", "diagonal", "huge", "one whole run"],
)
def test_brush_strokes_of_extreme_masks(mask):
    image = unpacked(brush_rles(encode(mask))[0], mask.shape)
    assert np.array_equal(image[..., 3] == 255, mask)


def test_masks_are_read_back_with_holes_and_parts(rich):
    run(rich)
    for item, labels in rich.store.labels():
        found = {region["id"]: region for region in regions(rich, item.item_id)}
        assert len(found) == len(labels)
        for label in labels.objects:
            region = found[label.uid]
            assert region["type"] == region["from_name"] == "brushlabels"
            assert (region["original_height"], region["original_width"]) == (60, 80)
            assert region["value"]["brushlabels"] == [label.class_name]
            image = unpacked(region["value"]["rle"])
            assert np.array_equal(image[..., 3] > 0, label.mask.decode())


def test_polygons_are_in_percent_and_one_per_object(rich):
    run(rich, segmentation="polygons")
    for item, labels in rich.store.labels():
        found = {region["id"]: region["value"] for region in regions(rich, item.item_id)}
        for label in labels.objects:
            ring = np.array(found[label.uid]["points"]) * (0.8, 0.6)
            painted, mask = polygons_to_mask([ring], (60, 80)), label.mask.decode()
            assert (painted & mask).sum() / (painted | mask).sum() >= 0.98
    config = ElementTree.parse(rich.folder / "ls" / "label_config.xml").getroot()
    assert [child.tag for child in config] == ["Image", "PolygonLabels", "RectangleLabels"]


def test_the_interface_defines_every_name_that_regions_refer_to(rich):
    rich.add("box.png", rich.label(None, box_xyxy=(8, 6, 40, 30)), seed=8)
    run(rich)
    config = ElementTree.parse(rich.folder / "ls" / "label_config.xml").getroot()
    controls = {child.attrib["name"]: child for child in config}
    assert controls["image"].attrib["value"] == "$image"
    for name in tasks(rich):
        for region in regions(rich, name):
            control = controls[region["from_name"]]
            assert control.attrib["toName"] == region["to_name"]
            values = [label.attrib["value"] for label in control]
            assert values == rich.classes
            assert set(region["value"][region["type"]]) <= set(values)


def test_background_is_a_task_with_an_empty_prediction(rich):
    run(rich)
    [prediction] = tasks(rich)["background.png"]["predictions"]
    assert prediction["result"] == []
    assert "score" not in prediction


def test_scores_are_confidences_and_the_highest_is_on_top(labeled):
    confidences = (0.5, None, 0.25)
    labeled.add("a.png", *(labeled.label(labeled.disc(), confidence=c) for c in confidences))
    run(labeled)
    found = regions(labeled, "a.png")
    first, second, third = (label.uid for label in labeled.store.objects("a.png"))
    assert [region["id"] for region in found] == [third, first, second]
    assert [region["meta"]["uid"] for region in found] == [third, first, second]
    assert [region.get("score") for region in found] == [0.25, 0.5, None]
    assert tasks(labeled)["a.png"]["predictions"][0]["score"] == 0.25


def test_an_object_without_a_mask_is_a_rectangle_in_percent(labeled):
    labeled.add("a.png", labeled.label(None, box_xyxy=(-3, 6, 40, 30)))
    run(labeled)
    [region] = regions(labeled, "a.png")
    assert region["type"] == "rectanglelabels"
    value = {"x": 0, "y": 10, "width": 50, "height": 40, "rotation": 0}
    assert region["value"] == {**value, "rectanglelabels": ["ball"]}


def test_an_object_without_extent_is_left_out_and_counted(labeled):
    labeled.add("a.png", labeled.label(np.zeros((60, 80), bool)))
    assert run(labeled).notes == ("objects without extent, left out: 1",)
    assert regions(labeled, "a.png") == []


def test_an_object_of_one_pixel_is_read_back(labeled):
    labeled.add("a.png", labeled.label(labeled.pixel(79, 59)))
    run(labeled)
    [region] = regions(labeled, "a.png")
    assert np.array_equal(unpacked(region["value"]["rle"])[..., 3] > 0, labeled.pixel(79, 59))


def test_urls_lead_to_the_images_whatever_their_names(labeled):
    for seed, name in enumerate(["a b&c#1?.png", "ü/100%.png", "a.jpg", "a.png"]):
        labeled.add(name, seed=seed)
    run(labeled, split={"train": 0.5, "val": 0.5})
    for name, task in tasks(labeled).items():
        address = urlparse(task["data"]["image"])
        assert address.path == "/data/local-files/"
        [path] = parse_qs(address.query)["d"]
        placed = labeled.folder / "ls" / path
        assert placed.read_bytes() == (labeled.images / name).read_bytes()
        assert path.split("/")[1] == task["data"]["split"]


def test_images_that_no_browser_displays_become_png(labeled):
    for seed, name in enumerate(["a.tif", "b.ppm", "c.gif", "d.webp"]):
        labeled.add(name, seed=seed)
    run(labeled)
    written = sorted(path.name for path in (labeled.folder / "ls" / "images" / "train").iterdir())
    assert written == ["a.png", "b.png", "c.gif", "d.webp"]


def test_an_image_rotated_by_exif_agrees_with_its_size(labeled):
    labeled.add("a.jpg", labeled.label(labeled.disc()), orientation=6)
    run(labeled)
    [region] = regions(labeled, "a.jpg")
    with PIL.Image.open(labeled.folder / "ls" / "images" / "train" / "a.jpg") as image:
        assert image.size == (region["original_width"], region["original_height"]) == (80, 60)


def test_many_tasks_go_into_several_files(rich):
    run(rich)
    together = tasks(rich)
    folder = rich.folder / "ls"
    export_label_studio(rich.store, folder, options=ExportOptions(), max_file_bytes=1)
    names = sorted(path.name for path in (rich.folder / "ls" / "tasks").iterdir())
    assert names == [f"0000{i}.json" for i in range(5)]
    assert tasks(rich) == together
