"""Models of another package, by configuration alone: labeled, exported, tracked."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import yaml
from fixtures.command_line import draw_boxes
from fixtures.toy_models import TOY_PLUGIN

from grounded_sam2 import GroundedSAM2, LabelStore
from grounded_sam2.config import load_config
from grounded_sam2.engine.run_config import image_run_config
from grounded_sam2.errors import ConfigError, PromptError
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.results import VideoFrame
from grounded_sam2.testing import COLORS, FakeDetector, FakeSegmenter, FakeTracker
from grounded_sam2.tracking import track_frames

CAPTIONS = {"red box": "warm", "blue box": "cold"}
ONTOLOGY = CaptionOntology(CAPTIONS)
DETECTORS = "grounded_sam2.detectors"
CONFIGURATIONS = {
    "toy": {"detector": {"type": "toy"}, "segmenter": {"type": "toy_segmenter"}},
    "toy_masks": {"detector": {"type": "toy_masks"}},
}
MODELS = {
    "toy": {"detector": "builtin", "segmenter": "builtin"},
    "toy_masks": {"grounder": "builtin"},
}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    draw_boxes(folder / "red.png", "red")
    draw_boxes(folder / "both.png", "red", "blue")
    return folder


def label(site: Path, folder: Path, images: Path, config: object) -> dict:
    """Label in a process of its own, with the package of `site` installed; the COCO dataset."""
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "ontology.yaml").write_text(
        yaml.safe_dump({"warm": ["red box"], "cold": ["blue box"]})
    )
    path = os.pathsep.join([str(site), *(each for each in sys.path if each)])
    out = folder / "labeled"
    command = [sys.executable, "-m", "grounded_sam2", "label", images, "--out", out]
    options = ["--config", "config.yaml", "--ontology", "ontology.yaml", "--format", "coco"]
    subprocess.run(
        [*map(str, command), *options],
        check=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        timeout=120,
    )
    return json.loads((out / "coco" / "annotations" / "instances_train.json").read_text())


def fenced(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)


def check(dataset: dict, folder: Path, type_: str) -> None:
    names = {each["id"]: each["name"] for each in dataset["categories"]}
    assert sorted(names[each["category_id"]] for each in dataset["annotations"]) == [
        *("cold", "warm", "warm")
    ]
    assert [each["area"] for each in dataset["annotations"]] == [400, 400, 400]
    with LabelStore.open(folder / "labeled") as store:
        [run] = store.runs()
        assert run.config.models == MODELS[type_]
        assert run.config.inference["detector"]["type"] == type_
        assert run.settings["detector"]["type"] == type_


class TestCommandLine:
    @pytest.mark.parametrize("type_", CONFIGURATIONS)
    def test_label_by_configuration_alone(
        self, toy_models: Path, tmp_path: Path, images: Path, type_: str
    ) -> None:
        dataset = label(toy_models, tmp_path, images, CONFIGURATIONS[type_])
        check(dataset, tmp_path, type_)

    @pytest.mark.slow
    @pytest.mark.parametrize("type_", CONFIGURATIONS)
    def test_label_with_the_package_that_pip_installed(
        self, tmp_path: Path, images: Path, type_: str
    ) -> None:
        project = shutil.copytree(TOY_PLUGIN, tmp_path / "toy_plugin")
        site = tmp_path / "site"
        offline = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
        command = [sys.executable, "-m", "pip", "install", *offline, "--target", site, project]
        subprocess.run(list(map(str, command)), check=True, timeout=300)
        check(label(site, tmp_path, images, CONFIGURATIONS[type_]), tmp_path, type_)

    def test_the_example_of_the_documentation_works(self, toy_models: Path, tmp_path: Path) -> None:
        page = (TOY_PLUGIN.parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
        [code] = [block for block in fenced(page, "python") if "ModelType(" in block]
        [entry_points] = fenced(page, "toml")
        (toy_models / "bright.py").write_text(code)
        folder = toy_models / "bright-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: bright\nVersion: 1.0\n")
        ini = entry_points.replace('project.entry-points."grounded_sam2.detectors"', DETECTORS)
        (folder / "entry_points.txt").write_text(ini.replace('"', ""))
        (tmp_path / "images").mkdir()
        draw_boxes(tmp_path / "images" / "white.png", "white")
        config = {
            "detector": {"type": "bright", "level": 180},
            "segmenter": {"type": "toy_segmenter"},
        }
        dataset = label(toy_models, tmp_path, tmp_path / "images", config)
        assert len(dataset["annotations"]) == 1


class TestRuns:
    def test_a_type_is_recorded_and_options_of_speed_are_not(self, toy_models: Path) -> None:
        config = load_config(CONFIGURATIONS["toy"])
        run_config = image_run_config(config, ONTOLOGY)
        assert run_config.inference["detector"] == {
            "type": "toy",
            "score": 0.9,
            "words": "given",
            "candidate_confidence": 0.2,
        }
        assert run_config.inference["segmenter"] == {"type": "toy_segmenter"}
        faster = config.with_options({"detector.threads": 4, "detector.batch_size": 1})
        assert image_run_config(faster, ONTOLOGY).key == run_config.key

    def test_captions_that_influence_each_other_are_part_of_a_run(self, toy_models: Path) -> None:
        config = load_config({"detector": {"type": "toy", "words": "joined"}})
        captions = image_run_config(config, ONTOLOGY).inference["detector"]["captions"]
        assert captions == list(CAPTIONS)

    def test_a_run_of_a_grounder_has_neither_segmenter_nor_tiles(self, toy_models: Path) -> None:
        config = load_config(CONFIGURATIONS["toy_masks"])
        run_config = image_run_config(config, ONTOLOGY)
        assert run_config.models == {"grounder": "builtin"}
        assert set(run_config.inference) == {"detector"}
        other = config.with_options({"segmenter.multimask": True, "tiling.mode": "never"})
        assert image_run_config(other, ONTOLOGY) == run_config

    def test_a_repeated_call_does_nothing(
        self, toy_models: Path, tmp_path: Path, images: Path
    ) -> None:
        model = GroundedSAM2(CAPTIONS, config=CONFIGURATIONS["toy_masks"])
        assert model.label(images, output_folder=tmp_path / "out").run.labeled == 2
        assert model.label(images, output_folder=tmp_path / "out").run.nothing_to_do


class TestCaptions:
    def test_a_type_states_whether_it_needs_an_ontology(self, toy_models: Path) -> None:
        image = np.zeros((20, 20, 3), np.uint8)
        with pytest.raises(ConfigError, match=r"^detector\.type 'toy' needs.*an ontology$"):
            GroundedSAM2(config=CONFIGURATIONS["toy"]).predict(image)
        config = load_config(CONFIGURATIONS["toy"]).with_options({"detector.words": "own"})
        with pytest.raises(ConfigError, match=r"'toy' names objects in the model's own words"):
            GroundedSAM2(CAPTIONS, config=config).predict(image)


class Grounder:
    """A words-to-masks model that is handed in: the boxes and masks of the fakes."""

    def ground(self, images, captions):
        from grounded_sam2.inference.detect_and_segment import DetectThenSegment

        return DetectThenSegment(FakeDetector(), FakeSegmenter()).ground(images, captions)


def draw(size_hw: tuple[int, int] = (40, 60), left: int = 5) -> np.ndarray:
    image = np.zeros((*size_hw, 3), np.uint8)
    image[10:20, left : left + 20] = COLORS["red"]
    return image


class TestGivenGrounder:
    def test_predicts_and_labels(self, tmp_path: Path) -> None:
        model = GroundedSAM2(CAPTIONS, grounder=Grounder())
        assert "test_other_models.Grounder'" in repr(model)
        assert model.predict(draw()).data["class_name"].tolist() == ["warm"]
        (tmp_path / "in").mkdir()
        PIL.Image.fromarray(draw()).save(tmp_path / "in" / "a.png")
        result = model.label(tmp_path / "in", output_folder=tmp_path / "out")
        assert result.summary.objects_per_class == {"warm": 1, "cold": 0}

    def test_what_it_lacks_is_named_at_once(self) -> None:
        with pytest.raises(ConfigError, match=r"the grounder that was given.*lacks ground\(\)"):
            GroundedSAM2(CAPTIONS, grounder=FakeDetector())  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=r"FakeSegmenter.*no Detector: it lacks detect\(\)"):
            GroundedSAM2(CAPTIONS, detector=FakeSegmenter())  # type: ignore[arg-type]

    def test_excludes_a_detector(self) -> None:
        with pytest.raises(ConfigError, match="takes the place of detector and segmenter"):
            GroundedSAM2(CAPTIONS, grounder=Grounder(), detector=FakeDetector())

    def test_an_image_that_would_be_tiled_says_how_to_process_it(self) -> None:
        config = load_config({"tiling": {"mode": "always", "tile_size": 64}})
        model = GroundedSAM2(CAPTIONS, config=config, grounder=Grounder())
        with pytest.raises(ConfigError, match=r"100×90 pixels.*tiling\.mode to 'never'"):
            model.predict(draw((90, 100)))
        assert len(model.predict(draw((40, 60)))) == 1
        whole = GroundedSAM2(
            CAPTIONS, config=config.with_options({"tiling.mode": "never"}), grounder=Grounder()
        )
        assert len(whole.predict(draw((90, 100)))) == 1

    def test_its_boxes_are_tracked_in_videos(self) -> None:
        model = GroundedSAM2(CAPTIONS, grounder=Grounder(), tracker=FakeTracker())
        frames = [VideoFrame(i, i / 25, draw(left=5 + i)) for i in range(4)]
        tracked = track_frames(frames, model.detector, model.tracker, ONTOLOGY, model.config)
        found = [
            [(label.track_id, label.class_name) for label in f.labels.objects] for f in tracked
        ]
        assert found == [[(1, "warm")]] * 4


def test_prompts_reach_the_given_models() -> None:
    model = GroundedSAM2(grounder=Grounder())
    assert model.predict(draw(), "red box").data["class_name"].tolist() == ["red box"]
    with pytest.raises(PromptError):
        model.predict(draw(), " ")
