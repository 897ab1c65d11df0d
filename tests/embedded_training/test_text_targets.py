"""Questions and answers for training: the answers must be right."""

from __future__ import annotations

import re

import numpy as np
import pytest

from embedded_training.detector import build_processor
from embedded_training.text_targets import (
    Thing,
    ask_about_everything,
    ask_for_caption,
    boxes_to_bins,
)
from grounded_sam2.demo.scenes import COLORS, SHAPES

THINGS = (
    Thing("red", "circle", (10, 20, 110, 120)),
    Thing("blue", "circle", (300, 20, 400, 120)),
    Thing("red", "star", (500, 20, 600, 120)),
)


def boxes_said(answer: str) -> list[tuple[int, ...]]:
    bins = [int(b) for b in re.findall(r"<loc_(\d+)>", answer)]
    assert len(bins) % 4 == 0
    return [tuple(bins[i : i + 4]) for i in range(0, len(bins), 4)]


@pytest.mark.parametrize("seed", range(60))
def test_a_caption_is_answered_with_exactly_what_it_names(seed):
    question = ask_for_caption(np.random.default_rng(seed), THINGS)
    phrase = re.fullmatch(r"Locate (.*) in the image\.", question.prompt)[1]
    words = set(phrase.split())
    colors, shapes = words & set(COLORS), words & set(SHAPES)
    expected = [
        thing.bins
        for thing in THINGS
        if colors <= {thing.color} and shapes <= {thing.shape} and (colors or shapes)
    ]
    assert boxes_said(question.answer) == expected
    assert question.answer.count(phrase) == len(expected)


def test_nearly_half_of_the_captions_name_nothing():
    rng = np.random.default_rng(0)
    empty = sum(not ask_for_caption(rng, THINGS).answer for _ in range(500))
    assert 0.3 < empty / 500 < 0.5


@pytest.mark.parametrize("seed", range(40))
def test_questions_about_everything_only_say_what_is_there(seed):
    question = ask_about_everything(np.random.default_rng(seed), THINGS)
    assert set(boxes_said(question.answer)) <= {thing.bins for thing in THINGS}
    names = {thing.color for thing in THINGS} | {thing.shape for thing in THINGS}
    said = set(re.sub(r"<loc_\d+>", " ", question.answer).split())
    assert said - {"a", "an", "and"} <= names


def test_every_kind_of_question_is_asked():
    rng = np.random.default_rng(0)
    starts = {ask_about_everything(rng, THINGS).prompt[:22] for _ in range(200)}
    assert len(starts) >= 5


def test_bins_are_those_of_the_processor():
    boxes = np.random.default_rng(0).random((50, 4)).astype(np.float32)
    import torch

    theirs = build_processor().post_processor.quantize(torch.from_numpy(boxes) * 512, (512, 512))
    np.testing.assert_array_equal(boxes_to_bins(boxes), theirs.numpy())


def test_words_of_the_questions_are_single_tokens():
    tokenizer = build_processor().tokenizer
    for color in COLORS:
        for shape in SHAPES:
            assert len(tokenizer.tokenize(f"{color} {shape}")) == 2
