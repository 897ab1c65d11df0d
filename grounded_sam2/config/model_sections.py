"""Sections ``detector`` and ``segmenter``: the keys that every type of model has.

Each type adds keys of its own in a subclass, which lies beside the model:
`grounded_sam2.models.florence2.model_type.Florence2Options` and so on. The files stay flat:

    detector:
      type: florence2
      min_confidence: 0.4   # every detector's
      num_beams: 3          # Florence-2's
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from grounded_sam2.config.validation import PositiveInt, UnitInterval, ValidatedSection

__all__ = ["CaptionUse", "DetectorConfig", "SegmenterConfig"]


@dataclass(frozen=True, slots=True)
class CaptionUse:
    """What a detector does with captions, given its options."""

    required: bool = True
    """Whether it detects captions; otherwise objects of its own choice, in its own words."""
    interact: bool = False
    """Whether the captions of an image change each other's boxes. They then belong to the identity
    of a run, and another caption is another run; otherwise it alone is detected later."""
    chosen_by: str = ""
    """The option that decides, with its value; the type by default."""
    alternative: str = ""
    """For the message of an error: what to choose for the opposite."""


@dataclass(frozen=True)
class DetectorConfig(ValidatedSection):
    """Options of every detector: captions in, boxes (or masks) and confidence out.

    A subclass per type adds its own keys, and gives every key a default.
    """

    section: ClassVar[str] = "detector"
    speed_options: ClassVar[frozenset[str]] = frozenset({"batch_size"})
    """Keys that change no label: a run may change them."""

    type: str
    """Which detector: ``grounded-sam2 models`` lists them."""
    checkpoint: str
    """Hub id, local folder (relative to the working directory), or ``demo`` for the embedded
    model. What `grounded_sam2.models.checkpoints` makes of other names is the type's choice."""
    min_confidence: UnitInterval
    """Detections below are not labels. Confidences of different detectors are not comparable, so
    that each type has its own default."""
    candidate_confidence: UnitInterval
    """Detections below are dropped; between it and `min_confidence` they are kept in the label
    store as candidates, so that a lower threshold needs no model. Each costs a mask."""
    batch_size: PositiveInt = 64
    """What the model processes together. Bounds its memory."""

    @property
    def captions(self) -> CaptionUse:
        """What the detector does with captions; by default it needs them, and each is detected
        regardless of the others."""
        return CaptionUse()

    @property
    def returns_masks(self) -> bool:
        """Whether the model returns masks by itself (`grounded_sam2.models.protocols.Grounder`), so
        that no segmenter is needed. By default it returns boxes (`Detector`)."""
        return False


@dataclass(frozen=True)
class SegmenterConfig(ValidatedSection):
    """Options of every segmenter: boxes in, masks and mask quality out.

    A subclass per type adds its own keys, and gives every key a default.
    """

    section: ClassVar[str] = "segmenter"
    speed_options: ClassVar[frozenset[str]] = frozenset()
    """Keys that change no label: a run may change them."""

    type: str
    """Which segmenter: ``grounded-sam2 models`` lists them."""
    checkpoint: str
    """Hub id, local folder (relative to the working directory), or ``demo`` for the embedded
    model."""
    min_mask_quality: UnitInterval = 0.0
    """Masks with a lower predicted IoU are dropped. Off: a low score is for a person to review."""
