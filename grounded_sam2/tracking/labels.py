"""What a track says of a frame, as a label."""

from __future__ import annotations

from dataclasses import replace

from grounded_sam2.config import Config
from grounded_sam2.results import Label, TrackOrigin
from grounded_sam2.tracking.detections import Sight, Sighting
from grounded_sam2.tracking.tracks import Track

__all__ = ["carried_label", "detected_label"]


def detected_label(track: Track, sight: Sight, thing: Sighting, config: Config) -> Label | None:
    """The label on a frame where the detector found it: the tracker's mask, the detector's box.

    ``None`` where the mask is worse than `SegmenterConfig.min_mask_quality`.
    """
    label = replace(
        thing.label,
        class_name=track.class_name,
        mask=sight.mask,
        mask_quality=sight.quality,
        track_id=track.identity,
        track_origin="detected",
    )
    if config.cleanup.boxes_from_masks:
        label = replace(label, box_xyxy=sight.box_xyxy)
    return _if_good(label, sight, config)


def carried_label(track: Track, sight: Sight, origin: TrackOrigin, config: Config) -> Label | None:
    """The label on another frame: the confidence is that of the detection it was carried from.

    ``None`` where the mask is worse than `SegmenterConfig.min_mask_quality`.
    """
    label = Label(
        class_name=track.class_name,
        caption=track.caption,
        box_xyxy=sight.box_xyxy,
        mask=sight.mask,
        confidence=track.confidence,
        mask_quality=sight.quality,
        track_id=track.identity,
        track_origin=origin,
    )
    return _if_good(label, sight, config)


def _if_good(label: Label, sight: Sight, config: Config) -> Label | None:
    return label if sight.quality >= config.segmenter.min_mask_quality else None
