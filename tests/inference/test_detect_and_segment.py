"""Detection and segmentation: which boxes become objects, with which class and values."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.config import Config
from grounded_sam2.errors import ConfigError, OntologyError
from grounded_sam2.geometry.rle import encode
from grounded_sam2.inference.detect_and_segment import DetectThenSegment
from grounded_sam2.inference.grounding import predict_labels
from grounded_sam2.models.protocols import Detector, Segmenter
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.results import DetectedBoxes, SegmentedMasks
from grounded_sam2.testing import COLORS, FakeDetector, FakeSegmenter

ONTOLOGY = CaptionOntology({"red thing": "ball", "blue thing": "box", "yellow thing": "ball"})
CONFIG = Config()
AS_THEY_ARE = CONFIG.with_options(
    {"cleanup.nms": "none", "cleanup.boxes_from_masks": False, "cleanup.min_part_area": 0}
)


def draw_image(*objects: tuple[str, int, int, int, int], size_hw=(40, 60)) -> np.ndarray:
    image = np.zeros((*size_hw, 3), np.uint8)
    for color, left, top, right, bottom in objects:
        image[top:bottom, left:right] = COLORS[color]
    return image


class ScriptedDetector:
    """Returns scripted boxes, and records the captions that it is given."""

    def __init__(self, boxes, captions=None, confidence=None):
        self.boxes = np.array(boxes, np.float32).reshape(-1, 4)
        self.captions = tuple(captions or ["red thing"] * len(self.boxes))
        self.confidence = confidence if confidence is None else np.array(confidence, np.float32)
        self.captions_given = []

    def detect(self, images, captions):
        self.captions_given.append([list(c) for c in captions])
        return [DetectedBoxes(self.boxes, self.captions, self.confidence) for _ in images]


class BoxSegmenter:
    """Fills each box, with one quality and complement for all."""

    def __init__(self, quality=0.8, complement=False):
        self.quality, self.complement = quality, complement
        self.calls = []

    def segment_boxes(self, images, boxes_xyxy):
        self.calls.append([len(boxes) for boxes in boxes_xyxy])
        segmented = []
        for image, boxes in zip(images, boxes_xyxy, strict=True):
            masks = np.zeros((len(boxes), *image.shape[:2]), bool)
            for i, (left, top, right, bottom) in enumerate(boxes.round().astype(int)):
                masks[i, top:bottom, left:right] = True
            n = len(boxes)
            segmented.append(
                SegmentedMasks(
                    tuple(encode(masks)),
                    np.full(n, self.quality, np.float32),
                    np.full(n, self.complement),
                )
            )
        return segmented


def predict(images, detector, segmenter, ontology, config):
    grounder = DetectThenSegment(detector, segmenter, config.detector.min_confidence)
    return predict_labels(images, grounder, ontology, config)


def test_fakes_satisfy_the_protocols():
    assert isinstance(FakeDetector(), Detector)
    assert isinstance(FakeSegmenter(), Segmenter)


def test_no_images_have_no_labels():
    assert predict([], FakeDetector(), FakeSegmenter(), ONTOLOGY, CONFIG) == []


def test_labels_carry_the_class_and_the_caption():
    image = draw_image(("red", 2, 2, 12, 12), ("yellow", 20, 5, 40, 15), ("blue", 45, 20, 55, 30))
    [labels] = predict([image], FakeDetector(), FakeSegmenter(), ONTOLOGY, CONFIG)
    assert labels.size_hw == (40, 60)
    assert [(o.class_name, o.caption, o.box_xyxy) for o in labels.objects] == [
        ("ball", "red thing", (2, 2, 12, 12)),
        ("ball", "yellow thing", (20, 5, 40, 15)),
        ("box", "blue thing", (45, 20, 55, 30)),
    ]
    assert [o.mask.area for o in labels.objects] == [100, 200, 100]
    assert {(o.confidence, o.mask_quality, o.origin) for o in labels.objects} == {
        (0.9, 0.8, "model")
    }


def test_each_model_runs_once_for_all_images_of_any_size():
    detector = FakeDetector()
    segmenter = BoxSegmenter()
    images = [
        draw_image(("red", 2, 2, 12, 12), ("blue", 20, 5, 40, 15)),
        draw_image(size_hw=(10, 10)),
        draw_image(("red", 1, 1, 9, 9), size_hw=(30, 20)),
    ]
    labels = predict(images, detector, segmenter, ONTOLOGY, CONFIG)
    assert [len(each) for each in labels] == [2, 0, 1]
    assert [each.size_hw for each in labels] == [(40, 60), (10, 10), (30, 20)]
    assert segmenter.calls == [[2, 1]]


def test_all_captions_are_detected_in_each_image():
    detector = ScriptedDetector([])
    predict([draw_image(), draw_image()], detector, BoxSegmenter(), ONTOLOGY, CONFIG)
    assert detector.captions_given == [[ONTOLOGY.prompts(), ONTOLOGY.prompts()]]


def test_without_boxes_the_segmenter_does_not_run():
    segmenter = BoxSegmenter()
    [labels] = predict([draw_image()], FakeDetector(), segmenter, ONTOLOGY, CONFIG)
    assert labels.objects == ()
    assert segmenter.calls == []


def test_without_an_ontology_classes_are_the_models_own_names():
    config = CONFIG.with_options({"detector.task": "object_detection"})
    image = draw_image(("blue", 2, 2, 12, 12), ("red", 20, 5, 40, 15))
    [labels] = predict([image], FakeDetector(), FakeSegmenter(), None, config)
    assert [(o.class_name, o.caption) for o in labels.objects] == [
        ("blue", "blue"),
        ("red", "red"),
    ]


def test_a_task_with_captions_needs_an_ontology_and_one_without_must_have_none():
    with pytest.raises(ConfigError, match="give an ontology"):
        predict([draw_image()], FakeDetector(), FakeSegmenter(), None, CONFIG)
    config = CONFIG.with_options({"detector.task": "dense_region_caption"})
    with pytest.raises(ConfigError, match=r"'dense_region_caption'.*own words"):
        predict([draw_image()], FakeDetector(), FakeSegmenter(), ONTOLOGY, config)


def test_a_caption_that_was_not_requested_is_an_error():
    detector = ScriptedDetector([[1, 1, 9, 9]], captions=["green thing"])
    with pytest.raises(OntologyError, match="green thing"):
        predict([draw_image()], detector, BoxSegmenter(), ONTOLOGY, CONFIG)


def test_the_confidence_threshold_is_inclusive_and_absent_confidence_passes():
    boxes = [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]]
    config = AS_THEY_ARE.with_options({"detector.min_confidence": 0.3})
    detector = ScriptedDetector(boxes, confidence=[0.3, 0.2999, 0.9])
    [labels] = predict([draw_image()], detector, BoxSegmenter(), ONTOLOGY, config)
    assert [o.confidence for o in labels.objects] == [0.9, 0.3]
    [labels] = predict([draw_image()], ScriptedDetector(boxes), BoxSegmenter(), ONTOLOGY, config)
    assert [o.confidence for o in labels.objects] == [None] * 3


def test_numerical_noise_does_not_change_the_labels():
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], np.float32)
    one = ScriptedDetector(boxes, confidence=[0.30000001, 0.7])
    other = ScriptedDetector(boxes + 1e-4, confidence=[0.29999998, 0.70000005])
    segmenter = BoxSegmenter()
    assert predict([draw_image()], one, segmenter, ONTOLOGY, AS_THEY_ARE) == predict(
        [draw_image()], other, segmenter, ONTOLOGY, AS_THEY_ARE
    )


@pytest.mark.parametrize(
    "box",
    [
        pytest.param([5, 5, 5, 9], id="no width"),
        pytest.param([9, 9, 5, 5], id="corners swapped"),
        pytest.param([70, 5, 90, 9], id="right of the image"),
        pytest.param([5, -20, 9, -1], id="above the image"),
        pytest.param([np.nan, 5, 9, 9], id="no number"),
        pytest.param([5, 5, 5.001, 9], id="no width when rounded"),
    ],
)
def test_boxes_without_extent_in_the_image_are_dropped(box):
    detector = ScriptedDetector([box, [20, 20, 30, 30]])
    segmenter = BoxSegmenter()
    [labels] = predict([draw_image()], detector, segmenter, ONTOLOGY, AS_THEY_ARE)
    assert [o.box_xyxy for o in labels.objects] == [(20, 20, 30, 30)]
    assert segmenter.calls == [[1]]


def test_boxes_are_clipped_to_the_image():
    detector = ScriptedDetector([[-5, 30, 70, 50]])
    [labels] = predict([draw_image()], detector, BoxSegmenter(), ONTOLOGY, AS_THEY_ARE)
    assert labels.objects[0].box_xyxy == (0, 30, 60, 40)


def test_masks_below_the_quality_threshold_drop_their_objects():
    detector = ScriptedDetector([[1, 1, 9, 9]])
    config = AS_THEY_ARE.with_options({"segmenter.min_mask_quality": 0.5})
    for quality, kept in ((0.5, 1), (0.4999, 0)):
        [labels] = predict([draw_image()], detector, BoxSegmenter(quality), ONTOLOGY, config)
        assert len(labels) == kept


def test_a_complement_leaves_the_box_without_a_mask():
    detector = ScriptedDetector([[1, 1, 9, 9]], confidence=[0.75])
    segmenter = BoxSegmenter(complement=True)
    [labels] = predict([draw_image()], detector, segmenter, ONTOLOGY, CONFIG)
    [label] = labels.objects
    assert (label.box_xyxy, label.confidence) == ((1, 1, 9, 9), 0.75)
    assert label.mask is label.mask_quality is None


def test_objects_are_cleaned_up():
    image = draw_image(("red", 2, 2, 12, 12), ("red", 12, 5, 15, 6))
    detector = ScriptedDetector(
        [[1, 1, 20, 20], [2, 2, 19, 19]], ["red thing", "yellow thing"], [0.5, 0.75]
    )
    [labels] = predict([image], detector, FakeSegmenter(), ONTOLOGY, CONFIG)
    assert [(o.caption, o.box_xyxy) for o in labels.objects] == [("yellow thing", (2, 2, 15, 12))]


def test_order_is_confidence_then_class_then_caption_then_box():
    boxes = [[0, 0, 5, 5], [50, 0, 55, 5], [10, 0, 15, 5], [20, 0, 25, 5], [30, 0, 35, 5]]
    captions = ["blue thing", "red thing", "red thing", "yellow thing", "blue thing"]
    detector = ScriptedDetector(boxes, captions, [0.5, 0.5, 0.5, 0.5, 0.75])
    [labels] = predict([draw_image()], detector, BoxSegmenter(), ONTOLOGY, AS_THEY_ARE)
    assert [(o.confidence, o.caption, o.box_xyxy[0]) for o in labels.objects] == [
        (0.75, "blue thing", 30),
        (0.5, "red thing", 10),
        (0.5, "red thing", 50),
        (0.5, "yellow thing", 20),
        (0.5, "blue thing", 0),
    ]
