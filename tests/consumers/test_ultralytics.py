"""YOLO, as Ultralytics' own dataset class loads it and its trainer learns from it."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grounded_sam2.geometry.polygons import exact_polygons

pytestmark = pytest.mark.skipif(
    find_spec("ultralytics") is None, reason="needs the consumers extra"
)

FORMATS = {"yolo": "segment", "yolo-boxes": "detect"}
MIN_SIDE = 10  # Ultralytics refuses smaller images


@pytest.fixture(scope="module", autouse=True)
def settings(tmp_path_factory) -> Iterator[None]:
    """Ultralytics writes settings on import, and would download a font."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("settings")
        (folder / "Ultralytics").mkdir()
        for font in ("Arial.ttf", "Arial.Unicode.ttf"):
            (folder / "Ultralytics" / font).touch()
        patch.setenv("YOLO_CONFIG_DIR", str(folder))
        patch.setenv("YOLO_OFFLINE", "true")
        import ultralytics  # noqa: F401

        yield


@pytest.fixture(scope="module", params=FORMATS)
def loaded(request, awkward) -> Any:
    """The dataset as it is loaded for training, with the messages of its scan."""
    return load(awkward.export(request.param), FORMATS[request.param])


def load(folder: Path, task: str) -> Any:
    from ultralytics.cfg import get_cfg
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    class Watched(YOLODataset):
        def cache_labels(self, *arguments: Any) -> dict[str, Any]:
            scan = super().cache_labels(*arguments)
            self.found, self.missing, self.empty, self.corrupt, self.total = scan["results"]
            self.messages = list(scan["msgs"])
            return scan

    for cache in folder.rglob("*.cache"):
        cache.unlink()  # of an earlier test
    data = check_det_dataset(str(folder / "data.yaml"))
    return Watched(
        img_path=data["train"],
        imgsz=96,
        augment=False,
        hyp=get_cfg(overrides={"mask_ratio": 1, "overlap_mask": False}),
        data=data,
        task=task,
        batch_size=1,
    )


def by_name(dataset: Any) -> dict[str, dict[str, Any]]:
    """Return the labels loaded for each image, by path relative to the folder of the split."""
    root = Path(dataset.data["train"])
    return {Path(each["im_file"]).relative_to(root).as_posix(): each for each in dataset.labels}


