"""Florence-2's answers: from generated token ids to phrases and boxes.

An answer to a detection question is text with location tokens in it: a phrase, then four tokens
per box, ``red circle<loc_120><loc_310><loc_402><loc_588>``. It is read from the token ids and
never from decoded text: that way no character of a phrase is lost, boxes stay floats, and every
box still knows the decoding steps that said it, which is what its confidence is made of. (The
processor's own post-processing goes through ASCII and truncates boxes to whole pixels; on
ordinary answers the two agree.)

Reading never raises. A group of locations that is cut off before its fourth is dropped, a phrase
without locations is dropped, surplus locations after the last full group are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["NUM_BINS", "OutputVocabulary", "ParsedBox", "bins_to_boxes", "parse_output"]

NUM_BINS = 1000
"""Location tokens per axis."""


@dataclass(frozen=True, slots=True, eq=False)
class OutputVocabulary:
    """What the tokens of a checkpoint mean in an answer."""

    bin_of_token: Mapping[int, int]
    """Location tokens and their bins, 0 to 999."""
    silent: frozenset[int]
    """Tokens that carry no text: begin, end, padding, markup."""
    decode: Callable[[Sequence[int]], str]
    """Turns text tokens into text."""


@dataclass(frozen=True, slots=True)
class ParsedBox:
    """One box of an answer, and the decoding steps that said it."""

    phrase: str
    bins: tuple[int, int, int, int]
    """xyxy, 0 to 999."""
    phrase_steps: tuple[int, ...]
    """Steps of the phrase's tokens; shared by the boxes of one phrase; empty without a phrase."""
    location_steps: tuple[int, int, int, int]

    @property
    def has_area(self) -> bool:
        """False for a box whose sides are swapped or fall together: the model lost its thread."""
        x1, y1, x2, y2 = self.bins
        return x1 < x2 and y1 < y2


def parse_output(tokens: Sequence[int], vocabulary: OutputVocabulary) -> list[ParsedBox]:
    """Read the boxes of one answer.

    Args:
        tokens: generated ids, with or without begin, end and padding tokens.
        vocabulary: what they mean.

    Returns:
        One `ParsedBox` per complete box, in the order of the answer; empty if there is none.
        Repetitions are kept: see `Florence2Detector` for what becomes of them.
    """
    instances: list[ParsedBox] = []
    phrase_steps: list[int] = []
    locations: list[int] = []

    def close_group() -> None:
        if locations:
            phrase = vocabulary.decode([tokens[step] for step in phrase_steps]).strip()
            for first in range(0, len(locations) - 3, 4):
                a, b, c, d = locations[first : first + 4]
                bins = tuple(vocabulary.bin_of_token[tokens[step]] for step in (a, b, c, d))
                instances.append(ParsedBox(phrase, bins, tuple(phrase_steps), (a, b, c, d)))  # type: ignore[arg-type]
            phrase_steps.clear()
            locations.clear()

    for step, token in enumerate(tokens):
        if token in vocabulary.bin_of_token:
            locations.append(step)
        elif token not in vocabulary.silent:
            close_group()
            phrase_steps.append(step)
    close_group()
    return instances


def bins_to_boxes(bins: ArrayLike, size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Turn location bins into boxes: each bin stands for its center.

    Args:
        bins: ``(n, 4)`` xyxy, 0 to 999.
        size_hw: height and width of the image, in pixels.

    Returns:
        ``(n, 4)`` xyxy in pixels; ``(0, 4)`` for no bins.
    """
    height, width = size_hw
    scale = np.array([width, height, width, height], np.float64) / NUM_BINS
    centers = np.asarray(bins, np.float64).reshape(-1, 4) + 0.5
    return (centers * scale).astype(np.float32)
