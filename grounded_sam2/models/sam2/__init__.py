"""SAM 2: segmentation of images, encoded once for any number of prompts, and tracking in videos.

`Sam2Segmenter` segments images, on top of `prompts` (boxes, points and masks as rows), `decoder`
(many prompts of an image in one pass), `mask_prediction` (chosen masks, and repair of inverted
ones) and `masks` (run-length encoding at the size of the image).

`Sam2Tracker` tracks objects and can share the segmenter's model. It adds `memory` (memory attention
and encoder), `track_state` (memories of all objects), `track_mask_prediction` (masks from memories
and prompts) and `track_masks` (masks of a frame, overlaps).

Names are resolved when they are first used: `model_type` is read with every configuration, and
importing it must not load torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grounded_sam2.models.sam2.model_type import Sam2Options
    from grounded_sam2.models.sam2.prompts import Prompts
    from grounded_sam2.models.sam2.segmenter import ImageEmbeddings, Sam2Segmenter
    from grounded_sam2.models.sam2.track_masks import Sam2FrameMasks
    from grounded_sam2.models.sam2.track_state import Sam2TrackerState
    from grounded_sam2.models.sam2.tracker import Sam2Tracker

__all__ = [
    "ImageEmbeddings",
    "Prompts",
    "Sam2FrameMasks",
    "Sam2Options",
    "Sam2Segmenter",
    "Sam2Tracker",
    "Sam2TrackerState",
]

_MODULE_OF = {
    "ImageEmbeddings": "segmenter",
    "Prompts": "prompts",
    "Sam2FrameMasks": "track_masks",
    "Sam2Options": "model_type",
    "Sam2Segmenter": "segmenter",
    "Sam2Tracker": "tracker",
    "Sam2TrackerState": "track_state",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
