"""Association: which detections of a frame continue a track, and which start a new one.

The tracker is prompted again with the box of a detection where the mask of its track is doubtful,
and where a lost track has returned. The new mask replaces the propagated one if it agrees better
with the detection's mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grounded_sam2.config import Config
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.models.protocols import FrameMasks, TrackerState
from grounded_sam2.tracking.backward_propagation import Tracklet
from grounded_sam2.tracking.detections import Detection, FrameContext
from grounded_sam2.tracking.mask_review import MaskReview
from grounded_sam2.tracking.matching import Matches
from grounded_sam2.tracking.object_masks import (
    ObjectMask,
    is_contained,
    pair_iou,
    visible_objects,
)
from grounded_sam2.tracking.propagated_masks import PropagatedMasks, exclusion_group
from grounded_sam2.tracking.reidentification import Reidentification
from grounded_sam2.tracking.tracks import Track
from grounded_sam2.tracking.window import FrameWindow

__all__ = ["Association", "associate"]


@dataclass(frozen=True, slots=True, eq=False)
class Association:
    """The detections of a frame, associated with tracks. Dictionaries are by object id of the
    track, unless stated."""

    detected: dict[int, Detection]
    """Detections that continue a track."""
    duplicates: dict[int, Detection]
    """Detections on a track that are not used for it, or give it another class."""
    corrected: dict[int, ObjectMask]
    """New masks of the detected tracks whose box prompt gave a better one."""
    prompted_masks: FrameMasks | None
    """The tracker's masks for all box prompts; ``None`` if there were none."""
    new: list[Detection]
    """Detections that start a track."""
    reidentified: dict[int, Track]
    """Older tracks that new detections continue, by object id of the detection."""


def associate(
    detections: Sequence[Detection],
    matches: Matches,
    review: MaskReview,
    reidentification: Reidentification,
    propagated: PropagatedMasks,
    state: TrackerState,
    window: FrameWindow,
    context: FrameContext,
) -> Association:
    """Associate the detections of a frame with tracks, and prompt the tracker where needed.

    Args:
        detections: all of the frame.
        matches: matches of the detections with the tracks on this frame.
        review: tracks with doubtful masks.
        reidentification: tracks that detections continue by the frames before.
        propagated: the tracks and their masks.
        state: the tracker's state.
        window: the frames before; it is not changed.
        context: the frame.
    """
    open_matches = {**review.doubtful, **matches.returned}
    confirmed = {
        index: object_id
        for index, object_id in open_matches.items()
        if reidentification.allows(detections[index], object_id)
    }
    boxes = {object_id: detections[index] for index, object_id in confirmed.items()}
    prompted_masks, corrected = _prompt_with_boxes(
        boxes, review.expected_masks, propagated.visible, state, context
    )
    detected: dict[int, Detection] = {}
    duplicates = {i: detections[index] for index, i in matches.duplicates.items()}
    new = set(matches.unmatched)
    for pairs in (matches.matched, matches.drifted, matches.returned):
        for index, object_id in pairs.items():
            if index in open_matches and index not in confirmed:
                new.add(index)
            elif object_id in corrected or index in matches.matched:
                detected[object_id] = detections[index]
            elif index in matches.drifted:
                duplicates[object_id] = detections[index]
            else:
                new.add(index)
    undoubted = [t for t in propagated.tracks if t.object_id in detected.keys() - corrected.keys()]
    starting = [
        detections[index]
        for index in sorted(new)
        if not _is_part_of_track(
            detections[index],
            undoubted,
            propagated.visible,
            reidentification,
            window,
            context.config,
        )
    ]
    object_ids = {detection.object_id for detection in starting}
    return Association(
        detected,
        duplicates,
        corrected,
        prompted_masks,
        starting,
        {i: track for i, track in reidentification.tracks.items() if i in object_ids},
    )


def _is_part_of_track(
    detection: Detection,
    tracks: Sequence[Track],
    visible: Mapping[int, ObjectMask],
    reidentification: Reidentification,
    window: FrameWindow,
    config: Config,
) -> bool:
    """Whether a new detection is only a part of one of some undoubted tracks, with which it may not
    share a pixel.

    Objects enter at the border of the image or from behind others. So a detection inside a track is
    a part if its tracklet lies inside the track on all its frames and has the track's colors, or if
    there is no tracklet."""
    if (
        detection.object_id not in reidentification.tracklets
        or detection.object_id in reidentification.tracks
    ):
        return False
    group = exclusion_group(Track.from_detection(detection, config.tracking), config)
    tracklet = reidentification.tracklets[detection.object_id]
    around = [
        track
        for track in tracks
        if track.object_id in visible
        and exclusion_group(track, config) == group
        and is_contained(detection.object_mask.mask, [visible[track.object_id].mask])
    ]
    if not tracklet:
        return bool(around)
    return config.tracking.min_similarity > 0 and any(
        track.similarity(detection.histogram, config.tracking) > 0
        and _lies_inside(tracklet, track, window)
        for track in around
    )


def _lies_inside(tracklet: Tracklet, track: Track, window: FrameWindow) -> bool:
    """Whether a tracklet lies inside a track on all its frames."""
    track_masks = [window.masks(index).get(track.identity) for index, _ in tracklet]
    return all(
        mask is not None and is_contained(object_mask.mask, [mask])
        for mask, (_, object_mask) in zip(track_masks, tracklet, strict=True)
    )


def _prompt_with_boxes(
    detections: Mapping[int, Detection],
    expected_masks: Mapping[int, Rle],
    visible: Mapping[int, ObjectMask],
    state: TrackerState,
    context: FrameContext,
) -> tuple[FrameMasks | None, dict[int, ObjectMask]]:
    """Prompt tracks with the boxes of their detections: all masks, and those that are better.

    A mask is better if it agrees more with the expected one than the propagated mask does; where
    the track is absent, if it agrees by `TrackingConfig.match_iou`.
    """
    if not detections:
        return None, {}
    prompts = {object_id: detection.prompt() for object_id, detection in detections.items()}
    masks: FrameMasks = context.tracker.prompt(context.features, prompts, state, context.position)
    better: dict[int, ObjectMask] = {}
    for object_id, found in visible_objects(masks).items():
        expected = expected_masks[object_id]
        agreement = pair_iou(expected, found.mask)
        if object_id in visible:
            is_better = agreement > pair_iou(expected, visible[object_id].mask)
        else:
            is_better = agreement >= context.config.tracking.match_iou
        if is_better:
            better[object_id] = found
    return masks, better
