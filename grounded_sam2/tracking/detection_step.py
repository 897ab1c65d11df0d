"""Detection step: update the tracks of a frame with its detections.

    match ─► review masks ─► re-identify ─► associate ─► start, continue, end ─► resolve overlaps

The propagated mask of a track stays, because it has the memory of many frames and the box only
this one, unless the mask is doubtful and the box gives a better one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress

from grounded_sam2.config import Config
from grounded_sam2.geometry.overlap import mask_iou
from grounded_sam2.models.protocols import FrameMasks, TrackerState
from grounded_sam2.tracking.association import Association, associate
from grounded_sam2.tracking.backward_propagation import Tracklet
from grounded_sam2.tracking.color_histogram import ColorHistogram
from grounded_sam2.tracking.detections import Detection, FrameContext, FrameDetections
from grounded_sam2.tracking.mask_review import MaskReview, review_masks
from grounded_sam2.tracking.matching import match_detections
from grounded_sam2.tracking.object_masks import ObjectMask, are_contained, visible_objects
from grounded_sam2.tracking.propagated_masks import PropagatedMasks, resolve_overlaps
from grounded_sam2.tracking.reidentification import reidentify
from grounded_sam2.tracking.tracks import Track
from grounded_sam2.tracking.window import FrameWindow

__all__ = ["FrameTracks", "update_tracks"]


@dataclass(frozen=True, slots=True, eq=False)
class FrameTracks:
    """Tracks and masks of a frame. The fields with defaults are set by a detection step only."""

    masks: FrameMasks
    """Masks of all tracks, including new ones."""
    visible: Mapping[int, ObjectMask]
    """Masks of the visible tracks, by object id."""
    tracks: tuple[Track, ...]
    """All tracks that are active from here on."""
    false_positives: tuple[Track, ...] = ()
    """Tentative tracks that end without confirmation; their labels are to be removed."""
    reclassified: tuple[Track, ...] = ()
    """Active tracks whose class has changed."""
    detected: Mapping[int, Detection] = field(default_factory=dict)
    """Detections, by object id of the track."""
    prompted: frozenset[int] = frozenset()
    """Object ids of the tracks that were prompted on this frame."""
    tracklets: Mapping[int, Tracklet] = field(default_factory=dict)
    """Masks of the prompted tracks on the frames before, by object id."""
    displaced: frozenset[int] = frozenset()
    """Identities of tracks that turned out to be fragments of others."""


def update_tracks(
    found: FrameDetections,
    propagated: PropagatedMasks,
    state: TrackerState,
    window: FrameWindow,
    context: FrameContext,
) -> FrameTracks:
    """Update the tracks of a frame with its detections.

    Args:
        found: all detections of the frame.
        propagated: the tracks and their masks.
        state: the tracker's state.
        window: the frames before; it is not changed.
        context: the frame; its tracker is prompted where a mask is to be corrected.
    """
    config, detections, visible = context.config, found.detections, propagated.visible
    matches = match_detections(detections, propagated.tracks, visible, config)
    review = review_masks(propagated, detections, matches, context)
    reidentification = reidentify(found, matches, review, propagated, window, context)
    association = associate(
        detections, matches, review, reidentification, propagated, state, window, context
    )
    detected, corrected = dict(association.detected), association.corrected

    continued = {track.object_id for track in association.reidentified.values()}
    older = [track for track in propagated.tracks if track.object_id not in continued]
    displaced = _displaced(older, review, association, visible, config)
    duplicates = _duplicate_tracks(older, detected, {**propagated.raw_visible, **corrected}, config)
    active, false_positives = _count_hits_and_misses(
        older, detected, association.duplicates, {**visible, **corrected}, config
    )
    started = [_start(each, association.reidentified, config) for each in association.new]
    class_names = {track.identity: track.class_name for track in propagated.tracks}
    reclassified = [
        track
        for track in (*active, *started)
        if track.class_name != class_names.get(track.identity, track.class_name)
    ]
    detected |= {
        track.object_id: association.duplicates[track.object_id]
        for track in reclassified
        if track.object_id in association.duplicates
    }
    detected |= {detection.object_id: detection for detection in association.new}

    masks = _concatenate(found, propagated.masks, association, continued)
    masks = masks.mark_absent(duplicates | {track.object_id for track in displaced})
    masks = resolve_overlaps(masks, [*active, *started], context, detected)
    after = visible_objects(masks)
    started = [track for track in started if track.object_id in after]
    known = {*(track.object_id for track in propagated.tracks), *association.reidentified}
    detection_masks = {i: after[i] for i in detected if i in after}
    prompts = {object_id: detected[object_id].object_id for object_id in corrected}
    prompts |= {detection.object_id: detection.object_id for detection in association.new}
    tracklets = reidentification.tracklets
    return FrameTracks(
        masks=masks,
        visible=after,
        tracks=tuple(
            _update_histogram(
                track,
                detection_masks.get(track.object_id),
                context,
                is_known=track.object_id in known,
            )
            for track in (*active, *started)
        ),
        false_positives=tuple(false_positives),
        reclassified=tuple(reclassified),
        detected={i: detection for i, detection in detected.items() if i in after},
        prompted=frozenset(after.keys() & prompts.keys()),
        tracklets={i: tracklets[source] for i, source in prompts.items() if source in tracklets},
        displaced=frozenset(track.identity for track in displaced),
    )


def _displaced(
    tracks: Sequence[Track],
    review: MaskReview,
    association: Association,
    visible: Mapping[int, ObjectMask],
    config: Config,
) -> list[Track]:
    """Undetected tracks that are a fragment of an object that is now segmented whole."""
    doubtful = set(review.doubtful.values())
    uncertain = [
        track
        for track in tracks
        if track.object_id in visible
        and track.object_id not in association.detected
        and (
            track.object_id in review.fragments
            or (track.object_id in doubtful and track.hits < config.tracking.min_hits)
        )
    ]
    whole = [object_mask.mask for object_mask in association.corrected.values()]
    whole += [detection.object_mask.mask for detection in association.new]
    return list(
        compress(uncertain, are_contained([visible[t.object_id].mask for t in uncertain], whole))
    )


def _start(detection: Detection, reidentified: Mapping[int, Track], config: Config) -> Track:
    """The track of a new detection, which may continue an older one."""
    track = Track.from_detection(detection, config.tracking)
    older = reidentified.get(track.object_id)
    return track if older is None else track.reidentified_as(older, config.tracking)


def _update_histogram(
    track: Track, object_mask: ObjectMask | None, context: FrameContext, *, is_known: bool
) -> Track:
    """A track after a frame with a detection: histogram of the mask that is tracked. The mask that
    the box gave may have covered more, such as a part of a neighbor."""
    if object_mask is None or not context.config.tracking.min_similarity:
        return track
    histogram = ColorHistogram.from_mask(context.image, object_mask.mask)
    return track.with_histogram(histogram) if is_known else replace(track, histogram=histogram)


def _concatenate(
    found: FrameDetections,
    propagated: FrameMasks,
    association: Association,
    continued: set[int],
) -> FrameMasks:
    """Masks of all tracks, older and new; `continued` are replaced by new ones."""
    kept = [i for i in propagated.ids if i not in association.corrected and i not in continued]
    parts = [propagated.select(kept)]
    if association.prompted_masks is not None:
        parts.append(association.prompted_masks.select(association.corrected))
    if found.masks is not None:
        parts.append(found.masks.select([detection.object_id for detection in association.new]))
    masks: FrameMasks = propagated.concatenate(parts)
    return masks


def _count_hits_and_misses(
    tracks: Sequence[Track],
    detected: Mapping[int, Detection],
    duplicates: Mapping[int, Detection],
    visible: Mapping[int, ObjectMask],
    config: Config,
) -> tuple[list[Track], list[Track]]:
    """Return the tracks that stay active, updated, and the tentative ones that were not detected.

    A confirmed track ends after `TrackingConfig.max_misses` detection steps that did not find it
    while its mask was of low quality.

    Args:
        tracks: before the frame.
        detected: detections that continue a track, by its object id.
        duplicates: detections on a track that are not used for it, or give it another class.
        visible: masks of the visible tracks, by object id.
        config: thresholds.
    """
    options = config.tracking
    active: list[Track] = []
    false_positives: list[Track] = []
    for track in tracks:
        object_id = track.object_id
        if object_id in detected:
            active.append(track.with_detection(detected[object_id].label, options))
        elif object_id in duplicates:
            label = duplicates[object_id].label
            if label.class_name != track.class_name:
                active.append(track.with_detection(label, options))
            else:
                active.append(replace(track, misses=0))
        elif not track.is_confirmed:
            false_positives.append(track)
        elif object_id not in visible:
            active.append(track)
        else:
            is_doubtful = visible[object_id].quality < options.low_quality
            after = replace(track, misses=track.misses + 1 if is_doubtful else 0)
            if after.misses < options.max_misses:
                active.append(after)
    return active, false_positives


def _duplicate_tracks(
    tracks: Sequence[Track],
    detected: Mapping[int, Detection],
    visible: Mapping[int, ObjectMask],
    config: Config,
) -> set[int]:
    """Object ids of undetected tracks whose mask lies on that of a detected one: they have drifted
    from their own object to that one's."""
    found = [t for t in tracks if t.object_id in detected]
    others = [t for t in tracks if t.object_id in visible and t.object_id not in detected]
    ious = mask_iou(
        [visible[t.object_id].mask for t in others], [visible[t.object_id].mask for t in found]
    )
    return {
        track.object_id
        for track, row in zip(others, ious, strict=True)
        if any(
            iou >= config.cleanup.nms_iou
            and (config.cleanup.across_classes or track.class_name == other.class_name)
            for iou, other in zip(row, found, strict=True)
        )
    }
