"""Types of models: their sections of the configuration, entry points, and errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from grounded_sam2.config import (
    Config,
    broken_model_types,
    find_model_type,
    known_model_types,
    load_config,
)
from grounded_sam2.errors import ConfigError


def add_entry_points(site: Path, name: str, text: str) -> None:
    metadata = site / f"{name}-2.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n")
    (metadata / "entry_points.txt").write_text(text)


class TestSections:
    def test_a_file_without_types_is_of_the_first_types(self) -> None:
        config = load_config({"detector": {"num_beams": 3}, "segmenter": {"multimask": True}})
        assert (config.detector.type, config.segmenter.type) == ("florence2", "sam2")
        assert load_config({"detector": {"type": "florence2"}}) == Config()

    def test_another_type_has_its_own_keys_and_defaults(self, toy_models: Path) -> None:
        detector = load_config({"detector": {"type": "toy", "score": 0.7}}).detector
        assert (detector.checkpoint, detector.min_confidence) == ("builtin", 0.5)
        assert detector.score == 0.7  # type: ignore[attr-defined]
        assert not hasattr(detector, "task")

    def test_its_configuration_round_trips(self, toy_models: Path) -> None:
        config = load_config({"detector": {"type": "toy"}, "segmenter": {"type": "toy_segmenter"}})
        assert load_config(json.loads(json.dumps(config.to_dict()))) == config
        assert config != Config()

    @pytest.mark.parametrize("names", [("type", "score"), ("score", "type")])
    def test_options_name_type_and_keys_in_any_order(
        self, toy_models: Path, names: tuple[str, ...]
    ) -> None:
        values = {"type": "toy", "score": 0.7}
        config = load_config("demo").with_options({f"detector.{n}": values[n] for n in names})
        assert config == load_config("demo").with_options(
            {"detector.type": "toy", "detector.score": 0.7}
        )
        assert config.detector.checkpoint == "builtin"
        assert config.segmenter.checkpoint == "demo"

    def test_the_same_type_keeps_the_values_of_its_section(self) -> None:
        config = load_config("demo").with_options({"detector.type": "florence2"})
        assert config == load_config("demo")


class TestErrors:
    def test_a_key_of_another_type_says_whose_it_is(self, toy_models: Path) -> None:
        with pytest.raises(ConfigError, match=r"'detector\.task'.*is 'toy'.*to 'florence2'"):
            load_config({"detector": {"type": "toy", "task": "object_detection"}})
        with pytest.raises(ConfigError, match=r"'detector\.score'.*set detector\.type: toy"):
            Config().with_options({"detector.score": 0.5})

    def test_an_unknown_key_names_the_nearest_of_its_type(self, toy_models: Path) -> None:
        with pytest.raises(ConfigError, match=r"nearest is 'detector\.threads'"):
            load_config({"detector": {"type": "toy", "thread": 2}})

    @pytest.mark.parametrize("name", ["florense2", 3, None])
    def test_an_unknown_type_names_the_known_ones_and_how_to_add_one(self, name: object) -> None:
        with pytest.raises(ConfigError) as caught:
            load_config({"detector": {"type": name}})
        message = str(caught.value)
        assert f"detector.type is {name!r}" in message
        assert "known: florence2" in message
        assert "'grounded_sam2.detectors'" in message
        assert ("did you mean 'florence2'" in message) == (name == "florense2")

    def test_a_type_of_the_other_section_is_recognized(self) -> None:
        with pytest.raises(ConfigError, match=r"'sam2' is a type of segmenter"):
            load_config({"detector": {"type": "sam2"}})

    def test_values_of_its_own_keys_are_validated(self, toy_models: Path) -> None:
        with pytest.raises(ConfigError, match=r"detector\.words is 'x'; give one of given, own"):
            load_config({"detector": {"type": "toy", "words": "x"}})


class TestEntryPoints:
    def test_types_of_another_package_follow_those_of_this_one(self, toy_models: Path) -> None:
        names = [each.name for each in known_model_types("detector")]
        assert names == ["florence2", "toy", "toy_lacking", "toy_masks"]
        assert [each.name for each in known_model_types("segmenter")] == ["sam2", "toy_segmenter"]

    def test_a_broken_one_names_its_package_and_breaks_no_other(self, toy_models: Path) -> None:
        [broken] = broken_model_types("detector")
        assert broken.name == "toy_broken"
        with pytest.raises(ConfigError) as caught:
            load_config({"detector": {"type": "toy_broken"}})
        assert str(caught.value) == broken.reason
        assert "package toy-models 1.0 cannot be loaded: ModuleNotFoundError" in broken.reason
        assert load_config({"detector": {"type": "toy"}}).detector.type == "toy"

    def test_two_packages_with_one_name_are_an_error(self, toy_models: Path) -> None:
        text = "[grounded_sam2.detectors]\ntoy = toy_models.model_types:TOY_MASKS\n"
        add_entry_points(toy_models, "rival", text)
        with pytest.raises(ConfigError, match=r"several packages \(toy-models 1.0, rival 2.0\)"):
            find_model_type("detector", "toy")

    def test_a_type_of_this_package_cannot_be_replaced(self, toy_models: Path) -> None:
        text = "[grounded_sam2.detectors]\nflorence2 = toy_models.model_types:TOY\n"
        add_entry_points(toy_models, "rival", text)
        assert find_model_type("detector", "florence2").facts.title == "Florence-2"

    @pytest.mark.parametrize(
        ("value", "problem"),
        [
            ("toy_models.model_types:ToyOptions", "is no ModelType"),
            ("toy_models.model_types:TOY", "declares detector.type 'toy'"),
            ("toy_models.model_types:TOY_SEGMENTER", "declares segmenter.type 'toy_segmenter'"),
            ("toy_models.model_types:NOTHING", "cannot be loaded: AttributeError"),
        ],
    )
    def test_a_declaration_that_cannot_be_used_says_why(
        self, toy_models: Path, value: str, problem: str
    ) -> None:
        add_entry_points(toy_models, "rival", f"[grounded_sam2.detectors]\nmine = {value}\n")
        with pytest.raises(ConfigError) as caught:
            find_model_type("detector", "mine")
        assert "package rival 2.0" in str(caught.value)
        assert problem in str(caught.value)

    def test_are_not_read_for_the_types_of_this_package(self) -> None:
        program = (
            "import sys, importlib.metadata as m\n"
            "m.entry_points = None\n"
            "import grounded_sam2\n"
            "from grounded_sam2.config import load_config\n"
            "load_config('demo').with_options({'detector.num_beams': 2})\n"
            "assert 'torch' not in sys.modules\n"
        )
        subprocess.run([sys.executable, "-c", program], check=True)
