"""Run configuration of videos: options that distinguish runs, and serialization."""

from __future__ import annotations

import pytest

from grounded_sam2 import CaptionOntology
from grounded_sam2.config import Config
from grounded_sam2.engine.run_config import video_run_config
from grounded_sam2.store import RunConfig

ONTOLOGY = CaptionOntology({"red box": "warm", "blue box": "cold"})


def run_config(ontology: CaptionOntology | None = ONTOLOGY, **options: object) -> RunConfig:
    config = Config().with_options({name.replace("__", "."): v for name, v in options.items()})
    return video_run_config(config, ontology, models={"detector": "d"}, frames={"stride": 1})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("tiling__mode", "always"),
        ("detector__min_confidence", 0.7),
        ("tracking__detect_every", 3),
    ],
)
def test_options_that_change_labels_change_the_key(option: str, value: object) -> None:
    assert run_config(**{option: value}).key != run_config().key


@pytest.mark.parametrize("option", ["tiling__tiles_per_batch", "tracker__objects_per_batch"])
def test_options_that_change_only_the_speed_keep_the_key(option: str) -> None:
    assert run_config(**{option: 3}).key == run_config().key


def test_captions_in_another_order_change_the_key_and_are_a_reported_difference() -> None:
    other = run_config(CaptionOntology({"blue box": "cold", "red box": "warm"}))
    assert other.key != run_config().key
    [difference] = run_config().differences(other)
    assert difference.startswith("detector.captions: ")


def test_json_round_trips() -> None:
    assert RunConfig.from_json(run_config().to_json()) == run_config()
    assert RunConfig.from_json(run_config(None).to_json()) == run_config(None)
