"""Separation and calibration of confidences, against values computed by hand."""

from __future__ import annotations

import math

import pytest

from embedded_training.calibration import auroc, expected_calibration_error


@pytest.mark.parametrize(
    ("score", "truth", "expected"),
    [
        ([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0], 1.0),
        ([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0], 0.0),
        ([0.5, 0.5, 0.5, 0.5], [1, 0, 1, 0], 0.5),
        ([0.9, 0.4, 0.6, 0.1], [1, 1, 0, 0], 0.75),
    ],
)
def test_auroc_is_the_chance_of_the_right_order(score, truth, expected):
    assert auroc(score, truth) == pytest.approx(expected)


def test_auroc_without_both_kinds_is_nan():
    assert math.isnan(auroc([0.5], [1]))
    assert math.isnan(auroc([], []))


def test_calibration_error_is_the_distance_of_confidence_and_accuracy():
    assert expected_calibration_error([], []) == 0
    assert expected_calibration_error([1.0, 1.0], [1, 1]) == 0
    assert expected_calibration_error([0.9, 0.9], [0, 0]) == pytest.approx(0.9)
    # Two of four are right at 0.5: the bin as a whole is calibrated.
    assert expected_calibration_error([0.5] * 4, [1, 0, 1, 0]) == pytest.approx(0)
