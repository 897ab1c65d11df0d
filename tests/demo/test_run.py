"""The image demo, labeled by models that know the truth, so that every score is 1."""

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
from grounded_sam2.demo.output_folder import LAST_SEED
from grounded_sam2.demo.run import run_demo
from grounded_sam2.demo.scenes import Scene, make_scenes
from grounded_sam2.errors import ExportError
from grounded_sam2.geometry.rle import encode
from grounded_sam2.pipeline import GroundedSAM2
from grounded_sam2.results import DetectedBoxes, Image, SegmentedMasks

SEED = 5
# Without cleanup, which removes small visible parts of the truth as specks.
CONFIG = load_config("demo").with_options({"cleanup.min_part_area": 0, "cleanup.max_hole_area": 0})


class Oracle:
    """Detector and segmenter that return the truth of a scene, found by its pixels."""

    def __init__(self, count: int) -> None:
        self.scenes = {scene.image.tobytes(): scene for scene in make_scenes(count, SEED)}

    def _scene(self, image: Image) -> Scene:
        return self.scenes[image.tobytes()]

    def detect(
        self, images: Sequence[Image], captions: Sequence[Sequence[str]]
    ) -> list[DetectedBoxes]:
        found = []
        for image in images:
            objects = self._scene(image).objects
            boxes = np.array([each.box_xyxy for each in objects], np.float32)
            names = tuple(each.shape for each in objects)
            found.append(DetectedBoxes(boxes, names, np.full(len(names), 0.9, np.float32)))
        return found

    def segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[NDArray[np.float32]]
    ) -> list[SegmentedMasks]:
        return [
            SegmentedMasks(
                masks=tuple(encode(np.stack([each.mask for each in self._scene(image).objects]))),
                quality=np.ones(len(boxes), np.float32),
                complement=np.zeros(len(boxes), np.bool_),
            )
            for image, boxes in zip(images, boxes_xyxy, strict=True)
        ]


def oracle(count: int) -> GroundedSAM2:
    models = Oracle(count)
    return GroundedSAM2("shapes", config=CONFIG, detector=models, segmenter=models)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


def test_the_truth_scores_one(folder: Path) -> None:
    result = run_demo(folder, images=3, seed=SEED, model=oracle(3))
    assert result.labels.run.labeled == 3
    assert (result.boxes.ap, result.masks.ap) == (pytest.approx(1.0), pytest.approx(1.0))


def test_a_second_call_has_nothing_to_do(folder: Path) -> None:
    result = run_demo(folder, images=3, seed=SEED, model=oracle(3))
    assert result.labels.run.nothing_to_do
    assert result.boxes.ap == pytest.approx(1.0)


def test_the_ground_truth_is_a_coco_dataset_of_the_images(folder: Path) -> None:
    coco = COCO(folder / "ground_truth.json")
    scenes = list(make_scenes(3, SEED))
    assert len(coco.anns) == sum(len(scene.objects) for scene in scenes)
    for image, scene in zip(coco.dataset["images"], scenes, strict=True):
        file = folder / "images" / image["file_name"]
        np.testing.assert_array_equal(np.asarray(PIL.Image.open(file)), scene.image)


def test_datasets_are_written_beside_the_images(folder: Path) -> None:
    assert len(list((folder / "yolo" / "labels" / "train").iterdir())) == 3
    exported = json.loads((folder / "coco/annotations/instances_train.json").read_text())
    assert len(exported["images"]) == 3


def test_the_same_call_writes_the_same_files(folder: Path, tmp_path: Path) -> None:
    run_demo(tmp_path, images=3, seed=SEED, model=oracle(3))
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    same = [path for path in files if not path.name.startswith("labels.")]
    assert len(same) >= 3 * 3 + 3
    for path in same:
        assert (tmp_path / path).read_bytes() == (folder / path).read_bytes(), path


@pytest.mark.parametrize(("images", "seed"), [(2, SEED), (3, SEED + 1)])
def test_a_folder_of_another_demo_is_refused(folder: Path, images: int, seed: int) -> None:
    with pytest.raises(ExportError, match="other images"):
        run_demo(folder, images=images, seed=seed, model=oracle(images))


def test_a_foreign_ground_truth_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "ground_truth.json").write_text("mine")
    with pytest.raises(ExportError, match="other images"):
        run_demo(tmp_path, images=1, seed=SEED, model=oracle(1))
    assert (tmp_path / "ground_truth.json").read_text() == "mine"


def test_a_folder_that_cannot_be_created_is_an_export_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot be written"):
        run_demo(tmp_path / "file" / "demo", images=1, seed=SEED, model=oracle(1))


def test_no_seed_of_the_demo_gives_a_training_scene() -> None:
    assert (LAST_SEED + 1) * 1_000_003 <= TRAINING_SEED


@pytest.mark.slow
class TestWithEmbeddedModels:
    def test_two_runs_write_equal_bytes(self, demo_weights: Path, tmp_path: Path) -> None:
        for name in ("first", "second"):
            run_demo(tmp_path / name, images=3, seed=SEED)
        for path in ("coco/annotations/instances_train.json", "contact_sheet.png"):
            assert (tmp_path / "first" / path).read_bytes() == (
                tmp_path / "second" / path
            ).read_bytes()

    def test_the_models_detect_their_shapes(self, demo_weights: Path, tmp_path: Path) -> None:
        result = run_demo(tmp_path, images=8, seed=SEED)
        assert result.boxes.ap50 > 0.7
        assert result.masks.ap > 0.5
