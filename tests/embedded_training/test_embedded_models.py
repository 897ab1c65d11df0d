"""The embedded detector and segmenter on held-out scenes: every task, and the documented quality.

The limits are those of docs/embedded-models.md, with a margin for the smaller sample.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from embedded_training.calibration import auroc
from embedded_training.evaluate import (
    CAPTIONS,
    HELD_OUT_SEED,
    absent_detection_rate,
    confidence_formula,
    detect_captions,
    mask_iou_from_true_boxes,
    true_positives,
)
from grounded_sam2 import CaptionOntology, GroundedSAM2
from grounded_sam2.config import load_config
from grounded_sam2.demo.scenes import Scene, make_scenes
from grounded_sam2.models.florence2 import Florence2Detector
from grounded_sam2.models.sam2 import Prompts, Sam2Segmenter

pytestmark = pytest.mark.slow


@functools.cache
def scenes() -> list[Scene]:
    return list(make_scenes(16, HELD_OUT_SEED))


@pytest.fixture(scope="module")
def detector(demo_weights):
    return Florence2Detector.from_config(load_config("demo"))


@pytest.fixture(scope="module")
def segmenter(demo_weights):
    return Sam2Segmenter.from_config(load_config("demo"))


@pytest.fixture(scope="module")
def found(detector):
    return detect_captions(detector, scenes())


def test_recall_is_at_least_90_percent(found):
    right = sum(true_positives(found, scenes(), confidence_formula()))
    assert right >= 0.9 * sum(len(scene.objects) for scene in scenes())


def test_precision_is_above_75_percent(found):
    right = true_positives(found, scenes(), confidence_formula())
    assert np.mean(right) > 0.75


def test_captions_of_absent_objects_stay_below_the_default_threshold(found):
    floor = load_config("demo").detector.min_confidence
    assert absent_detection_rate(found, scenes(), floor) <= 0.03


def test_confidence_separates_true_from_false_detections(found):
    right = true_positives(found, scenes(), confidence_formula())
    assert auroc([box.scores[confidence_formula()] for box in found], right) >= 0.85


def test_true_boxes_give_accurate_masks(segmenter):
    assert np.mean(mask_iou_from_true_boxes(segmenter, scenes())) >= 0.9


def test_a_point_segments_an_object_and_its_mask_with_a_box_segments_it_better(segmenter):
    from grounded_sam2.geometry.overlap import mask_iou
    from grounded_sam2.geometry.rle import encode

    first, second = [], []
    for scene in scenes()[:8]:
        embeddings = segmenter.encode([scene.image])
        for each in scene.objects:
            rows, columns = np.nonzero(each.mask)
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
                        boxes_xyxy=np.array([each.box_xyxy], np.float32),
                        mask_logits=guess.low_res_logits,
                    )
                ],
            )
            truth = encode(each.mask)
            first.append(mask_iou(guess.masks, truth)[0, 0])
            second.append(mask_iou(again.masks, truth)[0, 0])
    assert np.mean(first) > 0.8
    assert np.mean(second) > max(0.88, np.mean(first))


@pytest.mark.parametrize(
    ("task", "share"),
    [("phrase_grounding", 0.4), ("object_detection", 0.6), ("dense_region_caption", 0.6)],
)
def test_other_tasks_name_objects_of_the_scene(detector, task, share):
    """They were trained less than single captions, joint grounding least."""
    other = Florence2Detector(detector.model, detector.processor, task=task)
    hits = total = 0
    for scene in scenes():
        names = sorted({each.name for each in scene.objects})
        asked = names if task == "phrase_grounding" else []
        (boxes,) = other.detect([scene.image], [asked])
        said = [caption.removeprefix("an ").removeprefix("a ") for caption in boxes.captions]
        hits += sum(min(said.count(name), _count(scene, name)) for name in names)
        total += len(scene.objects)
    assert hits >= share * total


def test_captioning_then_grounding_needs_no_captions(detector):
    cascade = Florence2Detector(detector.model, detector.processor, task="caption_then_grounding")
    found = cascade.detect([scene.image for scene in scenes()[:6]], [[]] * 6)
    words = {word for boxes in found for caption in boxes.captions for word in caption.split()}
    assert words & {word for caption in CAPTIONS for word in caption.split()}


def test_the_pipeline_finds_the_objects_of_an_ontology(demo_weights):
    model = GroundedSAM2(
        CaptionOntology({"red circle": "ball", "orange circle": "ball"}), config="demo"
    )
    for scene in scenes():
        found = model.predict(scene.image)
        there = [t for t in scene.objects if t.name in ("red circle", "orange circle")]
        assert abs(len(found) - len(there)) <= 1
        assert set(found.data["class_name"]) <= {"ball"}


def test_unknown_words_as_captions_cause_no_error(detector):
    captions = ["黒い猫", "a very long description of something else entirely", "🚲"]
    (boxes,) = detector.detect([scenes()[0].image], [captions])
    assert set(boxes.captions) <= set(captions)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_in_bfloat16_finds_the_same(found):
    on_gpu = Florence2Detector.from_pretrained("demo", device="cuda")
    assert on_gpu.model.dtype == torch.bfloat16
    theirs = detect_captions(on_gpu, scenes())
    right, right_there = (
        sum(true_positives(f, scenes(), confidence_formula())) for f in (found, theirs)
    )
    assert abs(right - right_there) <= 0.05 * right


def _count(scene, name):
    return sum(each.name == name for each in scene.objects)
