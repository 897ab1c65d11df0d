"""Batched decoding that keeps three probabilities of every generated token.

`transformers.generate` keeps finished rows in the batch until the last one ends, and its scores are
whole vocabularies per step. Here rows leave the batch when their output ends, and each step keeps
three numbers per row, those that `grounded_sam2.models.florence2.confidence` needs. They are read
from the raw distribution, before any decoding rule changes it.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import (
    DynamicCache,
    EncoderDecoderCache,
    Florence2ForConditionalGeneration,
    NoRepeatNGramLogitsProcessor,
)
from transformers.modeling_outputs import BaseModelOutput

__all__ = [
    "NEIGHBORHOOD",
    "DecodingRules",
    "GeneratedOutput",
    "TokenScorer",
    "decode_beam_search",
    "decode_greedy",
]

NEIGHBORHOOD = 30
"""Bins on either side of a chosen location that count as the same place: 3 % of the image. Even a
confident detector spreads the probability of an edge over neighboring bins. Half as wide a
neighborhood separated true from false boxes a little worse on an earlier version of the embedded
model (AUROC 0.948 instead of 0.957, on the scenes that this was chosen on)."""
_COMPACT_AT = 0.1
"""Share of finished rows above which they leave the batch. Removing rows copies the caches of the
others, which costs about as much memory traffic as one decoding step."""
_CACHE_ARGUMENT = (
    "cache"
    if "cache" in inspect.signature(Florence2ForConditionalGeneration.forward).parameters
    else "past_key_values"
)
"""Transformers 5.24 renamed this argument of the model; 5.40 drops the old name."""


@dataclass(frozen=True, slots=True, eq=False)
class GeneratedOutput:
    """One generated output, without begin and end tokens, and the probabilities of its tokens."""

    tokens: tuple[int, ...]
    """Generated token ids."""
    probability: NDArray[np.float32]
    """``(length,)``: of the chosen token."""
    neighborhood_probability: NDArray[np.float32]
    """``(length,)``: of all bins within `NEIGHBORHOOD` of a location token; of another token, its
    `probability`."""
    end_probability: NDArray[np.float32]
    """``(length,)``: of the end token at the same step."""


@dataclass(frozen=True, slots=True)
class DecodingRules:
    """Decoding settings of a checkpoint, from its generation configuration."""

    start: tuple[int, ...]
    """Token ids that every output begins with."""
    end: int
    padding: int
    no_repeat_ngram: int
    max_new_tokens: int

    @classmethod
    def from_model(
        cls, model: Florence2ForConditionalGeneration, max_new_tokens: int
    ) -> DecodingRules:
        """Read the settings of a checkpoint; those that it omits follow BART's convention."""
        settings, text = model.generation_config, model.config.text_config
        begin = settings.forced_bos_token_id
        start = text.decoder_start_token_id
        return cls(
            start=(start,) if begin is None else (start, begin),
            end=text.eos_token_id,
            padding=text.pad_token_id,
            no_repeat_ngram=settings.no_repeat_ngram_size or 0,
            max_new_tokens=max_new_tokens,
        )


class TokenScorer:
    """Computes three probabilities of a decoding step from its logits.

    Args:
        location_ids: token ids of the location bins, in order.
        end: token id that ends an output.
        vocabulary_size: number of tokens.
    """

    def __init__(self, location_ids: Sequence[int], end: int, vocabulary_size: int) -> None:
        self._locations = torch.tensor(location_ids)
        self._bins = torch.full((vocabulary_size,), -1)
        self._bins[self._locations] = torch.arange(len(location_ids))
        self._end = end

    def score(self, logits: Tensor, chosen: Tensor) -> Tensor:
        """Probabilities of the chosen tokens, of their neighborhoods and of the end token.

        Args:
            logits: ``(r, vocabulary_size)``.
            chosen: ``(r,)`` token ids.

        Returns:
            ``(r, 3)`` ``float32``. The neighborhood of a location token is all bins within
            `NEIGHBORHOOD`; that of another token is the token itself.
        """
        device = logits.device
        if self._bins.device != device:
            self._bins, self._locations = self._bins.to(device), self._locations.to(device)
        probabilities = logits.float().softmax(-1)
        chosen_probability = probabilities.gather(1, chosen[:, None])[:, 0]
        cumulative = probabilities[:, self._locations].cumsum(-1)
        cumulative = torch.nn.functional.pad(cumulative, (1, 0))
        bins = self._bins[chosen]
        last = cumulative.shape[1] - 1
        upper = (bins + NEIGHBORHOOD + 1).clamp(0, last)
        lower = (bins - NEIGHBORHOOD).clamp(0, last)
        mass = cumulative.gather(1, upper[:, None]) - cumulative.gather(1, lower[:, None])
        # Rounding of the cumulative sums must not make it less than the chosen token alone.
        neighborhood = torch.where(
            bins >= 0, mass[:, 0].maximum(chosen_probability), chosen_probability
        )
        return torch.stack(
            [chosen_probability, neighborhood.clamp(max=1), probabilities[:, self._end]], dim=1
        )


