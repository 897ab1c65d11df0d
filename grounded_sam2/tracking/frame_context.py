"""The frame at hand, and whom to ask about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from grounded_sam2.config import Config
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.models.protocols import AnyTracker, Detector, FrameFeatures
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.results import Image

__all__ = ["Now"]


@dataclass(frozen=True, slots=True, eq=False)
class Now:
    """What every step on a frame needs."""

    image: Image
    encoded: FrameFeatures
    """The same, as the tracker sees it."""
    position: int
    """Its place in the sequence of frames that are processed, from 0."""
    begins_scene: bool
    before: Mapping[int, Rle]
    """Masks on the frame before, by identity of the track; none where a scene begins, and where no
    frame waits."""
    detector: Detector
    tracker: AnyTracker
    ontology: CaptionOntology | None
    """Captions and classes; ``None`` for tasks without captions."""
    config: Config
