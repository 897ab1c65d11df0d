"""Declarations of the toy types: options and facts, without the models' code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from grounded_sam2 import CaptionUse, DetectorConfig, ModelFacts, ModelType, SegmenterConfig

FACTS = ModelFacts(
    title="Toy", score_meaning="none: always the same", license="Apache-2.0", size="0 parameters"
)


@dataclass(frozen=True)
class ToyOptions(DetectorConfig):
    """Options of the toy detector."""

    speed_options: ClassVar[frozenset[str]] = frozenset({"batch_size", "threads"})

    type: str = "toy"
    checkpoint: str = "builtin"
    min_confidence: float = 0.5
    candidate_confidence: float = 0.2
    score: float = 0.9
    """Confidence of every box."""
    threads: int = 1
    """Changes nothing."""
    words: Literal["given", "own", "joined"] = "given"
    """``own``: colors are named by the model; ``joined``: captions influence each other."""

    @property
    def captions(self) -> CaptionUse:
        return CaptionUse(required=self.words != "own", interact=self.words == "joined")


@dataclass(frozen=True)
class ToyMasksOptions(DetectorConfig):
    """Options of the toy model that goes from words to masks."""

    type: str = "toy_masks"
    checkpoint: str = "builtin"
    min_confidence: float = 0.4
    candidate_confidence: float = 0.2

    @property
    def returns_masks(self) -> bool:
        return True


@dataclass(frozen=True)
class ToyLackingOptions(ToyMasksOptions):
    """Options of a model that has no method of a grounder."""

    type: str = "toy_lacking"


@dataclass(frozen=True)
class ToySegmenterOptions(SegmenterConfig):
    """Options of the toy segmenter."""

    type: str = "toy_segmenter"
    checkpoint: str = "builtin"


TOY = ModelType(
    section="detector",
    name="toy",
    options=ToyOptions,
    factory="toy_models.models:build_detector",
    facts=FACTS,
    checkpoint_model_types=("toy_color",),
)
TOY_MASKS = ModelType(
    section="detector",
    name="toy_masks",
    options=ToyMasksOptions,
    factory="toy_models.models:ColorGrounder",
    facts=FACTS,
)
TOY_LACKING = ModelType(
    section="detector",
    name="toy_lacking",
    options=ToyLackingOptions,
    factory="toy_models.models:build_detector",
    facts=FACTS,
)
TOY_SEGMENTER = ModelType(
    section="segmenter",
    name="toy_segmenter",
    options=ToySegmenterOptions,
    factory="toy_models.models:build_segmenter",
    facts=FACTS,
)
