"""Ground truth of scenes as COCO, and average precision against it."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.demo.coco_metrics import average_precision, coco_ground_truth
from grounded_sam2.demo.scenes import SHAPES, make_scenes


@pytest.fixture(scope="module")
def truth():
    named = [(f"{i}.png", scene) for i, scene in enumerate(make_scenes(6, seed=2))]
    return coco_ground_truth(named, SHAPES, lambda found: found.shape)


def as_results(truth, score=1.0):
    return [
        {key: row[key] for key in ("image_id", "category_id", "bbox")} | {"score": score}
        for row in truth["annotations"]
    ]


def test_the_truth_scores_one(truth):
    masks = [
        {key: row[key] for key in ("image_id", "category_id", "segmentation")} | {"score": 1.0}
        for row in truth["annotations"]
    ]
    assert average_precision(truth, as_results(truth), "bbox").ap == pytest.approx(1)
    assert average_precision(truth, masks, "segm").ap == pytest.approx(1)


def test_masks_are_compared_even_if_results_have_boxes(truth):
    wrong_boxes = [row | {"score": 1.0, "bbox": [0, 0, 1, 1]} for row in truth["annotations"]]
    assert average_precision(truth, wrong_boxes, "segm").ap == pytest.approx(1)
    assert average_precision(truth, wrong_boxes, "bbox").ap == 0


def test_no_results_score_zero(truth):
    assert average_precision(truth, [], "bbox").ap == 0


def test_wrong_classes_score_zero(truth):
    wrong = [row | {"category_id": row["category_id"] % 6 + 1} for row in as_results(truth)]
    assert average_precision(truth, wrong, "bbox").ap50 < 0.2


def test_ids_of_the_ground_truth_count_from_one(truth):
    assert [row["id"] for row in truth["annotations"]] == list(
        range(1, len(truth["annotations"]) + 1)
    )
    assert [row["id"] for row in truth["categories"]] == [1, 2, 3, 4, 5, 6]
    assert all(row["iscrowd"] == 0 for row in truth["annotations"])


def test_classes_can_be_left_out():
    named = [("a.png", scene) for scene in make_scenes(3, seed=2)]
    only = coco_ground_truth(named, ["ring"], lambda o: "ring" if o.shape == "ring" else None)
    rings = sum(found.shape == "ring" for _, scene in named for found in scene.objects)
    assert len(only["annotations"]) == rings
    assert np.all([row["category_id"] == 1 for row in only["annotations"]])
