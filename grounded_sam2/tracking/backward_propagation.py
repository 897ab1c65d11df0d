"""Backward propagation: track detections back through the pending frames, from their boxes alone.

A detection is propagated until it is absent, its mask is of low quality, or a scene or the kept
features begin. It also stops where it meets a label of a track that is certain: from there on back
it is labeled already.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

from grounded_sam2.config import Config
from grounded_sam2.geometry.overlap import mask_iou
from grounded_sam2.models.protocols import FrameMasks
from grounded_sam2.results import Label
from grounded_sam2.tracking.detections import FrameContext
from grounded_sam2.tracking.object_masks import (
    ObjectMask,
    are_contained,
    masks_agree,
    visible_objects,
)
from grounded_sam2.tracking.tracks import Track
from grounded_sam2.tracking.window import FrameWindow, identity_of

__all__ = ["Tracklet", "label_backward", "propagate_backward"]

Tracklet: TypeAlias = tuple[tuple[int, ObjectMask], ...]
"""Masks of an object on consecutive frames before its detection, newest first, each with the index
of the frame in the window."""


def propagate_backward(
    class_names: Mapping[int, str],
    masks: FrameMasks,
    certain_identities: Collection[int],
    window: FrameWindow,
    context: FrameContext,
) -> dict[int, Tracklet]:
    """Track objects through the frames before the one on which they are detected.

    Args:
        class_names: classes of the objects, by object id.
        masks: their masks on that frame.
        certain_identities: identities of the tracks that are certain.
        window: the frames before; it is not changed.
        context: that frame, of the same scene as the last one of the window.

    Returns:
        A tracklet for each object, by object id; an empty one where it stops at once.
    """
    tracker, config = context.tracker, context.config
    active = set(masks.ids)
    tracklets: dict[int, list[tuple[int, ObjectMask]]] = {i: [] for i in masks.ids}
    state = tracker.update_state(
        context.features, tracker.empty_state(), context.position, masks, prompted=masks.ids
    )
    for index in window.backward_indices():
        if not active:
            break
        frame = window.pending[index]
        masks = tracker.propagate(frame.features, state, frame.position, reverse=True)
        certain = [label for label in frame.labels if identity_of(label) in certain_identities]
        visible = {
            object_id: found
            for object_id, found in visible_objects(
                masks.select(_good_object_ids(masks, config))
            ).items()
            if not _overlaps_label(found, class_names[object_id], certain, config)
        }
        for object_id, found in visible.items():
            tracklets[object_id].append((index, found))
        active = set(visible)
        if frame.begins_scene:
            break
        object_ids = [object_id for object_id in masks.ids if object_id in active]
        masks, state = masks.select(object_ids), state.select(object_ids)
        state = tracker.update_state(frame.features, state, frame.position, masks)
    return {object_id: tuple(steps) for object_id, steps in tracklets.items()}


def label_backward(
    window: FrameWindow,
    track: Track,
    tracklet: Tracklet,
    displaced: Collection[int],
    config: Config,
) -> None:
    """Add the labels of a track to the frames before, back to where they agree with the existing.

    Args:
        window: the frames; their labels are changed.
        track: in its present state.
        tracklet: its masks on the frames before.
        displaced: identities of tracks that turned out to be fragments of others; their labels
            inside this track are removed.
        config: thresholds.
    """
    for index, object_mask in tracklet:
        frame = window.pending[index]
        label = track.propagated_label(object_mask, "backwards", config)
        others: list[Label] = []
        for each in frame.labels:
            if identity_of(each) != track.identity:
                others.append(each)
            elif each.track_origin == "detected" or (
                each.mask is not None and masks_agree(each.mask, object_mask.mask, config.tracking)
            ):
                return
        others = [
            each
            for each in others
            if identity_of(each) not in displaced
            or each.mask is None
            or not any(are_contained([each.mask], [object_mask.mask]))
        ]
        if label is None or _overlaps_label(object_mask, track.class_name, others, config):
            return
        window.relabel(index, (*others, label))


def _good_object_ids(masks: FrameMasks, config: Config) -> list[int]:
    """Ids of the objects that are present with a mask that is not of low quality."""
    return [
        object_id
        for object_id, quality, score in zip(masks.ids, masks.quality, masks.score, strict=True)
        if score > 0 and round(float(quality), 4) >= config.tracking.low_quality
    ]


def _overlaps_label(
    object_mask: ObjectMask, class_name: str, labels: Sequence[Label], config: Config
) -> bool:
    """Whether one of the labels is of the same object."""
    masks = [
        label.mask
        for label in labels
        if label.mask is not None
        and (label.class_name == class_name or config.cleanup.across_classes)
    ]
    return bool((mask_iou([object_mask.mask], masks) >= config.tracking.match_iou).any())
