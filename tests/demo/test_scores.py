"""Scores against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from grounded_sam2.demo.ground_truth import ground_truth
from grounded_sam2.demo.scenes import SHAPES, make_scenes
from grounded_sam2.demo.scores import auroc, average_precision, expected_calibration_error


@pytest.mark.parametrize(
    ("score", "truth", "expected"),
    [
        ([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0], 1.0),
        ([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0], 0.0),
        ([0.5, 0.5, 0.5, 0.5], [1, 0, 1, 0], 0.5),
        ([0.9, 0.4, 0.6, 0.1], [1, 1, 0, 0], 0.75),
    ],
)
def test_auroc(score, truth, expected):
    assert auroc(score, truth) == pytest.approx(expected)


def test_auroc_needs_both_kinds():
    assert math.isnan(auroc([0.5], [1]))
    assert math.isnan(auroc([], []))


def test_calibration_error():
    assert expected_calibration_error([], []) == 0
    assert expected_calibration_error([1.0, 1.0], [1, 1]) == 0
    assert expected_calibration_error([0.9, 0.9], [0, 0]) == pytest.approx(0.9)
    # Two of four are right at 0.5: the bin as a whole is calibrated.
    assert expected_calibration_error([0.5] * 4, [1, 0, 1, 0]) == pytest.approx(0)


@pytest.fixture(scope="module")
def truth():
    named = [(f"{i}.png", scene) for i, scene in enumerate(make_scenes(6, seed=2))]
    return ground_truth(named, SHAPES, lambda thing: thing.shape)


def as_results(truth, score=1.0):
    return [
        {key: row[key] for key in ("image_id", "category_id", "bbox")} | {"score": score}
        for row in truth["annotations"]
    ]


def test_truth_scores_one(truth):
    masks = [
        {key: row[key] for key in ("image_id", "category_id", "segmentation")} | {"score": 1.0}
        for row in truth["annotations"]
    ]
    assert average_precision(truth, as_results(truth), "bbox").ap == pytest.approx(1)
    assert average_precision(truth, masks, "segm").ap == pytest.approx(1)


def test_masks_are_compared_also_where_there_are_boxes(truth):
    wrong_boxes = [row | {"score": 1.0, "bbox": [0, 0, 1, 1]} for row in truth["annotations"]]
    assert average_precision(truth, wrong_boxes, "segm").ap == pytest.approx(1)
    assert average_precision(truth, wrong_boxes, "bbox").ap == 0


def test_nothing_found_scores_zero(truth):
    assert average_precision(truth, [], "bbox").ap == 0


def test_wrong_classes_score_zero(truth):
    wrong = [row | {"category_id": row["category_id"] % 6 + 1} for row in as_results(truth)]
    assert average_precision(truth, wrong, "bbox").ap50 < 0.2


def test_truth_lists_every_object_with_ids_from_one(truth):
    assert [row["id"] for row in truth["annotations"]] == list(
        range(1, len(truth["annotations"]) + 1)
    )
    assert [row["id"] for row in truth["categories"]] == [1, 2, 3, 4, 5, 6]
    assert all(row["iscrowd"] == 0 for row in truth["annotations"])


def test_classes_can_be_left_out():
    named = [("a.png", scene) for scene in make_scenes(3, seed=2)]
    only = ground_truth(named, ["ring"], lambda o: "ring" if o.shape == "ring" else None)
    rings = sum(thing.shape == "ring" for _, scene in named for thing in scene.objects)
    assert len(only["annotations"]) == rings
    assert np.all([row["category_id"] == 1 for row in only["annotations"]])
