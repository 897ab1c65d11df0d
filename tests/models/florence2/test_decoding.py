"""Decoding against `transformers.generate`, and its probabilities against the logits."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers.modeling_outputs import BaseModelOutput

from grounded_sam2.models.florence2 import Florence2Detector
from grounded_sam2.models.florence2.decoding import (
    NEIGHBORHOOD,
    DecodingRules,
    TokenScorer,
    decode_greedy,
)

END = 2

PROMPTS = [
    (0, "Locate red circle in the image."),
    (1, "Locate a very long thing with many words in the image."),
    (0, "What does the image describe?"),
    (1, "Locate star in the image."),
    (0, "Locate the objects with category name in the image."),
]


@pytest.fixture
def images():
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, size, np.uint8) for size in [(90, 120, 3), (64, 64, 3)]]


def reference(detector, images, prompts, **options):
    """One `generate` call per prompt, from pixels."""
    outputs = []
    for image, text in prompts:
        processor = detector.processor
        inputs = processor(images=images[image], text="x", return_tensors="pt")
        row = processor.image_token * processor.num_image_tokens + f"<s>{text}</s>"
        ids = processor.tokenizer(row, add_special_tokens=False, return_tensors="pt").input_ids
        out = detector.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values=inputs["pixel_values"],
            do_sample=False,
            max_new_tokens=24,
            **options,
        )[0].tolist()
        outputs.append(out)
    return outputs


def with_rules(model, **settings):
    """The same weights under another generation configuration."""
    other = copy.copy(model)
    other.generation_config = copy.deepcopy(model.generation_config)
    for name, value in settings.items():
        setattr(other.generation_config, name, value)
    return other


def generated_tokens(sequence):
    """Tokens of a `generate` result between the two start tokens and the end."""
    tokens = sequence[2:]
    return tuple(tokens[: tokens.index(END)] if END in tokens else tokens)


@pytest.mark.parametrize("ngram", [0, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_greedy_equals_generate(random_model, processor, images, ngram, batch_size):
    model = with_rules(random_model, no_repeat_ngram_size=ngram, forced_eos_token_id=None)
    detector = Florence2Detector(model, processor, max_new_tokens=23, batch_size=batch_size)
    ours = detector.generate(detector.encode(images), PROMPTS)
    theirs = reference(detector, images, PROMPTS, num_beams=1)
    assert [output.tokens for output in ours] == [generated_tokens(output) for output in theirs]


def test_beams_equal_generate(random_model, processor, images):
    model = with_rules(random_model, forced_eos_token_id=None)
    detector = Florence2Detector(model, processor, max_new_tokens=24, num_beams=3)
    ours = detector.generate(detector.encode(images), PROMPTS)
    theirs = reference(detector, images, PROMPTS, num_beams=3, early_stopping=True)
    assert [output.tokens for output in ours] == [generated_tokens(output) for output in theirs]


class ScriptedModel:
    """Generates a fixed output per row; the number of the row is its encoder state."""

    def __init__(self, outputs):
        self.outputs, self.rows_seen = outputs, []

    def __call__(self, *, encoder_outputs, **_):
        rows = encoder_outputs.last_hidden_state[:, 0, 0].long().tolist()
        step = len(self.rows_seen)
        self.rows_seen.append(len(rows))
        logits = torch.zeros(len(rows), 1, 20)
        for position, row in enumerate(rows):
            token = [*self.outputs[row], END][step : step + 1] or [7]
            logits[position, 0, token[0]] = 5.0
        return SimpleNamespace(logits=logits)


def test_rows_leave_the_batch_when_their_output_ends():
    outputs = [[5], [5, 6, 7, 8, 9, 10], [], [11, 12, 13], [5, 5]]
    model = ScriptedModel(outputs)
    rules = DecodingRules((END, 0), END, padding=1, no_repeat_ngram=0, max_new_tokens=30)
    encoded = torch.arange(len(outputs)).float()[:, None, None]
    scorer = TokenScorer([18, 19], END, vocabulary_size=20)
    decoded = decode_greedy(model, encoded, torch.ones(len(outputs), 1), rules, scorer)
    assert [list(output.tokens) for output in decoded] == outputs
    assert model.rows_seen == [5, 4, 3, 2, 1, 1, 1]


def test_outputs_are_cut_off_at_the_maximum_length():
    model = ScriptedModel([[5] * 100, [6]])
    rules = DecodingRules((END, 0), END, padding=1, no_repeat_ngram=0, max_new_tokens=4)
    scorer = TokenScorer([18, 19], END, vocabulary_size=20)
    encoded = torch.arange(2).float()[:, None, None]
    decoded = decode_greedy(model, encoded, torch.ones(2, 1), rules, scorer)
    assert [output.tokens for output in decoded] == [(5, 5, 5, 5), (6,)]


def test_probabilities_are_those_of_a_teacher_forced_pass(random_detector, images):
    greedy = random_detector.generate(random_detector.encode(images), PROMPTS[:1])[0]
    encoded, mask = random_detector.encode_prompts(random_detector.encode(images), PROMPTS[:1])
    ids = torch.tensor([[2, 0, *greedy.tokens]])
    with torch.inference_mode():
        logits = random_detector.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded),
            attention_mask=mask,
            decoder_input_ids=ids,
        ).logits[0, 1:-1]
    probabilities = logits.softmax(-1)
    chosen = probabilities[torch.arange(len(greedy.tokens)), list(greedy.tokens)]
    np.testing.assert_allclose(greedy.probability, chosen.numpy(), rtol=1e-3)
    np.testing.assert_allclose(greedy.end_probability, probabilities[:, 2].numpy(), atol=1e-5)


def test_the_neighborhood_of_a_location_is_summed():
    locations = list(range(100, 1100))
    scorer = TokenScorer(locations, end=2, vocabulary_size=1200)
    logits = torch.randn(3, 1200)
    chosen = torch.tensor([100, 600, 5])  # first bin, a middle bin, not a location
    probabilities = logits.softmax(-1)
    scores = scorer.score(logits, chosen)
    first = probabilities[0, 100 : 100 + NEIGHBORHOOD + 1].sum()
    middle = probabilities[1, 600 - NEIGHBORHOOD : 600 + NEIGHBORHOOD + 1].sum()
    expected = torch.stack([first, middle, probabilities[2, 5]])
    torch.testing.assert_close(scores[:, 1], expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(scores[:, 2], probabilities[:, 2])
