"""What can be asked about a scene, and the right answer, in Florence-2's own format.

Florence-2 answers a detection question with text: a phrase, then four location tokens per box
(``red circle<loc_120><loc_310><loc_402><loc_588>``), in order; an empty text says that nothing
is there. Questions use the prompts that `Florence2Processor` puts in place of its task tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.demo.scenes import COLORS, SHAPES

__all__ = [
    "CORPUS",
    "NUM_BINS",
    "Question",
    "Thing",
    "ask_about_everything",
    "ask_for_caption",
    "boxes_to_bins",
]

NUM_BINS = 1000
_COLORS = tuple(COLORS)
_SHARE_ABSENT = 0.42
"""Nearly half of the questions are about things that are not there: saying no is half the job."""

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
"""Text that the tokenizer's merges are learnt from: every word above becomes one token."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One object of a scene as the answers name it."""

    color: str
    shape: str
    bins: tuple[int, int, int, int]
    """xyxy in thousandths of the image."""


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt and the answer that training asks for."""

    prompt: str
    answer: str


def boxes_to_bins(boxes: NDArray[np.float32]) -> NDArray[np.int64]:
    """Quantise xyxy boxes in [0, 1], ``(n, 4)``, to location bins as Florence-2 does."""
    return np.clip(np.floor(boxes * NUM_BINS), 0, NUM_BINS - 1).astype(np.int64)


def ask_for_caption(rng: np.random.Generator, things: Sequence[Thing]) -> Question:
    """Ask where the things of one caption are (open-vocabulary detection)."""
    color, shape = _absent(rng, things) if rng.random() < _SHARE_ABSENT else _present(rng, things)
    phrase = _phrase(rng, color, shape)
    found = _matching(things, color, shape)
    return Question(LOCATE.format(phrase), "".join(phrase + _locations(thing) for thing in found))


def ask_about_everything(rng: np.random.Generator, things: Sequence[Thing]) -> Question:
    """Ask a question about the whole image: grounding, detection, descriptions or a caption."""
    kinds: tuple[Callable[[np.random.Generator, Sequence[Thing]], Question], ...]
    kinds = (*[_ground_list] * 4, _ground_caption, _detect, _detect, _describe, _caption)
    return kinds[rng.integers(len(kinds))](rng, things)


def _ground_list(rng: np.random.Generator, things: Sequence[Thing]) -> Question:
    wanted: dict[str, tuple[str | None, str | None]] = {}
    for _ in range(int(rng.integers(1, 7))):
        there = rng.random() < 0.6
        color, shape = _present(rng, things) if there else _absent(rng, things)
        wanted[" ".join(filter(None, (color, shape)))] = color, shape
    answer = "".join(
        phrase + "".join(map(_locations, found))
        for phrase, query in wanted.items()
        if (found := _matching(things, *query))
    )
    return Question(GROUND.format(". ".join(wanted) + "."), answer)


def _ground_caption(rng: np.random.Generator, things: Sequence[Thing]) -> Question:
    groups: dict[str, list[Thing]] = {}
    for thing in things:
        groups.setdefault(f"{thing.color} {thing.shape}", []).append(thing)
    answer = "".join(name + "".join(map(_locations, group)) for name, group in groups.items())
    return Question(GROUND.format(_caption(rng, things).answer), answer)


def _detect(rng: np.random.Generator, things: Sequence[Thing]) -> Question:
    answer = "".join(f"{thing.color} {thing.shape}{_locations(thing)}" for thing in things)
    return Question(DETECT, answer)


def _describe(rng: np.random.Generator, things: Sequence[Thing]) -> Question:
    answer = "".join(
        f"{_article(thing.color)} {thing.color} {thing.shape}{_locations(thing)}"
        for thing in things
    )
    return Question(DENSE, answer)


def _caption(rng: np.random.Generator, things: Sequence[Thing]) -> Question:
    names = [f"{_article(thing.color)} {thing.color} {thing.shape}" for thing in things]
    return Question(str(rng.choice(CAPTION)), " and ".join(names))


def _present(rng: np.random.Generator, things: Sequence[Thing]) -> tuple[str | None, str | None]:
    thing = things[int(rng.integers(len(things)))]
    kind = rng.random()
    return (
        thing.color if kind < 0.8 else None,
        thing.shape if kind < 0.6 or kind >= 0.8 else None,
    )


def _absent(rng: np.random.Generator, things: Sequence[Thing]) -> tuple[str | None, str | None]:
    """Something that is not there, half of the time with a color and a shape that both are."""
    for _ in range(20):
        if rng.random() < 0.5:
            color: str | None = things[int(rng.integers(len(things)))].color
            shape: str | None = things[int(rng.integers(len(things)))].shape
        else:
            kind = rng.random()
            color = str(rng.choice(_COLORS)) if kind < 0.8 else None
            shape = str(rng.choice(SHAPES)) if kind < 0.6 or kind >= 0.8 else None
        if not _matching(things, color, shape):
            break
    return color, shape


def _matching(things: Sequence[Thing], color: str | None, shape: str | None) -> list[Thing]:
    return [t for t in things if color in (None, t.color) and shape in (None, t.shape)]


def _phrase(rng: np.random.Generator, color: str | None, shape: str | None) -> str:
    noun = shape or (str(rng.choice(NOUNS)) if rng.random() < 0.5 else None)
    words = " ".join(filter(None, (color, noun)))
    kind = rng.random()
    if noun and kind < 0.1:
        return f"{_article(words)} {words}"
    return f"the {words}" if noun and kind < 0.15 else words


def _article(words: str) -> str:
    return "an" if words[0] in "aeiou" else "a"


def _locations(thing: Thing) -> str:
    return "".join(f"<loc_{b}>" for b in thing.bins)
