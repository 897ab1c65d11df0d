"""What makes two runs over videos the same run."""

from __future__ import annotations

import pytest

from grounded_sam2 import CaptionOntology
from grounded_sam2.config import Config
from grounded_sam2.engine.run_config import tracking_recipe_of
from grounded_sam2.store import Recipe

ONTOLOGY = CaptionOntology({"red box": "warm", "blue box": "cold"})


def recipe(ontology: CaptionOntology | None = ONTOLOGY, **options: object) -> Recipe:
    config = Config().with_options({name.replace("__", "."): v for name, v in options.items()})
    return tracking_recipe_of(config, ontology, models={"detector": "d"}, frames={"stride": 1})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("tiling__mode", "always"),
        ("detector__min_confidence", 0.7),
        ("tracking__detect_every", 3),
    ],
)
def test_what_changes_labels_changes_the_recipe(option: str, value: object) -> None:
    assert recipe(**{option: value}).key != recipe().key


@pytest.mark.parametrize("option", ["tiling__tiles_per_batch", "tracker__objects_per_batch"])
def test_what_changes_only_the_speed_does_not(option: str) -> None:
    assert recipe(**{option: 3}).key == recipe().key


def test_captions_in_another_order_are_another_recipe_that_says_so() -> None:
    other = recipe(CaptionOntology({"blue box": "cold", "red box": "warm"}))
    assert other.key != recipe().key
    [difference] = recipe().differences(other)
    assert difference.startswith("detector.captions: ")


def test_a_recipe_is_what_it_was_when_read_again() -> None:
    assert Recipe.from_json(recipe().to_json()) == recipe()
    assert Recipe.from_json(recipe(None).to_json()) == recipe(None)
