"""The type ``sam2`` of segmenters (SAM 2, SAM 2.1, EdgeTAM): its options, checkpoints and facts.

Read with every configuration: nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from grounded_sam2.config.model_sections import SegmenterConfig
from grounded_sam2.config.model_types import ModelFacts, ModelType
from grounded_sam2.config.validation import PositiveInt, UnitInterval
from grounded_sam2.models.checkpoint_identity import EMBEDDED

__all__ = ["SAM2", "Sam2Options"]

_SIZES = ("tiny", "small", "base-plus", "large")


@dataclass(frozen=True)
class Sam2Options(SegmenterConfig):
    """Options of SAM 2.

    Short names of checkpoints: ``tiny``, ``small``, ``base-plus``, ``large`` are
    ``facebook/sam2.1-hiera-<name>``; with ``sam2-`` before them (``sam2-tiny``) they are
    ``facebook/sam2-hiera-<name>``; ``edgetam`` is ``yonigozlan/EdgeTAM-hf``.
    """

    speed_options: ClassVar[frozenset[str]] = frozenset({"prompts_per_batch"})

    type: Literal["sam2"] = "sam2"
    checkpoint: str = "facebook/sam2.1-hiera-tiny"
    """A box leaves little ambiguity, so that tiny loses little to large and costs a sixth."""
    min_mask_quality: UnitInterval = 0.0
    multimask: bool = False
    """Choose among three masks per prompt. For single points; a box is unambiguous."""
    mask_threshold: float = 0.0
    """Logit above which a pixel belongs to the mask. SAM 2 was trained for 0."""
    prompts_per_batch: PositiveInt = 64
    """Prompts decoded together. Bounds the memory of full-resolution masks, whatever the number
    of objects."""
    complement: Literal["repair", "flag"] = "repair"
    """What to do with a mask that lies mostly outside its box: predict it again, or flag it."""


SAM2 = ModelType(
    section="segmenter",
    name="sam2",
    options=Sam2Options,
    factory="grounded_sam2.models.sam2.segmenter:Sam2Segmenter.from_config",
    tracker="grounded_sam2.models.sam2.tracker:Sam2Tracker.for_segmenter",
    facts=ModelFacts(
        title="SAM 2, SAM 2.1, EdgeTAM",
        score_meaning="IoU of the mask with the object, as the model predicts it",
        license="Apache-2.0",
        size="39 M (tiny) to 224 M (large) parameters",
    ),
    short_names={
        **{size: f"facebook/sam2.1-hiera-{size}" for size in _SIZES},
        **{f"sam2-{size}": f"facebook/sam2-hiera-{size}" for size in _SIZES},
        "edgetam": "yonigozlan/EdgeTAM-hf",
    },
    embedded=EMBEDDED / "segmenter",
    checkpoint_model_types=("sam2", "sam2_video", "edgetam", "edgetam_video"),
)
