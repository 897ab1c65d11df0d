"""What users may give where captions are wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from grounded_sam2.errors import PromptError
from grounded_sam2.ontology import CaptionOntology

__all__ = ["chosen_ontology", "one_off"]


def chosen_ontology(
    given: CaptionOntology | Mapping[str, str] | str | Path | None,
) -> CaptionOntology | None:
    if given is None or isinstance(given, CaptionOntology):
        return given
    if isinstance(given, Mapping):
        return CaptionOntology(given)
    return CaptionOntology.from_yaml(given)


def one_off(prompt: str | Sequence[str]) -> CaptionOntology:
    captions = [prompt] if isinstance(prompt, str) else prompt
    if not captions:
        raise PromptError("prompt: no captions; say what to look for")
    for caption in captions:
        if not isinstance(caption, str) or not caption.strip():
            raise PromptError(f"prompt: caption {caption!r} is no text; say what to look for")
    return CaptionOntology({caption: caption for caption in captions})
