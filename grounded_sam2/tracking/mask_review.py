"""Review of the propagated masks: which of them do the detections of a frame call into question.

The mask of a detection, segmented from a box alone, may spill over a neighbor. The propagated mask
of a track has the memory of many frames, but may have spilled or frayed as well. The mask of a
track is doubtful where a high-confidence detection disagrees with it or has other colors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

from grounded_sam2.config import Config
from grounded_sam2.geometry.masks import remove_overlaps
from grounded_sam2.geometry.overlap import mask_intersection
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.tracking.detections import Detection, FrameContext
from grounded_sam2.tracking.matching import Matches
from grounded_sam2.tracking.object_masks import ObjectMask, are_contained, masks_agree
from grounded_sam2.tracking.propagated_masks import (
    PropagatedMasks,
    exclusion_group,
    owner_by_color,
)
from grounded_sam2.tracking.tracks import Track, is_high_confidence

__all__ = ["MaskReview", "review_masks"]


@dataclass(frozen=True, slots=True)
class MaskReview:
    """Tracks whose masks are doubtful on a frame."""

    doubtful: Mapping[int, int]
    """Object ids of tracks with a doubtful mask, by index of the detection matched with them."""
    expected_masks: Mapping[int, Rle]
    """Masks of the matched detections without the parts that belong to other tracks, by object id
    of the track."""
    fragments: frozenset[int]
    """Object ids of tentative or low-quality tracks that may be a fragment of a detected object."""


def review_masks(
    propagated: PropagatedMasks,
    detections: Sequence[Detection],
    matches: Matches,
    context: FrameContext,
) -> MaskReview:
    """Compare the masks of the tracks with those of the detections matched with them.

    Args:
        propagated: the tracks and their masks.
        detections: all of the frame.
        matches: matches between the two.
        context: the frame.
    """
    visible, config = propagated.visible, context.config
    tracks = {track.object_id: track for track in propagated.tracks}
    fragments = _fragments(propagated, detections, matches, config)
    matched = {**matches.matched, **matches.drifted}
    agreed = {
        object_id: mask_intersection(visible[object_id].mask, detections[index].object_mask.mask)
        for index, object_id in matched.items()
    }
    others = [i for i in visible if i not in matched.values() and i not in fragments]
    contained = are_contained(
        [visible[i].mask for i in others], [d.object_mask.mask for d in detections]
    )
    undetected = {i: visible[i].mask for i in compress(others, contained)}

    def expected_mask(detection: Detection, track: Track) -> Rle:
        """The detection's mask without what other tracks agree on with their own detections, and
        without contained tracks that were not detected, unless they have this track's colors."""
        group, mask = exclusion_group(track, config), detection.object_mask.mask
        rivals = [
            other
            for object_id, other in tracks.items()
            if object_id != track.object_id and exclusion_group(other, config) == group
        ]
        taken = [agreed[rival.object_id] for rival in rivals if rival.object_id in agreed]
        taken += [
            undetected[rival.object_id]
            for rival in rivals
            if rival.object_id in undetected
            and owner_by_color(
                mask_intersection(undetected[rival.object_id], mask), track, rival, context
            )
            is not track
        ]
        return remove_overlaps([*taken, mask])[-1]

    expected = {
        object_id: expected_mask(detections[index], tracks[object_id])
        for index, object_id in {**matched, **matches.returned}.items()
    }
    doubtful = {
        index: object_id
        for index, object_id in matched.items()
        if is_high_confidence(detections[index].label.confidence, config.tracking)
        and (
            _needs_correction(visible[object_id], expected[object_id], config)
            or not tracks[object_id].similarity(detections[index].histogram, config.tracking)
        )
    }
    return MaskReview(doubtful, expected, fragments)


def _fragments(
    propagated: PropagatedMasks,
    detections: Sequence[Detection],
    matches: Matches,
    config: Config,
) -> frozenset[int]:
    """Object ids of undetected tracks that lie inside a detection and are of low mask quality or
    had too few hits. An object that is visible in two places, behind another one, is first
    tracked as two."""
    visible = propagated.visible
    detected = {
        *matches.matched.values(),
        *matches.drifted.values(),
        *matches.duplicates.values(),
    }
    uncertain = [
        track.object_id
        for track in propagated.tracks
        if track.object_id in visible
        and track.object_id not in detected
        and (
            track.hits < config.tracking.min_hits
            or visible[track.object_id].quality < config.tracking.low_quality
        )
    ]
    contained = are_contained(
        [visible[i].mask for i in uncertain], [d.object_mask.mask for d in detections]
    )
    return frozenset(compress(uncertain, contained))


def _needs_correction(object_mask: ObjectMask, expected: Rle, config: Config) -> bool:
    """Whether the mask of a track is of low quality, or disagrees with its detection's."""
    if object_mask.quality < config.tracking.low_quality:
        return True
    return not masks_agree(expected, object_mask.mask, config.tracking)