def decode_greedy(
    model: Florence2ForConditionalGeneration,
    encoded: Tensor,
    mask: Tensor,
    rules: DecodingRules,
    scorer: TokenScorer,
) -> list[GeneratedOutput]:
    """Decode one output per row greedily.

    Args:
        model: the model.
        encoded: ``(r, s, width)`` encoder states.
        mask: ``(r, s)``, 1 where a state is not padding.
        rules: decoding settings.
        scorer: computes the probabilities to keep of each step.

    Returns:
        One `GeneratedOutput` per row; its tokens equal those of ``generate`` with ``num_beams=1``.
    """
    rows = len(encoded)
    device = encoded.device
    tokens = torch.full((rows, rules.max_new_tokens), rules.padding, device=device)
    scores = torch.zeros(rows, rules.max_new_tokens, 3, device=device)
    start = torch.tensor(rules.start, device=device)
    ngrams = NoRepeatNGramLogitsProcessor(rules.no_repeat_ngram) if rules.no_repeat_ngram else None

    active = torch.arange(rows, device=device)
    running = torch.ones(rows, dtype=torch.bool, device=device)
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    input_ids = start.expand(rows, -1)
    for step in range(rules.max_new_tokens):
        logits = model(
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded),
            attention_mask=mask,
            decoder_input_ids=input_ids,
            use_cache=True,
            logits_to_keep=1,
            **{_CACHE_ARGUMENT: cache},
        ).logits[:, -1]
        allowed = logits
        if ngrams is not None:
            generated = torch.cat([start.expand(len(active), -1), tokens[active, :step]], dim=1)
            allowed = ngrams(generated, logits.float())
        chosen = allowed.argmax(-1)
        chosen = torch.where(running, chosen, rules.padding)
        tokens[active, step] = chosen
        scores[active, step] = scorer.score(logits, chosen)
        running = running & (chosen != rules.end)
        finished = len(running) - int(running.sum())
        if finished == len(running):
            break
        if finished > _COMPACT_AT * len(running):
            keep = running.nonzero()[:, 0]
            cache.batch_select_indices(keep)
            active, encoded, mask = active[keep], encoded[keep], mask[keep]
            chosen, running = chosen[keep], running[keep]
        input_ids = chosen[:, None]
    return _outputs(tokens, scores, rules)


def decode_beam_search(
    model: Florence2ForConditionalGeneration,
    encoded: Tensor,
    mask: Tensor,
    rules: DecodingRules,
    scorer: TokenScorer,
    num_beams: int,
) -> list[GeneratedOutput]:
    """Decode one output per row by beam search, then compute its probabilities in one pass.

    Arguments and result are those of `decode_greedy`; ``num_beams`` is the beam width.
    """
    sequences = model.generate(
        encoder_outputs=BaseModelOutput(last_hidden_state=encoded),
        attention_mask=mask,
        num_beams=num_beams,
        do_sample=False,
        early_stopping=True,
        max_new_tokens=rules.max_new_tokens,
    )
    logits = model(
        encoder_outputs=BaseModelOutput(last_hidden_state=encoded),
        attention_mask=mask,
        decoder_input_ids=sequences[:, :-1],
        use_cache=False,
    ).logits
    skipped = len(rules.start)
    tokens = sequences[:, skipped:]
    generated_logits = logits[:, skipped - 1 :]
    rows, length = tokens.shape
    scores = scorer.score(generated_logits.flatten(0, 1), tokens.flatten())
    return _outputs(tokens, scores.view(rows, length, 3), rules)


def _outputs(tokens: Tensor, scores: Tensor, rules: DecodingRules) -> list[GeneratedOutput]:
    ids, values = tokens.cpu().numpy(), scores.cpu().numpy()
    outputs = []
    for row, value in zip(ids, values, strict=True):
        ended = np.flatnonzero((row == rules.end) | (row == rules.padding))
        length = int(ended[0]) if len(ended) else len(row)
        outputs.append(
            GeneratedOutput(
                tokens=tuple(int(token) for token in row[:length]),
                probability=value[:length, 0],
                neighborhood_probability=value[:length, 1],
                end_probability=value[:length, 2],
            )
        )
    return outputs
