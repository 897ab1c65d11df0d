"""Confidence: what raises it, what lowers it, and that it stays in [0, 1]."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.models.florence2.confidence import CONFIDENCE_FORMULAS, confidence
from grounded_sam2.models.florence2.decoding import GeneratedOutput
from grounded_sam2.models.florence2.output_parsing import ParsedBox

BOX = ParsedBox("red circle", (1, 2, 3, 4), (0, 1), (2, 3, 4, 5))


def output(words=(0.9, 1.0), masses=(0.8, 0.8, 0.8, 0.8), ends=0.0):
    near = np.array([*words, *masses], np.float32)
    exact = np.array([*words, *(0.05 for _ in masses)], np.float32)
    return GeneratedOutput((0,) * 6, exact, near, np.full(6, ends, np.float32))


def test_is_the_phrase_times_the_mean_neighborhood():
    assert confidence(output(), BOX) == pytest.approx(0.9 * 0.8, rel=1e-5)


def test_probability_spread_over_neighboring_bins_does_not_lower_it():
    assert confidence(output(masses=(1, 1, 1, 1)), BOX) == pytest.approx(0.9, rel=1e-5)


def test_an_improbable_phrase_lowers_it():
    probable, improbable = output(words=(0.9, 1)), output(words=(0.2, 1))
    assert confidence(improbable, BOX) < 0.3 < confidence(probable, BOX)


def test_one_improbable_side_lowers_it():
    assert confidence(output(masses=(1, 1, 1, 0.2)), BOX) < confidence(
        output(masses=(1, 1, 1, 1)), BOX
    )


def test_a_probable_end_token_lowers_a_box_that_shares_its_phrase():
    assert confidence(output(ends=0.7), BOX) <= 0.3


def test_the_length_of_a_phrase_does_not_lower_it():
    long = ParsedBox("a b c d e f", (1, 2, 3, 4), tuple(range(6)), (6, 7, 8, 9))
    words = np.full(10, 0.9, np.float32)
    generated = GeneratedOutput((0,) * 10, words, words, 0 * words)
    assert confidence(generated, long) == pytest.approx(0.81, rel=1e-5)


def test_a_box_without_a_phrase_is_scored_by_its_location():
    bare = ParsedBox("", (1, 2, 3, 4), (), (2, 3, 4, 5))
    assert confidence(output(words=(0.1, 0.1)), bare) == pytest.approx(0.8, rel=1e-5)


@pytest.mark.parametrize("name", CONFIDENCE_FORMULAS)
def test_stays_between_zero_and_one(name):
    rng = np.random.default_rng(0)
    for _ in range(50):
        near = rng.random(6).astype(np.float32)
        generated = GeneratedOutput((0,) * 6, near * 0.5, near, rng.random(6).astype(np.float32))
        assert 0 <= CONFIDENCE_FORMULAS[name](generated, BOX) <= 1
