"""Prompts about a scene and their target texts, in Florence-2's format.

Florence-2 outputs detections as text: a phrase, then four location tokens per box
(``red circle<loc_120><loc_310><loc_402><loc_588>``), in order; the text is empty if nothing is
found. The prompts are those that `Florence2Processor` substitutes for its task tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.demo.scenes import COLORS, SHAPES

__all__ = [
    "CORPUS",
    "NUM_BINS",
    "LabeledObject",
    "TextTarget",
    "boxes_to_bins",
    "detection_target",
    "whole_image_target",
]

NUM_BINS = 1000
_COLORS = tuple(COLORS)
_Query: TypeAlias = tuple[str | None, str | None]
"""Color and shape of a caption; ``None`` matches any."""
_SHARE_ABSENT = 0.42
"""Share of captions of absent objects: an empty output must be learned as well as a box."""

LOCATE = "Locate {} in the image."
GROUND = "Locate the phrases in the caption: {}"
DETECT = "Locate the objects with category name in the image."
DENSE = "Locate the objects in the image, with their descriptions."
CAPTION = (
    "What does the image describe?",
    "Describe in detail what is shown in the image.",
    "Describe with a paragraph what is shown in the image.",
)
NOUNS = ("shape", "object", "thing")
CORPUS: tuple[str, ...] = (
    *(LOCATE.format(f"{c} {s}") for c in _COLORS for s in SHAPES),
    *(f"{article} {c} {s}s" for article in ("a", "an", "the") for c in _COLORS for s in SHAPES),
    *(f"{c} {n}" for c in _COLORS for n in NOUNS),
    *(f"{s} and a {c}" for c in _COLORS for s in SHAPES),
    *(f"{c}. {s}. {c} {s}" for c in _COLORS for s in SHAPES),
    *(GROUND.format(f"{c} {s}") for c in _COLORS for s in SHAPES),
    *([DETECT, DENSE, *CAPTION] * 36),
)
"""Text that the tokenizer is trained on: every word above becomes one token."""


@dataclass(frozen=True, slots=True)
class LabeledObject:
    """One object of a scene: what the targets name, and its box."""

    color: str
    shape: str
    bins: tuple[int, int, int, int]
    """xyxy in thousandths of the image."""


@dataclass(frozen=True, slots=True)
class TextTarget:
    """A prompt and the text that the model is trained to output."""

    prompt: str
    output: str


def boxes_to_bins(boxes: NDArray[np.float32]) -> NDArray[np.int64]:
    """Quantize xyxy boxes ``(…, 4)`` in [0, 1] to location bins as Florence-2 does."""
    return np.clip(np.floor(boxes * NUM_BINS), 0, NUM_BINS - 1).astype(np.int64)


def detection_target(rng: np.random.Generator, objects: Sequence[LabeledObject]) -> TextTarget:
    """Open-vocabulary detection of one random caption, of a present or an absent object."""
    color, shape = _absent(rng, objects) if rng.random() < _SHARE_ABSENT else _present(rng, objects)
    phrase = _phrase(rng, color, shape)
    found = _matching(objects, color, shape)
    return TextTarget(LOCATE.format(phrase), "".join(phrase + _locations(each) for each in found))


def whole_image_target(rng: np.random.Generator, objects: Sequence[LabeledObject]) -> TextTarget:
    """A random task about the whole image: grounding, detection, descriptions or a caption."""
    tasks: tuple[Callable[[np.random.Generator, Sequence[LabeledObject]], TextTarget], ...]
    tasks = (*[_ground_list] * 4, _ground_caption, _detect, _detect, _describe, _caption)
    return tasks[rng.integers(len(tasks))](rng, objects)


def _ground_list(rng: np.random.Generator, objects: Sequence[LabeledObject]) -> TextTarget:
    queries: dict[str, _Query] = {}
    for _ in range(int(rng.integers(1, 7))):
        there = rng.random() < 0.6
        color, shape = _present(rng, objects) if there else _absent(rng, objects)
        queries[" ".join(filter(None, (color, shape)))] = color, shape
    output = "".join(
        phrase + "".join(map(_locations, found))
        for phrase, query in queries.items()
        if (found := _matching(objects, *query))
    )
    return TextTarget(GROUND.format(". ".join(queries) + "."), output)


def _ground_caption(rng: np.random.Generator, objects: Sequence[LabeledObject]) -> TextTarget:
    groups: dict[str, list[LabeledObject]] = {}
    for each in objects:
        groups.setdefault(f"{each.color} {each.shape}", []).append(each)
    output = "".join(name + "".join(map(_locations, group)) for name, group in groups.items())
    return TextTarget(GROUND.format(_caption(rng, objects).output), output)


def _detect(rng: np.random.Generator, objects: Sequence[LabeledObject]) -> TextTarget:
    output = "".join(f"{each.color} {each.shape}{_locations(each)}" for each in objects)
    return TextTarget(DETECT, output)


def _describe(rng: np.random.Generator, objects: Sequence[LabeledObject]) -> TextTarget:
    output = "".join(
        f"{_article(each.color)} {each.color} {each.shape}{_locations(each)}" for each in objects
    )
    return TextTarget(DENSE, output)


def _caption(rng: np.random.Generator, objects: Sequence[LabeledObject]) -> TextTarget:
    names = [f"{_article(each.color)} {each.color} {each.shape}" for each in objects]
    return TextTarget(str(rng.choice(CAPTION)), " and ".join(names))


def _present(rng: np.random.Generator, objects: Sequence[LabeledObject]) -> _Query:
    """Color, shape or both of a random object."""
    each = objects[int(rng.integers(len(objects)))]
    kind = rng.random()
    return (
        each.color if kind < 0.8 else None,
        each.shape if kind < 0.6 or kind >= 0.8 else None,
    )


def _absent(rng: np.random.Generator, objects: Sequence[LabeledObject]) -> _Query:
    """Color and shape of no object, in half of the cases each of them that of some object."""
    for _ in range(20):
        if rng.random() < 0.5:
            color: str | None = objects[int(rng.integers(len(objects)))].color
            shape: str | None = objects[int(rng.integers(len(objects)))].shape
        else:
            kind = rng.random()
            color = str(rng.choice(_COLORS)) if kind < 0.8 else None
            shape = str(rng.choice(SHAPES)) if kind < 0.6 or kind >= 0.8 else None
        if not _matching(objects, color, shape):
            break
    return color, shape


def _matching(
    objects: Sequence[LabeledObject], color: str | None, shape: str | None
) -> list[LabeledObject]:
    return [t for t in objects if color in (None, t.color) and shape in (None, t.shape)]


def _phrase(rng: np.random.Generator, color: str | None, shape: str | None) -> str:
    noun = shape or (str(rng.choice(NOUNS)) if rng.random() < 0.5 else None)
    words = " ".join(filter(None, (color, noun)))
    kind = rng.random()
    if noun and kind < 0.1:
        return f"{_article(words)} {words}"
    return f"the {words}" if noun and kind < 0.15 else words


def _article(words: str) -> str:
    return "an" if words[0] in "aeiou" else "a"


def _locations(each: LabeledObject) -> str:
    return "".join(f"<loc_{b}>" for b in each.bins)
