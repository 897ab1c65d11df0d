"""Configuration: defaults, shipped files, overrides, and the errors of invalid input."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import yaml

from grounded_sam2.config import (
    CleanupConfig,
    Config,
    ImageConfig,
    RuntimeConfig,
    load_config,
)
from grounded_sam2.config.yaml_files import shipped_folder, shipped_names
from grounded_sam2.errors import ConfigError
from grounded_sam2.models.florence2 import Florence2Options


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


class TestShippedFiles:
    def test_the_default_file_equals_the_defaults_of_the_code(self) -> None:
        assert load_config("default") == load_config(None) == Config()

    def test_the_default_file_contains_every_key(self) -> None:
        shown = yaml.safe_load((shipped_folder("config") / "default.yaml").read_text("utf-8"))
        assert {name: list(keys) for name, keys in shown.items()} == {
            name: list(keys) for name, keys in Config().to_dict().items()
        }

    @pytest.mark.parametrize("name", ["accurate", "default", "demo", "fast"])
    def test_every_shipped_configuration_loads(self, name: str) -> None:
        assert name in shipped_names("config")
        assert isinstance(load_config(name), Config)

    def test_the_demo_configuration_uses_the_embedded_models_and_no_network(self) -> None:
        config = load_config("demo")
        assert (config.detector.checkpoint, config.segmenter.checkpoint) == ("demo", "demo")
        assert config.cleanup.across_classes  # a shape is of one class
        assert config.runtime.local_files_only

    def test_a_shipped_name_takes_precedence_over_a_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "demo").mkdir()
        monkeypatch.chdir(tmp_path)
        assert load_config("demo").detector.checkpoint == "demo"


class TestLoading:
    def test_a_file_overrides_only_its_keys(self, tmp_path: Path) -> None:
        path = write(tmp_path, "detector:\n  min_confidence: 0.5\n")
        expected = Config(detector=Florence2Options(min_confidence=0.5))
        assert load_config(path) == load_config(str(path)) == expected

    @pytest.mark.parametrize("text", ["", "# nothing\n", "detector:\n", "detector: {}\n"])
    def test_an_empty_file_is_the_default(self, tmp_path: Path, text: str) -> None:
        assert load_config(write(tmp_path, text)) == Config()

    def test_a_config_is_returned_unchanged(self) -> None:
        config = Config()
        assert load_config(config) is config

    def test_yaml_merge_keys_are_no_repeated_keys(self, tmp_path: Path) -> None:
        text = "detector: &d {num_beams: 2}\n"
        assert load_config(write(tmp_path, text)).detector.num_beams == 2
        text = "runtime: &r {batch_size: 4}\ndetector:\n  <<: *r\n  batch_size: 9\n"
        config = load_config(write(tmp_path, text))
        assert (config.runtime.batch_size, config.detector.batch_size) == (4, 9)


class TestValues:
    def test_to_dict_round_trips_through_json(self) -> None:
        config = load_config("accurate")
        assert load_config(json.loads(json.dumps(config.to_dict()))) == config

    def test_an_integer_for_a_fraction_is_an_equal_configuration(self) -> None:
        ours, theirs = Florence2Options(min_confidence=1), Florence2Options(min_confidence=1.0)
        assert (ours, hash(ours)) == (theirs, hash(theirs))
        assert json.dumps(dataclasses.asdict(ours)) == json.dumps(dataclasses.asdict(theirs))

    def test_with_options_returns_a_changed_copy(self) -> None:
        config = Config()
        changed = config.with_options({"detector.min_confidence": 0.5, "runtime.device": "cpu"})
        assert (changed.detector.min_confidence, changed.runtime.device) == (0.5, "cpu")
        assert config == Config()
        assert config.with_options({}) == config

    def test_integers_are_not_limited_in_size(self) -> None:
        assert ImageConfig(max_pixels=10**400).max_pixels == 10**400

    def test_sections_are_frozen_and_hashable(self) -> None:
        with pytest.raises(dataclasses.FrozenInstanceError):
            RuntimeConfig().device = "cpu"  # type: ignore[misc]
        assert hash(CleanupConfig()) == hash(CleanupConfig())


class TestErrors:
    @pytest.mark.parametrize(
        ("text", "unknown", "nearest"),
        [
            (
                "detector:\n  min_confidnce: 0.5\n",
                "detector.min_confidnce",
                "detector.min_confidence",
            ),
            ("segmenter:\n  threshold: 0.5\n", "segmenter.threshold", "segmenter.mask_threshold"),
            ("detektor:\n  num_beams: 1\n", "detektor", "detector"),
            ("min_confidence: 0.5\n", "min_confidence", "detector.min_confidence"),
            ("detector:\n  1: 0.5\n", "detector.1", "detector."),
        ],
    )
    def test_the_error_of_an_unknown_key_names_file_key_and_nearest_key(
        self, tmp_path: Path, text: str, unknown: str, nearest: str
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            load_config(write(tmp_path, text))
        message = str(caught.value)
        assert "mine.yaml" in message
        assert f"'{unknown}'" in message
        assert f"nearest is '{nearest}" in message

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (
                "detector: {num_beams: 0}",
                "detector.num_beams is 0; give a whole number of at least 1",
            ),
            ("detector: {num_beams: true}", "detector.num_beams is True; give a whole number"),
            ("detector: {num_beams: 1.0}", "detector.num_beams is 1.0; give a whole number"),
            ("detector: {num_beams: '3'}", "detector.num_beams is '3'; give a whole number"),
            ("detector: {min_confidence: 1.5}", "is 1.5; give a number from 0 to 1"),
            ("detector: {min_confidence: .nan}", "is nan; give a number from 0 to 1"),
            ("detector: {min_confidence: null}", "is None; give a number from 0 to 1"),
            ("detector: {task: od}", "is 'od'; give one of open_vocabulary_detection, "),
            ("detector: {checkpoint: ' '}", "detector.checkpoint is ' '; give text"),
            ("segmenter: {multimask: 1}", "segmenter.multimask is 1; give true or false"),
            ("segmenter: {mask_threshold: .inf}", "is inf; give a number"),
            ("runtime: {dtype: int8}", "give one of auto, float32, bfloat16, float16"),
            ("images: {url_timeout_s: 0}", "is 0; give a number of at least 0.001"),
            ("cleanup: [nms]", "cleanup must be a mapping of its keys, not ['nms']"),
            ("- detector", "must be a mapping of sections"),
        ],
    )
    def test_the_error_of_an_invalid_value_names_file_key_value_and_repair(
        self, tmp_path: Path, text: str, expected: str
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            load_config(write(tmp_path, text))
        assert "mine.yaml" in str(caught.value)
        assert expected in str(caught.value)

    def test_values_are_validated_without_a_file(self) -> None:
        with pytest.raises(ConfigError, match=r"images\.max_pixels is -1"):
            ImageConfig(max_pixels=-1)
        with pytest.raises(ConfigError, match=r"cleanup\.nms is 'all'"):
            load_config({"cleanup": {"nms": "all"}})
        with pytest.raises(ConfigError, match=r"nearest is 'runtime\.device'"):
            Config().with_options({"runtime.devise": "cpu"})
        with pytest.raises(ConfigError, match="unknown key 'detector'"):
            Config().with_options({"detector": {}})

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (
                "detector: {}\nruntime: {}\ndetector: {}\n",
                "line 3: repeats the key 'detector' of line 1",
            ),
            (
                "detector:\n  num_beams: 1\n  num_beams: 3\n",
                "repeats the key 'num_beams' of line 2",
            ),
            ("detector: {num_beams: 1\n", "line 2"),
            ("detector: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
            ("detector: \x00\n", "special characters are not allowed"),
        ],
    )
    def test_the_error_of_unreadable_yaml_names_file_and_line(
        self, tmp_path: Path, text: str, expected: str
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            load_config(write(tmp_path, text))
        assert "mine.yaml" in str(caught.value)
        assert expected in str(caught.value)

    def test_the_error_of_a_missing_file_names_the_shipped_files(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"'acurate' does not exist; did you mean 'accurate'"):
            load_config("acurate")
        with pytest.raises(ConfigError, match="accurate, default, demo, fast"):
            load_config(tmp_path / "none.yaml")
        with pytest.raises(ConfigError, match="is a folder"):
            load_config(tmp_path)
