"""The type ``florence2`` of detectors: its options, its checkpoints and facts about it.

Read with every configuration: nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from grounded_sam2.config.model_sections import CaptionUse, DetectorConfig
from grounded_sam2.config.model_types import ModelFacts, ModelType
from grounded_sam2.config.validation import PositiveInt, UnitInterval
from grounded_sam2.models.checkpoint_identity import EMBEDDED

__all__ = ["FLORENCE2", "Florence2Options", "Task"]

Task: TypeAlias = Literal[
    "open_vocabulary_detection",
    "phrase_grounding",
    "object_detection",
    "dense_region_caption",
    "caption_then_grounding",
]


@dataclass(frozen=True)
class Florence2Options(DetectorConfig):
    """Options of Florence-2.

    Short names of checkpoints: ``base``, ``large``, ``base-ft``, ``large-ft``.
    """

    type: Literal["florence2"] = "florence2"
    checkpoint: str = "florence-community/Florence-2-base"
    """The default is the smallest public one, 0.23 B parameters: it runs on a laptop."""
    min_confidence: UnitInterval = 0.3
    """Boxes for captions of absent objects score below it."""
    candidate_confidence: UnitInterval = 0.1
    batch_size: PositiveInt = 64
    """Caption rows decoded together, from however many images. Decoding is bound by reading the
    weights, so wide batches are nearly free until memory ends."""
    task: Task = "open_vocabulary_detection"
    """Detection caption by caption can report absence; grounding forces each phrase onto some
    region. The last three need no ontology."""
    num_beams: PositiveInt = 1
    """Greedy: three beams cost three times the decoding for slightly steadier boxes."""
    max_new_tokens: PositiveInt = 256
    """An instance takes four tokens and a phrase a few more: about 60 instances per caption."""

    @property
    def captions(self) -> CaptionUse:
        """Captions are detected one by one, or together (``phrase_grounding``), or not at all."""
        required = self.task in ("open_vocabulary_detection", "phrase_grounding")
        return CaptionUse(
            required=required,
            interact=self.task == "phrase_grounding",
            chosen_by=f"detector.task '{self.task}'",
            alternative="a task without captions such as 'object_detection'"
            if required
            else "'open_vocabulary_detection'",
        )


FLORENCE2 = ModelType(
    section="detector",
    name="florence2",
    options=Florence2Options,
    factory="grounded_sam2.models.florence2.detector:Florence2Detector.from_config",
    facts=ModelFacts(
        title="Florence-2",
        score_meaning="likelihood of the generated tokens of a box",
        license="MIT",
        size="0.23 B (base) or 0.77 B (large) parameters",
        caption_limit="a caption, with its image, must fit into the model's input",
        captions_per_pass="one; all of an image with task phrase_grounding",
    ),
    short_names={
        size: f"florence-community/Florence-2-{size}"
        for size in ("base", "large", "base-ft", "large-ft")
    },
    embedded=EMBEDDED / "detector",
    checkpoint_model_types=("florence2",),
)
