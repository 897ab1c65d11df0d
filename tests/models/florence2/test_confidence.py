"""Confidence: what raises it, what lowers it, and that it stays a probability."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.models.florence2.confidence import CANDIDATES, confidence
from grounded_sam2.models.florence2.decoding import GeneratedOutput
from grounded_sam2.models.florence2.output_parsing import ParsedBox

INSTANCE = ParsedBox("red circle", (1, 2, 3, 4), (0, 1), (2, 3, 4, 5))


def generation(words=(0.9, 1.0), masses=(0.8, 0.8, 0.8, 0.8), ends=0.0):
    near = np.array([*words, *masses], np.float32)
    exact = np.array([*words, *(0.05 for _ in masses)], np.float32)
    return GeneratedOutput((0,) * 6, exact, near, np.full(6, ends, np.float32))


def test_formula():
    assert confidence(generation(), INSTANCE) == pytest.approx(0.9 * 0.8, rel=1e-5)


def test_spread_over_neighboring_bins_costs_nothing():
    assert confidence(generation(masses=(1, 1, 1, 1)), INSTANCE) == pytest.approx(0.9, rel=1e-5)


def test_doubt_about_existence_lowers_it():
    sure, doubtful = generation(words=(0.9, 1)), generation(words=(0.2, 1))
    assert confidence(doubtful, INSTANCE) < 0.3 < confidence(sure, INSTANCE)


def test_doubt_about_one_side_lowers_it():
    assert confidence(generation(masses=(1, 1, 1, 0.2)), INSTANCE) < confidence(
        generation(masses=(1, 1, 1, 1)), INSTANCE
    )


def test_a_box_that_shares_its_phrase_had_to_be_preferred_to_ending():
    assert confidence(generation(ends=0.7), INSTANCE) <= 0.3


def test_long_names_are_no_less_true():
    long = ParsedBox("a b c d e f", (1, 2, 3, 4), tuple(range(6)), (6, 7, 8, 9))
    words = np.full(10, 0.9, np.float32)
    said = GeneratedOutput((0,) * 10, words, words, 0 * words)
    assert confidence(said, long) == pytest.approx(0.81, rel=1e-5)


def test_a_box_without_a_phrase_rests_on_its_place():
    bare = ParsedBox("", (1, 2, 3, 4), (), (2, 3, 4, 5))
    assert confidence(generation(words=(0.1, 0.1)), bare) == pytest.approx(0.8, rel=1e-5)


@pytest.mark.parametrize("name", CANDIDATES)
def test_stays_between_zero_and_one(name):
    rng = np.random.default_rng(0)
    for _ in range(50):
        near = rng.random(6).astype(np.float32)
        said = GeneratedOutput((0,) * 6, near * 0.5, near, rng.random(6).astype(np.float32))
        assert 0 <= CANDIDATES[name](said, INSTANCE) <= 1
