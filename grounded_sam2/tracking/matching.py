"""Which detection is which track.

In this order, and each detection and each track at most once; where there is a choice, the pairs
whose worth has the highest sum (the Hungarian method):

1. *same*: one class, and the masks agree.
2. *drifted*: one class, and the masks agree a little. Not if the two look clearly different: then
   the track has spilled over a neighbor, and the detection is that.
3. *known*: what is left of the detections but lies where a track is seen, is that thing once more.
   Under `CleanupConfig.across_classes`, whatever class it is given. Not if it lies beside the
   detection that the track was paired with: then the track has spilled over both.
4. *returned*: one class, and the track was lost near where the detection is, which looks like it
   and is not much larger. Under `CleanupConfig.across_classes` then also another class: a sliver
   is easily taken for something else.

What is left then is new.
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
from grounded_sam2.tracking.detections import Sight, Sighting
from grounded_sam2.tracking.tracks import Track

__all__ = ["Matches", "match"]

_MOST_GROWTH = 4.0
"""A thing that returns is not larger than it ever was by more than this, by area: twice as near.
It may be small, as it comes from behind something."""
_CLEARLY_DIFFERENT = 0.5
"""Share of the likeness that is asked for, below which two look clearly different."""


@dataclass(frozen=True, slots=True)
class Matches:
    """What became of the detections of a frame: all by place among the detections."""

    same: Mapping[int, int] = field(default_factory=dict)
    """Number of the track."""
    drifted: Mapping[int, int] = field(default_factory=dict)
    returned: Mapping[int, int] = field(default_factory=dict)
    known: Mapping[int, int] = field(default_factory=dict)
    new: tuple[int, ...] = ()


def match(
    things: Sequence[Sighting],
    tracks: Sequence[Track],
    seen: Mapping[int, Sight],
    config: Config,
) -> Matches:
    """Pair the detections of a frame with the tracks.

    Args:
        things: the detections.
        tracks: all that are being followed.
        seen: what the tracker sees of them on this frame, by number; the others are gone.
        config: thresholds.
    """
    options = config.tracking
    here = [track for track in tracks if track.number in seen]
    overlap = mask_iou([t.sight.mask for t in things], [seen[t.number].mask for t in here])
    one_class = _one_class(things, here)
    left = _Left(len(things))
    same = left.pair(here, np.where(one_class, overlap, 0), options.match_iou)
    alike = _are_alike(things, here, options)
    drifted = left.pair(here, np.where(one_class & alike, overlap, 0), options.drift_iou)
    limits = np.where(one_class, options.match_iou, np.inf)
    if config.cleanup.across_classes:
        limits = np.minimum(limits, config.cleanup.merge_iou)
    known: dict[int, int] = {}
    if here:
        # A limit may be 0; things that do not touch are never one
        beside = _beside_its_own(things, here, {**same, **drifted}, options.drift_iou)
        enough = np.where((overlap >= limits) & (overlap > 0) & ~beside, overlap, -1.0)
        for place in left.things.copy():
            nearest = int(np.argmax(enough[place]))
            if enough[place, nearest] >= 0:
                known[place] = here[nearest].number
                left.things.remove(place)
    returned: dict[int, int] = {}
    if options.reid_by == "place":
        lost = [t for t in tracks if t.number not in seen and t.place_xyxy is not None]
        nearness = _nearness(things, lost, options.reid_distance)
        nearness *= _likeness(things, lost, options)
        returned = left.pair(lost, np.where(_one_class(things, lost), nearness, 0), 0.0)
        if config.cleanup.across_classes:
            returned |= left.pair(lost, nearness, 0.0)
    return Matches(same, drifted, returned, known, tuple(left.things))


class _Left:
    """Detections and tracks that have no partner yet."""

    def __init__(self, count: int) -> None:
        self.things = list(range(count))
        self._taken: set[int] = set()

    def pair(
        self, tracks: Sequence[Track], worth: NDArray[np.float64], least: float
    ) -> dict[int, int]:
        """Pair what is left by ``(n, m)`` worths; number of the track by place of the thing."""
        columns = [i for i, track in enumerate(tracks) if track.number not in self._taken]
        rows = self.things
        pairs = {
            rows[row]: tracks[columns[column]].number
            for row, column in match_optimal(worth[np.ix_(rows, columns)], least).tolist()
        }
        self.things = [place for place in rows if place not in pairs]
        self._taken.update(pairs.values())
        return pairs


def _one_class(things: Sequence[Sighting], tracks: Sequence[Track]) -> NDArray[np.bool_]:
    """``(n, m)``."""
    return _of_pairs(things, tracks, lambda a, b: a.label.class_name == b.class_name).astype(bool)


def _of_pairs(
    things: Sequence[Sighting],
    tracks: Sequence[Track],
    value: Callable[[Sighting, Track], float],
) -> NDArray[np.float64]:
    """``(n, m)``, also where one of them is 0."""
    values = [[value(thing, track) for track in tracks] for thing in things]
    return np.array(values, np.float64).reshape(len(things), len(tracks))


def _beside_its_own(
    things: Sequence[Sighting], tracks: Sequence[Track], pairs: Mapping[int, int], least: float
) -> NDArray[np.bool_]:
    """``(n, m)``: whether a track has another detection of its own, and the two share little."""
    masks = [thing.sight.mask for thing in things]
    shared = mask_iou(masks, masks)
    beside = np.zeros((len(things), len(tracks)), np.bool_)
    columns = {track.number: column for column, track in enumerate(tracks)}
    for place, number in pairs.items():
        beside[:, columns[number]] = shared[:, place] < least
    return beside


def _are_alike(
    things: Sequence[Sighting], tracks: Sequence[Track], options: TrackingConfig
) -> NDArray[np.bool_]:
    """``(n, m)``: whether they do not look clearly different."""
    least = options.min_similarity * _CLEARLY_DIFFERENT
    if not least:
        return np.ones((len(things), len(tracks)), np.bool_)
    return _of_pairs(things, tracks, lambda a, b: b.appearance.likeness(a.appearance)) >= least


def _likeness(
    things: Sequence[Sighting], tracks: Sequence[Track], options: TrackingConfig
) -> NDArray[np.float64]:
    """``(n, m)``: how much they look alike."""
    return _of_pairs(things, tracks, lambda a, b: b.likeness(a.appearance, options))


def _nearness(
    things: Sequence[Sighting], lost: Sequence[Track], farthest: float
) -> NDArray[np.float64]:
    """``(n, m)``: 1 at the place where a track was lost, 0 as far away as it may return, in its
    sizes, and for what is much larger."""
    found = np.array([thing.sight.box_xyxy for thing in things], np.float64).reshape(-1, 4)
    places = np.array([track.place_xyxy for track in lost], np.float64).reshape(-1, 4)
    sizes = np.array([track.size for track in lost], np.float64)
    offset = _centers(found)[:, None] - _centers(places)[None]
    distance = np.hypot(offset[..., 0], offset[..., 1])
    reach = farthest * sizes
    nearness = np.maximum(1 - distance / np.where(reach > 0, reach, np.inf), 0) * (reach > 0)
    alike = boxes.areas(found)[:, None] <= _MOST_GROWTH * sizes**2
    result: NDArray[np.float64] = nearness * alike
    return result


def _centers(boxes_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    return (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
