"""Re-identification: which track a detection continues where its frame alone leaves that open.

The mask of a track that has spilled over a neighbor agrees with both, one that has shrunk to a
remnant agrees with neither, and a lost track has no mask. So detections in question are propagated
backward, and each is matched with the track that its tracklet overlaps for longest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from grounded_sam2.config import Config
from grounded_sam2.geometry.matching import match_optimal
from grounded_sam2.geometry.overlap import mask_iou
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.models.protocols import FrameMasks
from grounded_sam2.tracking.backward_propagation import Tracklet, propagate_backward
from grounded_sam2.tracking.detections import Detection, FrameContext, FrameDetections
from grounded_sam2.tracking.mask_review import MaskReview
from grounded_sam2.tracking.matching import Matches
from grounded_sam2.tracking.object_masks import ObjectMask, pair_iou
from grounded_sam2.tracking.propagated_masks import PropagatedMasks, resolve_overlaps
from grounded_sam2.tracking.tracks import Track
from grounded_sam2.tracking.window import FrameWindow

__all__ = ["Reidentification", "match_tracklets", "reidentify"]

_REMNANT = 0.3
"""Share of its earlier mask: a smaller one is not what the track followed."""


@dataclass(frozen=True, slots=True, eq=False)
class Reidentification:
    """Tracklets of the detections in question, and the tracks that they continue."""

    tracklets: Mapping[int, Tracklet]
    """By object id of the detection; empty if no frame before can be propagated to."""
    tracks: Mapping[int, Track]
    """Tracks that detections continue, by object id of the detection."""

    def allows(self, detection: Detection, object_id: int) -> bool:
        """Whether a detection may be taken for a track: neither of them was re-identified as
        another one."""
        detection_of = {track.object_id: i for i, track in self.tracks.items()}
        if object_id in detection_of:
            return detection_of[object_id] == detection.object_id
        return detection.object_id not in self.tracks


def reidentify(
    found: FrameDetections,
    matches: Matches,
    review: MaskReview,
    propagated: PropagatedMasks,
    window: FrameWindow,
    context: FrameContext,
) -> Reidentification:
    """Propagate doubtful, returned and unmatched detections backward, and match them with tracks.

    Args:
        found: all detections of the frame.
        matches: matches of the detections with the tracks on this frame.
        review: tracks with doubtful masks.
        propagated: the tracks and their masks.
        window: the frames before; it is not changed.
        context: the frame.
    """
    in_question = [
        found.detections[index]
        for index in sorted({*review.doubtful, *matches.returned, *matches.unmatched})
    ]
    if not in_question or found.masks is None or context.begins_scene:
        return Reidentification({}, {})
    config, visible = context.config, propagated.visible
    doubtful = {found.detections[i].object_id: track for i, track in review.doubtful.items()}
    undoubted = [
        track
        for track in propagated.tracks
        if track.object_id in visible
        and track.object_id not in review.fragments
        and track.object_id not in doubtful.values()
    ]
    certain = {*matches.matched.values(), *matches.drifted.values(), *matches.duplicates.values()}
    certain.difference_update(doubtful.values())
    tracklets: dict[int, Tracklet] = {}
    if next(window.backward_indices(), None) is not None:
        object_ids = [detection.object_id for detection in in_question]
        track_masks = propagated.masks.select([track.object_id for track in undoubted])
        masks: FrameMasks = track_masks.concatenate([track_masks, found.masks.select(object_ids)])
        started = [Track.from_detection(detection, config.tracking) for detection in in_question]
        masks = resolve_overlaps(masks, [*undoubted, *started], context, detected=object_ids)
        tracklets = propagate_backward(
            {detection.object_id: detection.label.class_name for detection in in_question},
            masks.select(object_ids),
            {track.identity for track in propagated.tracks if track.object_id in certain},
            window,
            context,
        )
    candidates = [track for track in propagated.tracks if track.object_id not in certain]
    tracks = match_tracklets(
        in_question,
        tracklets,
        candidates,
        visible,
        window,
        config,
        fragments=review.fragments,
        matched=doubtful,
    )
    return Reidentification(tracklets, tracks)


def match_tracklets(
    detections: Sequence[Detection],
    tracklets: Mapping[int, Tracklet],
    tracks: Sequence[Track],
    visible: Mapping[int, ObjectMask],
    window: FrameWindow,
    config: Config,
    *,
    fragments: Collection[int] = (),
    matched: Mapping[int, int] | None = None,
) -> dict[int, Track]:
    """Match detections with tracks by the overlap of their masks on this frame and those before.

    The score of a pair is the sum of its IoUs over the frames, times the color similarity. The
    matches are one-to-one, with the highest sum of scores.

    Args:
        detections: those in question.
        tracklets: their masks on the frames before, by object id.
        tracks: those in question.
        visible: masks of the visible tracks on this frame, by object id; the others are absent.
        window: the frames before.
        config: thresholds.
        fragments: object ids of tracks that may be a fragment of a detected object.
        matched: object ids of tracks that detections are matched with on this frame, by object id
            of the detection.

    Returns:
        Tracks by object id of the detection.
    """
    matched = matched or {}
    scores = np.zeros((len(detections), len(tracks)))
    for row, detection in enumerate(detections):
        overlaps = _overlaps(tracklets.get(detection.object_id, ()), window)
        for column, track in enumerate(tracks):
            if not (
                config.cleanup.across_classes or detection.label.class_name == track.class_name
            ):
                continue
            similarity = track.similarity(detection.histogram, config.tracking)
            if not similarity:
                continue
            before = overlaps.get(track.identity, [])
            ious = [overlap for overlap, _ in before]
            current = visible.get(track.object_id)
            if current is not None:
                ious.append(pair_iou(detection.object_mask.mask, current.mask))
            is_available = (
                current is None
                or track.object_id in fragments
                or track.object_id in matched.values()
                or _has_lost_its_object(current, before, config)
            )
            if matched.get(detection.object_id) == track.object_id or (
                is_available and _is_one_object(ious, config)
            ):
                scores[row, column] = sum(ious) * similarity
    return {
        detections[row].object_id: tracks[column]
        for row, column in match_optimal(scores, 0).tolist()
    }


def _overlaps(tracklet: Tracklet, window: FrameWindow) -> dict[int, list[tuple[float, Rle]]]:
    """IoU of a tracklet with the labels of each frame, and the masks of these, by identity."""
    overlaps: dict[int, list[tuple[float, Rle]]] = {}
    for index, object_mask in tracklet:
        masks = window.masks(index)
        [ious] = mask_iou([object_mask.mask], list(masks.values())).tolist()
        for (identity, mask), iou in zip(masks.items(), ious, strict=True):
            overlaps.setdefault(identity, []).append((iou, mask))
    return overlaps


def _is_one_object(ious: Sequence[float], config: Config) -> bool:
    """Whether these can be the IoUs of two tracklets of one object."""
    options = config.tracking
    if not ious or max(ious) < options.match_iou:
        return False
    return float(np.mean(ious)) >= options.drift_iou


def _has_lost_its_object(
    current: ObjectMask, before: Sequence[tuple[float, Rle]], config: Config
) -> bool:
    """Whether an undetected track has left its object: its mask is of low quality, or a remnant of
    the earlier mask that overlaps the tracklet most."""
    if not before:
        return False
    _, earlier = max(before, key=lambda each: each[0])
    return (
        current.quality < config.tracking.low_quality or current.mask.area < _REMNANT * earlier.area
    )
