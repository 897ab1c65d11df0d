"""Models built from a configuration, and the check of their Protocols."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from grounded_sam2.config import Config, find_model_type, load_config
from grounded_sam2.errors import CheckpointError, ConfigError
from grounded_sam2.models.checkpoints import check_checkpoint_type, resolve_checkpoint
from grounded_sam2.models.florence2 import Florence2Detector
from grounded_sam2.models.florence2.model_type import FLORENCE2
from grounded_sam2.models.protocols import Detector, Grounder, Segmenter, Tracker
from grounded_sam2.models.registry import (
    build_detector,
    build_grounder,
    build_segmenter,
    build_tracker,
    missing_methods,
    require_protocol,
)
from grounded_sam2.models.sam2 import Sam2Segmenter, Sam2Tracker
from grounded_sam2.models.sam2.model_type import SAM2
from grounded_sam2.testing import FakeDetector, FakeSegmenter, FakeTracker

TOY = {"detector": {"type": "toy"}, "segmenter": {"type": "toy_segmenter"}}


class TestBuilding:
    def test_types_of_this_package(self, demo_weights: Path) -> None:
        config = load_config("demo")
        assert isinstance(build_detector(config), Florence2Detector)
        segmenter = build_segmenter(config)
        assert isinstance(segmenter, Sam2Segmenter)
        tracker = build_tracker(config, segmenter)
        assert isinstance(tracker, Sam2Tracker)
        assert tracker.model is segmenter.model

    def test_types_of_another_package(self, toy_models: Path) -> None:
        config = load_config({**TOY, "detector": {"type": "toy", "score": 0.6}})
        detector = build_detector(config)
        assert isinstance(detector, FakeDetector)
        assert detector.confidence == 0.6
        assert isinstance(build_segmenter(config), FakeSegmenter)
        assert isinstance(
            build_grounder(load_config({"detector": {"type": "toy_masks"}})), Grounder
        )

    def test_a_segmenter_without_a_tracker_names_those_with_one(self, toy_models: Path) -> None:
        with pytest.raises(ConfigError, match=r"'toy_segmenter' cannot track.*: sam2$"):
            build_tracker(load_config(TOY), FakeSegmenter())

    def test_a_model_of_another_type_is_refused(self, toy_models: Path) -> None:
        with pytest.raises(ConfigError, match=r"detector\.type is 'toy'"):
            Florence2Detector.from_config(load_config(TOY))
        with pytest.raises(ConfigError, match=r"segmenter\.type is 'toy_segmenter'"):
            Sam2Segmenter.from_config(load_config(TOY))

    def test_a_factory_that_cannot_be_imported_is_named(self) -> None:
        for path in ("nowhere:build", "grounded_sam2.testing:nothing"):
            with pytest.raises(ConfigError, match=f"'florence2': its factory '{path}'"):
                replace(FLORENCE2, factory=path).resolve_factory()
        with pytest.raises(ConfigError, match="is no function"):
            replace(FLORENCE2, factory="grounded_sam2.testing:COLORS").resolve_factory()


class TestProtocols:
    def test_what_a_factory_returns_must_have_the_methods(self, toy_models: Path) -> None:
        with pytest.raises(ConfigError) as caught:
            build_grounder(load_config({"detector": {"type": "toy_lacking"}}))
        message = str(caught.value)
        assert "detector.type 'toy_lacking' is a grounded_sam2.testing.FakeDetector" in message
        assert "no Grounder: it lacks ground()" in message

    @pytest.mark.parametrize(
        ("protocol", "model"),
        [(Detector, FakeDetector()), (Segmenter, FakeSegmenter()), (Tracker, FakeTracker())],
    )
    def test_a_complete_model_is_accepted(self, protocol: type, model: object) -> None:
        require_protocol("it", protocol, model)
        assert missing_methods(protocol, model) == []

    def test_missing_methods_are_in_declared_order(self) -> None:
        missing = ["encode", "empty_state", "propagate", "prompt", "update_state", "save", "load"]
        assert missing_methods(Tracker, FakeDetector()) == missing


class TestCheckpoints:
    def test_a_checkpoint_of_another_type_names_the_type_to_set(
        self, toy_models: Path, tmp_path: Path
    ) -> None:
        def check(model_type: str) -> None:
            (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
            check_checkpoint_type("mine", tmp_path, FLORENCE2)

        check("florence2")
        with pytest.raises(CheckpointError, match=r"'toy_color'.*set detector\.type: toy "):
            check("toy_color")
        with pytest.raises(CheckpointError, match=r"'sam2_video'.*set segmenter\.type: sam2 "):
            check("sam2_video")
        with pytest.raises(CheckpointError, match=r"'bert'.*of florence2, such as 'base'"):
            check("bert")

    def test_a_type_without_embedded_weights_has_no_demo(self, toy_models: Path) -> None:
        with pytest.raises(CheckpointError, match=r"detector\.type 'toy' has no embedded model"):
            resolve_checkpoint("demo", find_model_type("detector", "toy"))


def test_facts_are_stated_for_every_type_of_this_package() -> None:
    for model_type in (FLORENCE2, SAM2):
        facts = model_type.facts
        assert all((facts.title, facts.score_meaning, facts.license, facts.size))
    assert FLORENCE2.facts.caption_limit
    assert FLORENCE2.facts.captions_per_pass
    assert Config().detector.min_confidence == 0.3
