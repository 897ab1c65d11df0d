"""The embedded pair on scenes that it was not trained on: every task, and the promised quality.

The bars are those of the README, on fewer scenes, with a margin for the smaller sample.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embedded_training.evaluate import (
    CAPTIONS,
    HELD_OUT_SEED,
    absent_answered,
    find,
    is_true,
    mask_iou_from_true_boxes,
    used_formula,
)
from grounded_sam2 import CaptionOntology, GroundedSAM2
from grounded_sam2.config import load_config
from grounded_sam2.demo.scenes import make_scenes
from grounded_sam2.demo.scores import auroc
from grounded_sam2.models.florence2 import Florence2Detector
from grounded_sam2.models.sam2 import Prompts, Sam2Segmenter

SCENES = list(make_scenes(16, HELD_OUT_SEED))


@pytest.fixture(scope="module")
def detector(demo_weights):
    return Florence2Detector.from_config(load_config("demo"))


@pytest.fixture(scope="module")
def segmenter(demo_weights):
    return Sam2Segmenter.from_config(load_config("demo"))


@pytest.fixture(scope="module")
def found(detector):
    return find(detector, SCENES)


def test_finds_what_is_there(found):
    right = sum(is_true(found, SCENES, used_formula()))
    assert right >= 0.9 * sum(len(scene.objects) for scene in SCENES)


def test_says_little_that_is_wrong(found):
    right = is_true(found, SCENES, used_formula())
    assert np.mean(right) > 0.75


def test_captions_of_absent_things_stay_below_the_default_threshold(found):
    floor = load_config("demo").detector.min_confidence
    assert absent_answered(found, SCENES, floor) <= 0.03


def test_confidence_tells_right_from_wrong(found):
    right = is_true(found, SCENES, used_formula())
    assert auroc([box.scores[used_formula()] for box in found], right) >= 0.85


def test_outlines_what_true_boxes_hold(segmenter):
    assert np.mean(mask_iou_from_true_boxes(segmenter, SCENES)) >= 0.9


def test_points_and_refinement(segmenter):
    """A point inside finds most of the thing; its answer, given back with the box, improves."""
    from grounded_sam2.geometry.overlap import mask_iou
    from grounded_sam2.geometry.rle import encode

    first, second = [], []
    for scene in SCENES[:8]:
        embeddings = segmenter.encode([scene.image])
        for thing in scene.objects:
            rows, columns = np.nonzero(thing.mask)
            middle = len(rows) // 2
            point = np.array([[[columns[middle], rows[middle]]]], np.float32)
            labels = np.ones((1, 1), np.int64)
            (guess,) = segmenter.segment(
                embeddings, [Prompts(points_xy=point, point_labels=labels)], return_logits=True
            )
            (again,) = segmenter.segment(
                embeddings,
                [
                    Prompts(
                        boxes_xyxy=np.array([thing.box_xyxy], np.float32),
                        mask_logits=guess.low_res_logits,
                    )
                ],
            )
            truth = encode(thing.mask)
            first.append(mask_iou(guess.masks, truth)[0, 0])
            second.append(mask_iou(again.masks, truth)[0, 0])
    assert np.mean(first) > 0.8
    assert np.mean(second) > max(0.88, np.mean(first))


@pytest.mark.parametrize(
    ("task", "share"),
    [("phrase_grounding", 0.4), ("object_detection", 0.6), ("dense_region_caption", 0.6)],
)
def test_other_tasks_name_things_that_are_there(detector, task, share):
    """They were practised less than captions one by one, joint grounding least."""
    other = Florence2Detector(detector.model, detector.processor, task=task)
    hits = total = 0
    for scene in SCENES:
        names = sorted({thing.name for thing in scene.objects})
        asked = names if task == "phrase_grounding" else []
        (boxes,) = other.detect([scene.image], [asked])
        said = [caption.removeprefix("an ").removeprefix("a ") for caption in boxes.captions]
        hits += sum(min(said.count(name), _count(scene, name)) for name in names)
        total += len(scene.objects)
    assert hits >= share * total


def test_cascade_answers_in_its_own_words(detector):
    cascade = Florence2Detector(detector.model, detector.processor, task="caption_then_grounding")
    found = cascade.detect([scene.image for scene in SCENES[:6]], [[]] * 6)
    words = {word for boxes in found for caption in boxes.captions for word in caption.split()}
    assert words & {word for caption in CAPTIONS for word in caption.split()}


def test_pipeline_end_to_end(demo_weights):
    model = GroundedSAM2(
        CaptionOntology({"red circle": "ball", "orange circle": "ball"}), config="demo"
    )
    for scene in SCENES:
        found = model.predict(scene.image)
        there = [t for t in scene.objects if t.name in ("red circle", "orange circle")]
        assert abs(len(found) - len(there)) <= 1
        assert set(found.data["class_name"]) <= {"ball"}


def test_words_it_never_learnt_do_no_harm(detector):
    captions = ["黒い猫", "a very long description of something else entirely", "🚲"]
    (boxes,) = detector.detect([SCENES[0].image], [captions])
    assert set(boxes.captions) <= set(captions)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_in_bfloat16_finds_the_same(found):
    on_gpu = Florence2Detector.from_pretrained("demo", device="cuda")
    assert on_gpu.model.dtype == torch.bfloat16
    theirs = find(on_gpu, SCENES)
    right, right_there = (sum(is_true(f, SCENES, used_formula())) for f in (found, theirs))
    assert abs(right - right_there) <= 0.05 * right


def _count(scene, name):
    return sum(thing.name == name for thing in scene.objects)