def filled(segment: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    from ultralytics.data.utils import polygon2mask

    points = segment * np.array(size_hw[::-1], np.float32)
    return polygon2mask(size_hw, [points.ravel()]).astype(np.bool_)


def test_no_image_and_no_label_is_dropped(loaded, awkward):
    expected = awkward.by_name(awkward.names.YOLO, min_side=MIN_SIDE)
    assert set(by_name(loaded)) == set(expected)
    background = sum(not image.objects for image in expected.values())
    assert (loaded.found, loaded.empty) == (len(expected), background)
    assert loaded.missing == loaded.corrupt == 0
    [message] = loaded.messages  # an object labeled twice is trained once
    assert "objects/twice.png" in message
    assert "duplicate labels removed" in message
    for name, image in expected.items():
        if name != "objects/twice.png":
            classes = [awkward.classes.index(label.class_name) for label in image.objects]
            assert by_name(loaded)[name]["cls"].ravel().tolist() == classes


def test_class_names_are_those_of_the_store(loaded, awkward):
    assert tuple(loaded.data["names"].values()) == awkward.classes


def test_images_are_upright_and_in_color(loaded, awkward):
    expected = awkward.by_name(awkward.names.YOLO, min_side=MIN_SIDE)
    for index, (name, each) in enumerate(by_name(loaded).items()):
        image = loaded.load_image(index, rect_mode=False)[0]
        assert each["shape"] == expected[name].size_hw
        if expected[name].in_color and expected[name].size_hw == (72, 96):
            upright = loaded.load_image(index)[0][..., ::-1]  # BGR to RGB
            assert np.abs(upright.astype(int) - expected[name].upright).mean() < 8
        assert image.dtype == np.uint8


def test_boxes_are_those_of_the_objects(loaded, awkward):
    for name, image in awkward.by_name(awkward.names.YOLO, min_side=MIN_SIDE).items():
        if name == "objects/twice.png":
            continue
        height, width = image.size_hw
        center, side = np.split(by_name(loaded)[name]["bboxes"] * ([width, height] * 2), 2, axis=1)
        expected = np.array([label.box_xyxy for label in image.objects]).reshape(-1, 4)
        read = np.concatenate((center - side / 2, center + side / 2), axis=1)
        slack = 1.1 if loaded.use_segments else 1e-3  # outlines may be simplified by a pixel
        assert np.abs(read - expected).max(initial=0) < slack


def test_outlines_fill_to_the_masks(awkward):
    segments = by_name(load(awkward.export("yolo"), "segment"))
    for name, image in awkward.by_name(awkward.names.YOLO, min_side=MIN_SIDE).items():
        if name in ("objects/twice.png", "shapes/large.jpg"):
            continue
        found = segments[name]["segments"]
        for segment, label in zip(found, image.objects, strict=True):
            if label.mask is not None:
                mask = filled(segment, image.size_hw)
                assert awkward.iou(mask, label.mask.decode()) >= 0.98, name


def test_parts_far_apart_are_joined_by_a_line_one_pixel_wide(awkward):
    [ring, pair] = by_name(load(awkward.export("yolo"), "segment"))["shapes/large.jpg"]["segments"]
    labels = awkward.images["shapes/large.jpg"].objects
    assert awkward.iou(filled(ring, (600, 800)), labels[0].mask.decode()) >= 0.98
    mask, expected = filled(pair, (600, 800)), labels[1].mask.decode()
    assert len(exact_polygons(expected)) == 2
    assert (mask & expected).sum() >= 0.98 * expected.sum()
    distance = math.hypot(500 - 100, 700 - 100) - 60 - 80
    assert (mask & ~expected).sum() < 1.5 * distance + 0.02 * expected.sum()


def test_training_gets_the_masks_at_their_positions(awkward):
    dataset = load(awkward.export("yolo"), "segment")
    expected = awkward.by_name(awkward.names.YOLO, min_side=MIN_SIDE)
    for index, name in enumerate(by_name(dataset)):
        if not name.startswith("turned/"):
            continue
        item = dataset[index]
        assert item["img"].shape == (3, 96, 96)  # 12 rows of padding above and below
        assert len(item["masks"]) == len(item["cls"]) == 2
        for mask, label in zip(item["masks"], expected[name].objects, strict=True):
            # Ultralytics fills between points that it has put on the outline and cut down to
            # whole pixels: objects get half a pixel larger.
            assert awkward.iou(mask.numpy()[12:84] > 0, label.mask.decode()) > 0.93


@pytest.mark.parametrize(
    ("format_name", "model"), [("yolo", "yolo11n-seg.yaml"), ("yolo-boxes", "yolo11n.yaml")]
)
def test_one_epoch_of_training_runs(awkward, tmp_path, format_name, model):
    import torch
    from ultralytics import YOLO

    folder = awkward.export(format_name, split={"train": 0.7, "val": 0.3})
    yolo = YOLO(model)
    with contextlib.redirect_stdout(io.StringIO()):
        scores = yolo.train(
            data=str(folder / "data.yaml"),
            epochs=1,
            imgsz=64,
            batch=16,
            workers=0,
            device="cpu",
            pretrained=False,
            amp=False,
            plots=False,
            verbose=False,
            project=str(tmp_path),
        )
    images = awkward.summary(format_name, split={"train": 0.7, "val": 0.3}).images
    assert len(yolo.trainer.train_loader.dataset) == images["train"] > 40
    assert len(yolo.trainer.test_loader.dataset) == images["val"] > 15
    assert all(torch.isfinite(loss) for loss in yolo.trainer.tloss.values())
    assert scores.names == dict(enumerate(awkward.classes))
