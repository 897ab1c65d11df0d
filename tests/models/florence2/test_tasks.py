"""Which caption an answered phrase belongs to."""

from __future__ import annotations

import pytest

from grounded_sam2.models.florence2.tasks import grounding_text, match_phrase


@pytest.mark.parametrize(
    ("phrase", "captions", "expected"),
    [
        ("red circle", ["blue star", "red circle"], "red circle"),
        ("Red Circle.", ["red circle"], "red circle"),
        ("the red circle", ["a red circle"], "a red circle"),
        ("red circle on the left", ["circle", "red circle"], "red circle"),
        ("circle", ["red circle", "circle"], "circle"),
        ("wheel", ["steering wheel", "car wheel"], "steering wheel"),
        ("scar", ["car"], None),
        ("dog", ["cat"], None),
        ("黒い猫", ["黒い猫"], "黒い猫"),
        ("", ["cat"], None),
        ("the", ["the"], "the"),
        ("🔵", ["🔴", "🔵"], "🔵"),
        ("", ["🔴"], None),
    ],
)
def test_match(phrase, captions, expected):
    assert match_phrase(phrase, captions) == expected


def test_grounding_text_is_one_sentence_per_caption():
    assert grounding_text(["red circle", "blue square."]) == "red circle. blue square."
