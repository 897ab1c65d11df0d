"""The questions that Florence-2 knows, and which caption an answered phrase belongs to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, TypeAlias

__all__ = ["CAPTION_TOKEN", "TASK_TOKENS", "Task", "grounding_text", "match_phrase"]

Task: TypeAlias = Literal[
    "open_vocabulary_detection",
    "phrase_grounding",
    "object_detection",
    "dense_region_caption",
    "caption_then_grounding",
]

TASK_TOKENS: dict[Task, str] = {
    "open_vocabulary_detection": "<OPEN_VOCABULARY_DETECTION>",
    "phrase_grounding": "<CAPTION_TO_PHRASE_GROUNDING>",
    "object_detection": "<OD>",
    "dense_region_caption": "<DENSE_REGION_CAPTION>",
    "caption_then_grounding": "<CAPTION_TO_PHRASE_GROUNDING>",
}
CAPTION_TOKEN = "<DETAILED_CAPTION>"
"""What the cascade asks first: names more things than a plain caption, and repeats itself less
than a paragraph."""
_ARTICLES = frozenset({"a", "an", "the"})


def grounding_text(captions: Sequence[str]) -> str:
    """One text that names all captions, as sentences: ``red circle. blue square.``"""
    return " ".join(f"{caption.rstrip('. ')}." for caption in captions)


def match_phrase(phrase: str, captions: Sequence[str]) -> str | None:
    """Find the caption of a joint question that an answered phrase stands for.

    A joint question leaves no other way to know than the words: an equal caption first (without
    case, punctuation and articles), then the caption that shares a whole run of words with the
    phrase, the longest such run winning and the earlier caption on a tie.

    Returns:
        The caption, or ``None`` if the phrase is about something else.
    """
    said = _words(phrase)
    best, longest = None, 0
    for caption in captions:
        asked = _words(caption)
        if asked == said:
            return caption
        shorter, other = sorted((asked, said), key=len)
        if shorter and _contains(other, shorter) and len(shorter) > longest:
            best, longest = caption, len(shorter)
    return best


def _words(text: str) -> list[str]:
    words = re.findall(r"\w+", text.casefold()) or text.casefold().split()  # such as emoji
    return [word for word in words if word not in _ARTICLES] or words


def _contains(words: Sequence[str], run: Sequence[str]) -> bool:
    return any(words[start : start + len(run)] == run for start in range(len(words) - len(run) + 1))
