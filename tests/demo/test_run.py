"""The demo, labeled by models that know the truth, so that every score must be perfect."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO

from embedded_training.scene_pool import TRAINING_SEED
from grounded_sam2.config import load_config
from grounded_sam2.demo.run import LAST_SEED, run_demo
from grounded_sam2.demo.scenes import Scene, make_scenes
from grounded_sam2.errors import ExportError
from grounded_sam2.geometry.rle import encode
from grounded_sam2.pipeline import GroundedSAM2
from grounded_sam2.results import DetectedBoxes, Image, SegmentedMasks

SEED = 5
# The truth may hold slivers that clean-up would take for specks.
CONFIG = load_config("demo").with_options({"cleanup.min_part_area": 0, "cleanup.max_hole_area": 0})


class Oracle:
    """Both models: recognizes a scene by its pixels and says what is in it."""

    def __init__(self, count: int) -> None:
        self.scenes = {scene.image.tobytes(): scene for scene in make_scenes(count, SEED)}

    def _scene(self, image: Image) -> Scene:
        return self.scenes[image.tobytes()]

    def detect(
        self, images: Sequence[Image], captions: Sequence[Sequence[str]]
    ) -> list[DetectedBoxes]:
        found = []
        for image in images:
            things = self._scene(image).objects
            boxes = np.array([thing.box_xyxy for thing in things], np.float32)
            names = tuple(thing.shape for thing in things)
            found.append(DetectedBoxes(boxes, names, np.full(len(names), 0.9, np.float32)))
        return found

    def segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[NDArray[np.float32]]
    ) -> list[SegmentedMasks]:
        return [
            SegmentedMasks(
                masks=tuple(encode(np.stack([thing.mask for thing in self._scene(image).objects]))),
                quality=np.ones(len(boxes), np.float32),
                complement=np.zeros(len(boxes), np.bool_),
            )
            for image, boxes in zip(images, boxes_xyxy, strict=True)
        ]


def oracle(count: int) -> GroundedSAM2:
    knows = Oracle(count)
    return GroundedSAM2("shapes", config=CONFIG, detector=knows, segmenter=knows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


def test_scores_what_was_labeled(folder: Path) -> None:
    result = run_demo(folder, images=3, seed=SEED, model=oracle(3))
    assert result.labels.run.labeled == 3
    assert (result.boxes.ap, result.masks.ap) == (pytest.approx(1.0), pytest.approx(1.0))


def test_again_there_is_nothing_to_do(folder: Path) -> None:
    result = run_demo(folder, images=3, seed=SEED, model=oracle(3))
    assert result.labels.run.nothing_to_do
    assert result.boxes.ap == pytest.approx(1.0)


def test_the_truth_is_a_coco_dataset_of_the_images(folder: Path) -> None:
    coco = COCO(folder / "ground_truth.json")
    scenes = list(make_scenes(3, SEED))
    assert len(coco.anns) == sum(len(scene.objects) for scene in scenes)
    for image, scene in zip(coco.dataset["images"], scenes, strict=True):
        file = folder / "images" / image["file_name"]
        np.testing.assert_array_equal(np.asarray(PIL.Image.open(file)), scene.image)


def test_the_exports_lie_beside_the_images(folder: Path) -> None:
    assert len(list((folder / "yolo" / "labels" / "train").iterdir())) == 3
    exported = json.loads((folder / "coco/annotations/instances_train.json").read_text())
    assert len(exported["images"]) == 3


def test_the_same_call_makes_the_same_files(folder: Path, tmp_path: Path) -> None:
    run_demo(tmp_path, images=3, seed=SEED, model=oracle(3))
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    same = [path for path in files if not path.name.startswith("labels.")]
    assert len(same) >= 3 * 3 + 3
    for path in same:
        assert (tmp_path / path).read_bytes() == (folder / path).read_bytes(), path


@pytest.mark.parametrize(("images", "seed"), [(2, SEED), (3, SEED + 1)])
def test_another_demo_needs_another_folder(folder: Path, images: int, seed: int) -> None:
    with pytest.raises(ExportError, match="other images"):
        run_demo(folder, images=images, seed=seed, model=oracle(images))


def test_a_truth_that_is_not_ours_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "ground_truth.json").write_text("mine")
    with pytest.raises(ExportError, match="other images"):
        run_demo(tmp_path, images=1, seed=SEED, model=oracle(1))
    assert (tmp_path / "ground_truth.json").read_text() == "mine"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot be written"):
        run_demo(tmp_path / "file" / "demo", images=1, seed=SEED, model=oracle(1))


def test_no_seed_of_the_demo_makes_a_training_scene() -> None:
    assert (LAST_SEED + 1) * 1_000_003 <= TRAINING_SEED


class TestWithEmbeddedModels:
    def test_two_runs_agree_to_the_byte(self, demo_weights: Path, tmp_path: Path) -> None:
        for name in ("first", "second"):
            run_demo(tmp_path / name, images=3, seed=SEED)
        for path in ("coco/annotations/instances_train.json", "contact_sheet.png"):
            assert (tmp_path / "first" / path).read_bytes() == (
                tmp_path / "second" / path
            ).read_bytes()

    def test_the_models_know_their_shapes(self, demo_weights: Path, tmp_path: Path) -> None:
        result = run_demo(tmp_path, images=8, seed=SEED)
        assert result.boxes.ap50 > 0.7
        assert result.masks.ap > 0.5
