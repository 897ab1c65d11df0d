"""The detector: prompts per task, detections, and invalid captions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from grounded_sam2.errors import PromptError
from grounded_sam2.models.florence2 import Florence2Detector
from grounded_sam2.models.florence2.decoding import GeneratedOutput
from grounded_sam2.models.florence2.detector import join_captions
from grounded_sam2.models.protocols import Detector


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, size, np.uint8) for size in [(60, 80, 3), (50, 50, 3)]]


def scripted(detector, processor, monkeypatch, texts):
    """Make the detector generate given texts for given prompts; return the list of its prompts."""
    prompts = []

    def generate(features, requested):
        outputs = []
        for image, prompt in requested:
            prompts.append((image, prompt))
            ids = processor.tokenizer(texts(image, prompt), add_special_tokens=False).input_ids
            half = np.full(len(ids), 0.5, np.float32)
            outputs.append(GeneratedOutput(tuple(ids), half, half, 0 * half))
        return outputs

    monkeypatch.setattr(detector, "generate", generate)
    return prompts


def test_is_a_detector(random_detector):
    assert isinstance(random_detector, Detector)


def test_each_caption_has_a_prompt_and_its_boxes(random_detector, processor, images, monkeypatch):
    """A box belongs to the caption of its prompt, whatever its phrase."""
    prompts = scripted(
        random_detector,
        processor,
        monkeypatch,
        lambda image, prompt: "dog<loc_100><loc_200><loc_500><loc_600>" if "猫" in prompt else "",
    )
    found = random_detector.detect(images, [["red circle", "猫"], ["猫"]])
    assert prompts == [
        (0, "Locate red circle in the image."),
        (0, "Locate 猫 in the image."),
        (1, "Locate 猫 in the image."),
    ]
    assert [boxes.captions for boxes in found] == [("猫",), ("猫",)]
    np.testing.assert_allclose(found[0].boxes_xyxy, [[8.04, 12.03, 40.04, 36.03]], rtol=1e-5)
    np.testing.assert_allclose(found[0].confidence, [0.25])


def test_phrase_grounding_has_one_prompt_for_all_captions(
    random_model, processor, images, monkeypatch
):
    detector = Florence2Detector(random_model, processor, task="phrase_grounding")
    prompts = scripted(
        detector,
        processor,
        monkeypatch,
        lambda *_: (
            "The Star<loc_1><loc_2><loc_3><loc_4><loc_5><loc_6><loc_7><loc_8>"
            "red circle here<loc_9><loc_9><loc_19><loc_19>a dog<loc_1><loc_1><loc_2><loc_2>"
        ),
    )
    found = detector.detect(images[:1], [["red circle", "star"]])
    assert prompts == [(0, "Locate the phrases in the caption: red circle. star.")]
    assert found[0].captions == ("star", "star", "red circle")


@pytest.mark.parametrize("task", ["object_detection", "dense_region_caption"])
def test_tasks_without_captions_take_them_from_the_output(
    random_model, processor, images, monkeypatch, task
):
    detector = Florence2Detector(random_model, processor, task=task)
    scripted(detector, processor, monkeypatch, lambda *_: "a cup<loc_1><loc_2><loc_3><loc_4>")
    found = detector.detect(images, [[], []])
    assert [boxes.captions for boxes in found] == [("a cup",), ("a cup",)]


def test_a_box_without_a_phrase_is_dropped(random_model, processor, images, monkeypatch):
    detector = Florence2Detector(random_model, processor, task="object_detection")
    nameless = "<loc_1><loc_1><loc_20><loc_20>car<loc_3><loc_3><loc_40><loc_40>"
    scripted(detector, processor, monkeypatch, lambda *_: nameless)
    assert detector.detect(images[:1], [[]])[0].captions == ("car",)


def test_caption_then_grounding_grounds_the_generated_caption(
    random_model, processor, images, monkeypatch
):
    detector = Florence2Detector(random_model, processor, task="caption_then_grounding")
    prompts = scripted(
        detector,
        processor,
        monkeypatch,
        lambda _, prompt: "a red cup" if "detail" in prompt else "cup<loc_1><loc_2><loc_3><loc_4>",
    )
    found = detector.detect(images[:1], [[]])
    assert prompts[1] == (0, "Locate the phrases in the caption: a red cup")
    assert found[0].captions == ("cup",)


def test_each_image_is_encoded_once(random_detector, images, monkeypatch):
    batch_sizes = []
    features = random_detector.model.get_image_features

    def counting(pixels):
        batch_sizes.append(len(pixels))
        return features(pixels)

    monkeypatch.setattr(random_detector.model, "get_image_features", counting)
    random_detector.detect(images, [["a", "b", "c", "d"], ["e"]])
    assert batch_sizes == [2]


def test_images_without_captions_are_not_encoded(random_detector, images, monkeypatch):
    monkeypatch.setattr(random_detector.model, "get_image_features", None)
    assert [len(boxes) for boxes in random_detector.detect(images, [[], []])] == [0, 0]


def test_no_images(random_detector):
    assert random_detector.detect([], []) == []


def test_joined_captions_are_one_sentence_each():
    assert join_captions(["red circle", "blue square."]) == "red circle. blue square."


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        ([[""]], "caption '' is empty"),
        ([["  "]], "is empty"),
        ([["a <loc_5> b"]], "<loc_5>"),
        ([["x</s>"]], "</s>"),
        ([["word " * 1200]], "the model reads"),
        ([], "0 lists of captions for 1 images"),
    ],
)
def test_invalid_captions_are_named(random_detector, images, captions, message):
    with pytest.raises(PromptError, match=message):
        random_detector.detect(images[:1], captions)


def test_from_a_folder(random_model, processor, images, tmp_path):
    random_model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    detector = Florence2Detector.from_pretrained(tmp_path, device="cpu", max_new_tokens=8)
    again = Florence2Detector(random_model, processor, max_new_tokens=8)
    prompt = [(0, "Locate star in the image.")]
    ours = detector.generate(detector.encode(images), prompt)
    theirs = again.generate(again.encode(images), prompt)
    assert ours[0].tokens == theirs[0].tokens
    assert detector.model.dtype == torch.float32


def test_batches_that_do_not_fit_into_memory_are_halved(random_detector, images, monkeypatch):
    captions = [["red circle", "star", "ring"], ["blue square", "cross"]]
    whole = random_detector.detect(images, captions)
    encode, tried = random_detector.encode_prompts, []

    def small(features, prompts):
        tried.append(len(prompts))
        if len(prompts) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(features, prompts)

    monkeypatch.setattr(random_detector, "encode_prompts", small)
    halved = random_detector.detect(images, captions)
    assert tried == [5, 2, 2, 1]
    assert [found.captions for found in halved] == [found.captions for found in whole]
    for one, other in zip(halved, whole, strict=True):
        np.testing.assert_allclose(one.boxes_xyxy, other.boxes_xyxy)
