"""Caption ontology: ordered captions, each mapped to a class.

Captions are the detector's input; classes are the dataset's categories. Several captions may lead
to one class (``car`` and ``automobile`` are both ``car``). Both orders are kept: captions are
requested in theirs, and a class id is the position of its first mention.

In YAML, people write classes first:

    ball: [red circle, orange circle]
    box: [blue square]

A mapping holds each class once, so that the captions of two classes cannot alternate in it.
The list form can, by naming a class again; `CaptionOntology.to_yaml` uses it when it must:

    - ball: [red circle]
    - box: [blue square]
    - ball: [orange circle]

Text is compared as people read it: Unicode is brought to its composed form (NFC), outer white space
is removed and inner white space becomes one blank, both in definitions and in look-ups.
Case is kept, since names differ by it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from grounded_sam2.config.yaml_files import find_yaml, read_yaml
from grounded_sam2.errors import OntologyError, PromptError

__all__ = ["CaptionOntology", "prompt_ontology", "resolve_ontology"]


class CaptionOntology:
    """Ordered captions, each mapped to a class. Immutable and hashable.

    Two ontologies are equal when they hold the same pairs in the same order: class ids depend on
    it. A caption given twice for the same class is requested once.

    Args:
        captions: caption → class, in the order to request them.

    Raises:
        OntologyError: no captions; a caption or class that is empty or not text; a caption that is
            given two classes.
    """

    __slots__ = ("_captions", "_classes")

    def __init__(self, captions: Mapping[str, str]) -> None:
        if not isinstance(captions, Mapping):
            raise OntologyError(
                f"ontology: must be a mapping of captions to classes, not {captions!r}; "
                "a YAML file is read with CaptionOntology.from_yaml"
            )
        self._fill(captions.items(), source="ontology")

    @classmethod
    def from_yaml(cls, name_or_path: str | Path) -> CaptionOntology:
        """Read the YAML of a shipped name (``shapes``) or of a path, in either of the two forms.

        Raises:
            OntologyError: as for a mapping, and for a missing file, text that is not YAML, a class
                written twice in the mapping form, or a class without a list of captions. Names the
                file and the entry.
        """
        path = find_yaml(name_or_path, kind="ontology")
        source = f"ontology {str(path)!r}"
        ontology = cls.__new__(cls)
        ontology._fill(_pairs(read_yaml(path, kind="ontology"), source), source=source)
        return ontology

    def to_yaml(self, path: str | Path) -> None:
        """Write a file that `from_yaml` reads back as an equal ontology (UTF-8)."""
        runs = [
            {name: [caption for caption, _ in pairs]}
            for name, pairs in groupby(self._captions.items(), key=lambda pair: pair[1])
        ]
        each_class_once = len(runs) == len(self._classes)
        document = {k: v for run in runs for k, v in run.items()} if each_class_once else runs
        text = yaml.safe_dump(
            document, allow_unicode=True, sort_keys=False, width=100, default_flow_style=None
        )
        Path(path).write_text(text, encoding="utf-8")

    def prompts(self) -> list[str]:
        """All captions, in the order to request them."""
        return list(self._captions)

    def classes(self) -> list[str]:
        """All classes, each once, in the order of first mention; the index is the class id."""
        return list(self._classes)

    def caption_to_class(self, caption: str) -> str:
        """The class of a caption.

        Raises:
            OntologyError: the ontology has no such caption.
        """
        try:
            return self._captions[_normalized(caption)]
        except KeyError:
            raise OntologyError(
                f"ontology: no caption {caption!r}; it has {', '.join(self._captions)}"
            ) from None

    def class_to_captions(self, class_name: str) -> list[str]:
        """The captions of a class, in the order to request them.

        Raises:
            OntologyError: the ontology has no such class.
        """
        name = self.classes()[self.class_id(class_name)]
        return [caption for caption, theirs in self._captions.items() if theirs == name]

    def class_id(self, class_name: str) -> int:
        """The position of a class in `classes`, from 0.

        Raises:
            OntologyError: the ontology has no such class.
        """
        try:
            return self._classes[_normalized(class_name)]
        except KeyError:
            raise OntologyError(
                f"ontology: no class {class_name!r}; it has {', '.join(self._classes)}"
            ) from None

    def to_dict(self) -> dict[str, str]:
        """Caption → class, in the order to request them: what the constructor takes, fit for
        JSON."""
        return dict(self._captions)

    # The names of autodistill's CaptionOntology for the two look-ups, so that its users can switch.
    # `prompts` and `classes` are called the same; ours names each class once.
    promptToClass = caption_to_class  # noqa: N815

    def classToPrompt(self, cls: str) -> str:  # noqa: N802
        """The first caption of a class; `class_to_captions` has all."""
        return self.class_to_captions(cls)[0]

    def __len__(self) -> int:
        """Number of captions."""
        return len(self._captions)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CaptionOntology):
            return NotImplemented
        return list(self._captions.items()) == list(other._captions.items())

    def __hash__(self) -> int:
        return hash(tuple(self._captions.items()))

    def __repr__(self) -> str:
        return f"CaptionOntology({self._captions!r})"

    def _fill(self, pairs: Iterable[tuple[object, object]], *, source: str) -> None:
        self._captions: dict[str, str] = {}
        for given_caption, given_class in pairs:
            name = _text(given_class, f"{source}: the class of caption {given_caption!r}")
            caption = _text(given_caption, f"{source}: a caption of class {name!r}")
            known = self._captions.setdefault(caption, name)
            if known != name:
                raise OntologyError(
                    f"{source}: caption {caption!r} is given to two classes, {known!r} and "
                    f"{name!r}; keep one"
                )
        if not self._captions:
            raise OntologyError(f"{source}: no captions; add a class with at least one")
        names = dict.fromkeys(self._captions.values())
        self._classes = {name: index for index, name in enumerate(names)}


def resolve_ontology(
    given: CaptionOntology | Mapping[str, str] | str | Path | None,
) -> CaptionOntology | None:
    """The ontology from any accepted form: an object, a mapping, a shipped name or a YAML file.

    Raises:
        OntologyError: see `CaptionOntology`.
    """
    if given is None or isinstance(given, CaptionOntology):
        return given
    if isinstance(given, Mapping):
        return CaptionOntology(given)
    return CaptionOntology.from_yaml(given)


def prompt_ontology(prompt: str | Sequence[str]) -> CaptionOntology:
    """The ontology of a one-off text prompt: each caption is its own class.

    Raises:
        PromptError: there is no caption, or one is empty or not text.
    """
    captions = [prompt] if isinstance(prompt, str) else prompt
    if not captions:
        raise PromptError("prompt: no captions; give at least one")
    for caption in captions:
        if not isinstance(caption, str) or not caption.strip():
            raise PromptError(f"prompt: caption {caption!r} is not text; give words")
    return CaptionOntology({caption: caption for caption in captions})


def _pairs(document: object, source: str) -> Iterator[tuple[object, object]]:
    """(caption, class) pairs of a parsed file, in order, from the mapping or the list form."""
    runs: list[Any] = document if isinstance(document, list) else [document or {}]
    for run in runs:
        if not isinstance(run, dict):
            raise OntologyError(
                f"{source}: must map classes to lists of captions, as in "
                f"`ball: [red circle, orange circle]`; found {run!r}"
            )
        for given_class, captions in run.items():
            name = _text(given_class, f"{source}: a class")
            if captions is None or captions == []:
                raise OntologyError(f"{source}: class {name!r} has no captions; add at least one")
            if not isinstance(captions, list):
                # A bare text is refused on purpose: in `red circle: ball` it would be taken for
                # the caption, of a user who wrote caption: class.
                raise OntologyError(
                    f"{source}: class {name!r} must have a list of captions, not {captions!r}; "
                    f"write `{name}: [...]`, the class first"
                )
            for caption in captions:
                yield caption, name


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise OntologyError(
            f"{what} is {value!r} ({type(value).__name__}), not text; in YAML, quote words that "
            "stand for other values, such as 'no', 'on', '1' or 'null'"
        )
    text = _normalized(value)
    if not text:
        raise OntologyError(f"{what} is empty; write its name or remove the entry")
    return text


def _normalized(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())
