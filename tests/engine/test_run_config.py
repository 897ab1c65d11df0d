"""What makes two runs over videos the same run."""

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
def test_what_changes_labels_changes_the_recipe(option: str, value: object) -> None:
    assert run_config(**{option: value}).key != run_config().key


@pytest.mark.parametrize("option", ["tiling__tiles_per_batch", "tracker__objects_per_batch"])
def test_what_changes_only_the_speed_does_not(option: str) -> None:
    assert run_config(**{option: 3}).key == run_config().key


def test_captions_in_another_order_are_another_recipe_that_says_so() -> None:
    other = run_config(CaptionOntology({"blue box": "cold", "red box": "warm"}))
    assert other.key != run_config().key
    [difference] = run_config().differences(other)
    assert difference.startswith("detector.captions: ")


def test_a_recipe_is_what_it_was_when_read_again() -> None:
    assert RunConfig.from_json(run_config().to_json()) == run_config()
    assert RunConfig.from_json(run_config(None).to_json()) == run_config(None)
