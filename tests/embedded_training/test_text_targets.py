"""Prompts and target texts: the targets name exactly the objects that the prompts ask for."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from embedded_training.detector import build_processor
from embedded_training.text_targets import (
    LabeledObject,
    boxes_to_bins,
    detection_target,
    whole_image_target,
)
from grounded_sam2.demo.scenes import COLORS, SHAPES

OBJECTS = (
    LabeledObject("red", "circle", (10, 20, 110, 120)),
    LabeledObject("blue", "circle", (300, 20, 400, 120)),
    LabeledObject("red", "star", (500, 20, 600, 120)),
)


def boxes_in(output: str) -> list[tuple[int, ...]]:
    bins = [int(b) for b in re.findall(r"<loc_(\d+)>", output)]
    assert len(bins) % 4 == 0
    return [tuple(bins[i : i + 4]) for i in range(0, len(bins), 4)]


@pytest.mark.parametrize("seed", range(60))
def test_a_detection_target_lists_exactly_the_objects_of_its_caption(seed):
    target = detection_target(np.random.default_rng(seed), OBJECTS)
    phrase = re.fullmatch(r"Locate (.*) in the image\.", target.prompt)[1]
    words = set(phrase.split())
    colors, shapes = words & set(COLORS), words & set(SHAPES)
    expected = [
        each.bins
        for each in OBJECTS
        if colors <= {each.color} and shapes <= {each.shape} and (colors or shapes)
    ]
    assert boxes_in(target.output) == expected
    assert target.output.count(phrase) == len(expected)


def test_nearly_half_of_the_captions_name_absent_objects():
    rng = np.random.default_rng(0)
    empty = sum(not detection_target(rng, OBJECTS).output for _ in range(500))
    assert 0.3 < empty / 500 < 0.5


@pytest.mark.parametrize("seed", range(40))
def test_a_whole_image_target_names_only_present_objects(seed):
    target = whole_image_target(np.random.default_rng(seed), OBJECTS)
    assert set(boxes_in(target.output)) <= {each.bins for each in OBJECTS}
    names = {each.color for each in OBJECTS} | {each.shape for each in OBJECTS}
    words = set(re.sub(r"<loc_\d+>", " ", target.output).split())
    assert words - {"a", "an", "and"} <= names


def test_every_whole_image_task_is_drawn():
    rng = np.random.default_rng(0)
    prompts = {whole_image_target(rng, OBJECTS).prompt[:22] for _ in range(200)}
    assert len(prompts) >= 5


def test_bins_equal_those_of_the_processor():
    boxes = np.random.default_rng(0).random((50, 4)).astype(np.float32)
    theirs = build_processor().post_processor.quantize(torch.from_numpy(boxes) * 512, (512, 512))
    np.testing.assert_array_equal(boxes_to_bins(boxes), theirs.numpy())


def test_the_words_of_captions_are_single_tokens():
    tokenizer = build_processor().tokenizer
    for color in COLORS:
        for shape in SHAPES:
            assert len(tokenizer.tokenize(f"{color} {shape}")) == 2
