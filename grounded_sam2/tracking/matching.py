"""One-to-one matching of the detections of a frame with the tracks.

In this order. Each detection and each track is matched at most once; where there is a choice, the
pairs with the highest sum of scores are taken (the Hungarian method):

1. *matched*: one class, and the masks overlap by `TrackingConfig.match_iou`.
2. *drifted*: one class, and the masks overlap by `TrackingConfig.drift_iou`. Not if the two look
   clearly different: then the track has spilled over a neighbor, and the detection is that one.
3. *duplicates*: a remaining detection on the mask of a track is a second detection of its object.
   Under `CleanupConfig.across_classes`, whatever its class. Not if it lies beside the detection
   that the track was matched with: then the track has spilled over both.
4. *returned*: one class, and the track was lost near the detection, which has its colors and is not
   much larger. Under `CleanupConfig.across_classes` then also another class: a sliver is easily
   classified as something else.

The remaining detections are unmatched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.config import Config, TrackingConfig
from grounded_sam2.geometry import boxes
from grounded_sam2.geometry.matching import match_optimal
from grounded_sam2.geometry.overlap import mask_iou
from grounded_sam2.tracking.detections import Detection
from grounded_sam2.tracking.object_masks import ObjectMask
from grounded_sam2.tracking.tracks import Track

__all__ = ["Matches", "match_detections"]

_MAX_GROWTH = 4.0
"""Largest ratio of the area of an object that returns to its largest area before: twice as near to
the camera. There is no lower limit, as it may come out from behind another object."""
_CLEARLY_DIFFERENT = 0.5
"""Share of `TrackingConfig.min_similarity` below which two objects look clearly different."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Matches of the detections of a frame. Keys are indices of detections, values object ids of
    tracks."""

    matched: Mapping[int, int] = field(default_factory=dict)
    drifted: Mapping[int, int] = field(default_factory=dict)
    returned: Mapping[int, int] = field(default_factory=dict)
    duplicates: Mapping[int, int] = field(default_factory=dict)
    unmatched: tuple[int, ...] = ()
    """Indices of detections."""


def match_detections(
    detections: Sequence[Detection],
    tracks: Sequence[Track],
    visible: Mapping[int, ObjectMask],
    config: Config,
) -> Matches:
    """Match the detections of a frame with the tracks.

    Args:
        detections: all of the frame.
        tracks: all active tracks.
        visible: propagated masks of the visible tracks, by object id; the other tracks are absent.
        config: thresholds.
    """
    options = config.tracking
    present = [track for track in tracks if track.object_id in visible]
    overlap = mask_iou(
        [d.object_mask.mask for d in detections], [visible[t.object_id].mask for t in present]
    )
    same_class = _same_class(detections, present)
    assignment = _Assignment(len(detections))
    matched = assignment.assign(present, np.where(same_class, overlap, 0), options.match_iou)
    similar = _not_clearly_different(detections, present, options)
    drifted = assignment.assign(
        present, np.where(same_class & similar, overlap, 0), options.drift_iou
    )
    min_iou = np.where(same_class, options.match_iou, np.inf)
    if config.cleanup.across_classes:
        min_iou = np.minimum(min_iou, config.cleanup.merge_iou)
    duplicates: dict[int, int] = {}
    if present:
        # A limit may be 0; objects that do not touch are never one
        beside = _beside_own_detection(
            detections, present, {**matched, **drifted}, options.drift_iou
        )
        scores = np.where((overlap >= min_iou) & (overlap > 0) & ~beside, overlap, -1.0)
        for index in assignment.unmatched.copy():
            best = int(np.argmax(scores[index]))
            if scores[index, best] >= 0:
                duplicates[index] = present[best].object_id
                assignment.unmatched.remove(index)
    returned: dict[int, int] = {}
    if options.reid_by == "place":
        lost = [t for t in tracks if t.object_id not in visible and t.last_box_xyxy is not None]
        scores = _proximity(detections, lost, options.reid_distance)
        scores *= _similarity(detections, lost, options)
        returned = assignment.assign(lost, np.where(_same_class(detections, lost), scores, 0), 0.0)
        if config.cleanup.across_classes:
            returned |= assignment.assign(lost, scores, 0.0)
    return Matches(matched, drifted, returned, duplicates, tuple(assignment.unmatched))


class _Assignment:
    """Successive one-to-one assignments of detections to tracks."""

    def __init__(self, detection_count: int) -> None:
        self.unmatched = list(range(detection_count))
        self._assigned: set[int] = set()

    def assign(
        self, tracks: Sequence[Track], scores: NDArray[np.float64], min_score: float
    ) -> dict[int, int]:
        """Assign what is unmatched by ``(n, m)`` scores; object ids by index of the detection."""
        columns = [i for i, track in enumerate(tracks) if track.object_id not in self._assigned]
        rows = self.unmatched
        pairs = {
            rows[row]: tracks[columns[column]].object_id
            for row, column in match_optimal(scores[np.ix_(rows, columns)], min_score).tolist()
        }
        self.unmatched = [index for index in rows if index not in pairs]
        self._assigned.update(pairs.values())
        return pairs


def _same_class(detections: Sequence[Detection], tracks: Sequence[Track]) -> NDArray[np.bool_]:
    """``(n, m)`` ``bool``."""
    return _pairwise(
        detections, tracks, lambda detection, track: detection.label.class_name == track.class_name
    ).astype(bool)


def _pairwise(
    detections: Sequence[Detection],
    tracks: Sequence[Track],
    value: Callable[[Detection, Track], float],
) -> NDArray[np.float64]:
    """``(n, m)``, also where one of them is 0."""
    values = [[value(detection, track) for track in tracks] for detection in detections]
    return np.array(values, np.float64).reshape(len(detections), len(tracks))


def _beside_own_detection(
    detections: Sequence[Detection],
    tracks: Sequence[Track],
    pairs: Mapping[int, int],
    min_iou: float,
) -> NDArray[np.bool_]:
    """``(n, m)`` ``bool``: whether the track has another detection of its own, and the two
    detections overlap by less than a limit."""
    masks = [detection.object_mask.mask for detection in detections]
    overlap = mask_iou(masks, masks)
    beside = np.zeros((len(detections), len(tracks)), np.bool_)
    columns = {track.object_id: column for column, track in enumerate(tracks)}
    for index, object_id in pairs.items():
        beside[:, columns[object_id]] = overlap[:, index] < min_iou
    return beside


def _not_clearly_different(
    detections: Sequence[Detection], tracks: Sequence[Track], options: TrackingConfig
) -> NDArray[np.bool_]:
    """``(n, m)`` ``bool``."""
    limit = options.min_similarity * _CLEARLY_DIFFERENT
    if not limit:
        return np.ones((len(detections), len(tracks)), np.bool_)
    similarity = _pairwise(
        detections, tracks, lambda detection, track: track.histogram.similarity(detection.histogram)
    )
    return similarity >= limit


def _similarity(
    detections: Sequence[Detection], tracks: Sequence[Track], options: TrackingConfig
) -> NDArray[np.float64]:
    """``(n, m)``: see `Track.similarity`."""
    return _pairwise(
        detections, tracks, lambda detection, track: track.similarity(detection.histogram, options)
    )


def _proximity(
    detections: Sequence[Detection], lost: Sequence[Track], max_distance: float
) -> NDArray[np.float64]:
    """``(n, m)``: 1 where the track was lost, falling to 0 at `max_distance` (in sizes of the
    object); 0 for a detection that is much larger."""
    detected = np.array([d.object_mask.box_xyxy for d in detections], np.float64).reshape(-1, 4)
    last = np.array([track.last_box_xyxy for track in lost], np.float64).reshape(-1, 4)
    sizes = np.array([track.max_side for track in lost], np.float64)
    offset = _centers(detected)[:, None] - _centers(last)[None]
    distance = np.hypot(offset[..., 0], offset[..., 1])
    reach = max_distance * sizes
    proximity = np.maximum(1 - distance / np.where(reach > 0, reach, np.inf), 0) * (reach > 0)
    is_small_enough = boxes.areas(detected)[:, None] <= _MAX_GROWTH * sizes**2
    result: NDArray[np.float64] = proximity * is_small_enough
    return result


def _centers(boxes_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    return (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
