"""Parsing of Florence-2's output: from generated token ids to captions, boxes and confidence.

The output of a detection task is text with location tokens in it: a phrase, then four tokens per
box, ``red circle<loc_120><loc_310><loc_402><loc_588>``. It is parsed from the token ids and never
from decoded text: no character of a phrase is lost, boxes stay floats, and every box keeps the
decoding steps that generated it, from which its confidence is computed. (The processor's own
post-processing converts to ASCII and truncates boxes to whole pixels; on ordinary output the two
agree.)

Parsing never raises. A group of locations that ends before its fourth, a phrase without locations
and surplus locations after the last full group are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from transformers import Florence2Processor

from grounded_sam2.errors import CheckpointError
from grounded_sam2.results import DetectedBoxes

__all__ = [
    "NUM_BINS",
    "OutputVocabulary",
    "ParsedBox",
    "bins_to_boxes",
    "match_phrase",
    "parse_output",
    "to_detected_boxes",
]

NUM_BINS = 1000
"""Location tokens per axis."""
_ARTICLES = frozenset({"a", "an", "the"})


@dataclass(frozen=True, slots=True, eq=False)
class OutputVocabulary:
    """The meaning of a checkpoint's tokens in generated output."""

    bin_of_token: Mapping[int, int]
    """Location token ids and their bins, 0 to 999, in ascending order of the bins."""
    markup: frozenset[int]
    """Token ids that carry no text: begin, end, padding, tags."""
    decode: Callable[[Sequence[int]], str]
    """Decodes text tokens."""

    @classmethod
    def from_processor(cls, processor: Florence2Processor) -> OutputVocabulary:
        """Read the vocabulary of a checkpoint.

        Raises:
            CheckpointError: the tokenizer lacks location tokens.
        """
        tokenizer = processor.tokenizer
        names = [f"<loc_{i}>" for i in range(NUM_BINS)]
        added: dict[str, int] = tokenizer.get_added_vocab()
        if absent := [name for name in names if name not in added]:
            raise CheckpointError(
                f"tokenizer of {tokenizer.name_or_path!r} lacks {len(absent)} location tokens, "
                f"first {absent[0]!r}; use a Florence-2 checkpoint with its own processor"
            )
        bin_of_token = {added[name]: index for index, name in enumerate(names)}
        markup = (set(added.values()) | set(tokenizer.all_special_ids)) - set(bin_of_token)

        def decode(ids: Sequence[int]) -> str:
            return str(
                tokenizer.decode(
                    list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
                )
            )

        return cls(bin_of_token, frozenset(markup), decode)

    def text(self, tokens: Sequence[int]) -> str:
        """The text of generated tokens, without markup and surrounding space."""
        return self.decode([token for token in tokens if token not in self.markup]).strip()


@dataclass(frozen=True, slots=True)
class ParsedBox:
    """One box of a generated output, and the decoding steps that generated it."""

    phrase: str
    """The phrase before the box; empty if there is none."""
    bins: tuple[int, int, int, int]
    """xyxy, 0 to 999."""
    phrase_steps: tuple[int, ...]
    """Steps of the phrase's tokens; shared by the boxes of one phrase; empty without a phrase."""
    location_steps: tuple[int, int, int, int]
    """Steps of the four location tokens."""

    @property
    def has_area(self) -> bool:
        """False for an invalid box, whose sides are swapped or coincide."""
        x1, y1, x2, y2 = self.bins
        return x1 < x2 and y1 < y2


def parse_output(tokens: Sequence[int], vocabulary: OutputVocabulary) -> list[ParsedBox]:
    """Parse the boxes of one generated output.

    Args:
        tokens: generated ids, with or without begin, end and padding tokens.
        vocabulary: of the checkpoint.

    Returns:
        One `ParsedBox` per complete box, in the order of the output; ``[]`` if there is none.
        Repeated boxes and boxes without area are included: `to_detected_boxes` drops them.
    """
    boxes: list[ParsedBox] = []
    phrase_steps: list[int] = []
    locations: list[int] = []

    def close_group() -> None:
        if locations:
            phrase = vocabulary.decode([tokens[step] for step in phrase_steps]).strip()
            for first in range(0, len(locations) - 3, 4):
                a, b, c, d = locations[first : first + 4]
                bins = tuple(vocabulary.bin_of_token[tokens[step]] for step in (a, b, c, d))
                boxes.append(ParsedBox(phrase, bins, tuple(phrase_steps), (a, b, c, d)))  # type: ignore[arg-type]
            phrase_steps.clear()
            locations.clear()

    for step, token in enumerate(tokens):
        if token in vocabulary.bin_of_token:
            locations.append(step)
        elif token not in vocabulary.markup:
            close_group()
            phrase_steps.append(step)
    close_group()
    return boxes


def bins_to_boxes(bins: ArrayLike, size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Convert location bins to boxes; a bin stands for its center.

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


def to_detected_boxes(
    boxes: Sequence[tuple[str, ParsedBox, float]], size_hw: tuple[int, int]
) -> DetectedBoxes:
    """Convert the parsed boxes of one image to its detections.

    Args:
        boxes: caption, box and confidence of each.
        size_hw: height and width of the image, in pixels.

    Returns:
        The boxes that have an area, in order. Of boxes with equal caption and bins one is kept,
        with the highest of their confidences.
    """
    best: dict[tuple[str, tuple[int, int, int, int]], float] = {}
    for caption, box, confidence in boxes:
        if box.has_area:
            key = caption, box.bins
            best[key] = max(confidence, best.get(key, 0.0))
    bins = np.array([box for _, box in best], np.int64).reshape(-1, 4)
    return DetectedBoxes(
        boxes_xyxy=bins_to_boxes(bins, size_hw),
        captions=tuple(caption for caption, _ in best),
        confidence=np.array(list(best.values()), np.float32),
    )


def match_phrase(phrase: str, captions: Sequence[str]) -> str | None:
    """Find the caption that a phrase stands for, in the output of a prompt with several captions.

    Such output relates to captions by its words alone. An equal caption (ignoring case,
    punctuation and articles) wins; then the caption that contains the phrase, or is contained in
    it, as consecutive words: the longest match wins, and the earlier caption on a tie.

    Returns:
        The caption, or ``None`` if the phrase matches none.
    """
    generated = _words(phrase)
    best, longest = None, 0
    for caption in captions:
        requested = _words(caption)
        if requested == generated:
            return caption
        shorter, other = sorted((requested, generated), key=len)
        if shorter and _contains(other, shorter) and len(shorter) > longest:
            best, longest = caption, len(shorter)
    return best


def _words(text: str) -> list[str]:
    words = re.findall(r"\w+", text.casefold()) or text.casefold().split()  # such as emoji
    return [word for word in words if word not in _ARTICLES] or words


def _contains(words: Sequence[str], part: Sequence[str]) -> bool:
    size = len(part)
    return any(words[start : start + size] == part for start in range(len(words) - size + 1))
