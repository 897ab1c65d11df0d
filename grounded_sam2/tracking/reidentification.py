"""Which track is it? Where the frame at hand leaves that open, the frames before tell.

A track that has spilled over a neighbor agrees with both, one that has shrunk to a crumb agrees
with neither, and one that was lost is not there. The things that the detector finds are followed
back, and each is the track that was on it for longest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from grounded_sam2.config import Config
from grounded_sam2.geometry.matching import match_optimal
from grounded_sam2.geometry.overlap import mask_iou
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.tracking.backward_propagation import Trail
from grounded_sam2.tracking.detections import Sight, Sighting
from grounded_sam2.tracking.mask_overlap import iou
from grounded_sam2.tracking.tracks import Track
from grounded_sam2.tracking.window import Window

__all__ = ["heirs"]

_CRUMB = 0.3
"""Share of its mask: what is left of a track that has less is not what it followed."""


def heirs(
    things: Sequence[Sighting],
    trails: Mapping[int, Trail],
    tracks: Sequence[Track],
    seen: Mapping[int, Sight],
    pieces: Collection[int],
    matched: Mapping[int, int],
    window: Window,
    config: Config,
) -> dict[int, Track]:
    """The tracks that things turn out to be.

    Each pair is worth the IoU of its masks, summed over the frames, as far as it looks alike; the
    sum of all is the highest.

    Args:
        things: those in question.
        trails: where they were before, by number.
        tracks: those in question.
        seen: what the tracker sees of them on this frame, by number; the others are gone.
        pieces: numbers of those that may be but a piece of a thing.
        matched: numbers of tracks that things are said to be on this frame, by number of the thing.
        window: the frames before.
        config: thresholds.

    Returns:
        By number of the thing; each track at most once.
    """
    votes = np.zeros((len(things), len(tracks)))
    for row, thing in enumerate(things):
        met = _met(trails.get(thing.number, ()), window)
        for column, track in enumerate(tracks):
            if not (config.cleanup.across_classes or thing.label.class_name == track.class_name):
                continue
            likeness = track.likeness(thing.appearance, config.tracking)
            if not likeness:
                continue
            before = met.get(track.identity, [])
            ious = [overlap for overlap, _ in before]
            here = seen.get(track.number)
            if here is not None:
                ious.append(iou(thing.sight.mask, here.mask))
            is_free = (
                here is None
                or track.number in pieces
                or track.number in matched.values()
                or _has_left(here, before, config)
            )
            if matched.get(thing.number) == track.number or (is_free and _is_one(ious, config)):
                votes[row, column] = sum(ious) * likeness
    return {things[row].number: tracks[column] for row, column in match_optimal(votes, 0).tolist()}


def _met(trail: Trail, window: Window) -> dict[int, list[tuple[float, Rle]]]:
    """IoU of a thing with the labels on the frames before, and their masks, by identity."""
    met: dict[int, list[tuple[float, Rle]]] = {}
    for place, sight in trail:
        masks = window.masks(place)
        [overlaps] = mask_iou([sight.mask], list(masks.values())).tolist()
        for (identity, mask), overlap in zip(masks.items(), overlaps, strict=True):
            met.setdefault(identity, []).append((overlap, mask))
    return met


def _is_one(ious: Sequence[float], config: Config) -> bool:
    """Whether these can be the IoUs of one thing from frame to frame."""
    options = config.tracking
    if not ious or max(ious) < options.match_iou:
        return False
    return float(np.mean(ious)) >= options.drift_iou


def _has_left(here: Sight, met: Sequence[tuple[float, Rle]], config: Config) -> bool:
    """Whether a track that no detection speaks for has left what it followed: it is doubtful, or a
    crumb."""
    if not met:
        return False
    _, followed = max(met, key=lambda each: each[0])
    return here.quality < config.tracking.low_quality or here.mask.area < _CRUMB * followed.area
