"""SAM 2: images are encoded once and asked for masks as often as needed; videos are tracked.

`Sam2Segmenter` is what the rest of the package uses for images. Below it: `prompts` says what can
be asked, `decoder` answers many prompts of an image in one pass, `complement` notices answers that
are the inverse of what was asked for, `masks` makes compact masks of the image's size.

`Sam2Tracker` is what it uses for videos, and can share a segmenter's model. Below it: `memory` lets
a frame look at what objects remember, `track_state` is what they remember.
"""

from __future__ import annotations

from grounded_sam2.models.sam2.prompts import Prompts
from grounded_sam2.models.sam2.segmenter import ImageEmbeddings, Sam2Segmenter
from grounded_sam2.models.sam2.track_masks import Sam2FrameMasks
from grounded_sam2.models.sam2.track_state import Sam2TrackerState
from grounded_sam2.models.sam2.tracker import Sam2Tracker

__all__ = [
    "ImageEmbeddings",
    "Prompts",
    "Sam2FrameMasks",
    "Sam2Segmenter",
    "Sam2Tracker",
    "Sam2TrackerState",
]
