"""Masks of the tracks, propagated to a frame before anything is detected on it.

Overlaps between tracks are resolved, and masks that are clearly another object's are dropped.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from grounded_sam2.config import Config
from grounded_sam2.geometry.overlap import mask_containment, mask_intersection
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.models.protocols import FrameMasks
from grounded_sam2.tracking.color_histogram import ColorHistogram
from grounded_sam2.tracking.detections import FrameContext
from grounded_sam2.tracking.object_masks import ObjectMask, is_contained, visible_objects
from grounded_sam2.tracking.tracks import Track

__all__ = ["PropagatedMasks", "exclusion_group", "owner_by_color", "resolve_overlaps"]

_MIN_DISPUTED = 0.05
"""Share of a mask that another one covers, from which on colors decide whose it is: masks of
neighbors overlap a little along their border."""
_MIN_PIXELS = 20
"""A region of fewer pixels has no reliable histogram."""
_MIN_LEAD = 0.2
"""Difference of the similarities of a region to two tracks from which on it is clearly one's."""


@dataclass(frozen=True, eq=False)
class PropagatedMasks:
    """The tracks and their masks on a frame, propagated from the frame before."""

    tracks: tuple[Track, ...]
    """All active tracks."""
    raw_masks: FrameMasks
    """Each track's mask by itself; they may overlap."""
    masks: FrameMasks
    """The same with overlaps resolved: see `resolve_overlaps`."""

    @classmethod
    def from_tracker(
        cls, raw_masks: FrameMasks, tracks: tuple[Track, ...], context: FrameContext
    ) -> PropagatedMasks:
        """Resolve overlaps, and mark tracks as absent that have the colors of another object, or
        come back to where another track was a frame before.

        Args:
            raw_masks: the tracker's masks of the tracks.
            tracks: all active tracks.
            context: the frame.
        """
        raw_masks = raw_masks.mark_absent(_false_returns(raw_masks, tracks, context))
        propagated = cls(tracks, raw_masks, resolve_overlaps(raw_masks, tracks, context))
        options = context.config.tracking
        if not options.min_similarity:
            return propagated
        dissimilar = {
            track.object_id
            for track in tracks
            if (found := propagated.visible.get(track.object_id)) is not None
            and not track.accepts_propagated(
                ColorHistogram.from_mask(context.image, found.mask), options
            )
        }
        if not dissimilar:
            return propagated
        raw_masks = raw_masks.mark_absent(dissimilar)
        return cls(tracks, raw_masks, resolve_overlaps(raw_masks, tracks, context))

    @cached_property
    def visible(self) -> dict[int, ObjectMask]:
        """The visible tracks' masks, overlaps resolved, by object id."""
        return visible_objects(self.masks)

    @cached_property
    def raw_visible(self) -> dict[int, ObjectMask]:
        """The visible tracks' masks, each by itself, by object id."""
        return self.visible if self.raw_masks is self.masks else visible_objects(self.raw_masks)


def resolve_overlaps(
    masks: FrameMasks,
    tracks: Sequence[Track],
    context: FrameContext,
    detected: Collection[int] = (),
) -> FrameMasks:
    """Return masks of which those of one `exclusion_group` share no pixel.

    A region that two masks cover goes to the track whose colors it clearly has. A track that was
    absent gets no pixel of another, unless it is ``detected``.

    Args:
        masks: of the tracks.
        tracks: the tracks.
        context: the frame.
        detected: object ids of the tracks with a detection on this frame.
    """
    groups: dict[str, list[int]] = {}
    for track in tracks:
        groups.setdefault(exclusion_group(track, context.config), []).append(track.object_id)
    returning = {t.object_id for t in tracks if t.frames_absent and t.object_id not in detected}
    members = list(groups.values())
    resolved: FrameMasks = masks.without_overlaps(members, returning)
    if resolved is masks or not context.config.tracking.min_similarity:
        return resolved  # on most frames nothing overlaps
    owners = _owners_by_color(masks, tracks, context)
    return masks.without_overlaps(members, returning, owners) if owners else resolved


def exclusion_group(track: Track, config: Config) -> str:
    """Key of the tracks with which a track shares no pixel: see `TrackingConfig.exclusive`."""
    return {"none": str(track.object_id), "class": track.class_name, "all": ""}[
        config.tracking.exclusive
    ]


def owner_by_color(region: Rle, a: Track, b: Track, context: FrameContext) -> Track | None:
    """The one of two tracks whose colors a region clearly has; ``None`` for neither."""
    if region.area < _MIN_PIXELS or not context.config.tracking.min_similarity:
        return None
    histogram = ColorHistogram.from_mask(context.image, region)
    lead = a.histogram.similarity(histogram) - b.histogram.similarity(histogram)
    if abs(lead) < _MIN_LEAD:
        return None
    return a if lead > 0 else b


def _false_returns(
    raw_masks: FrameMasks, tracks: Sequence[Track], context: FrameContext
) -> set[int]:
    """Object ids of tracks that were absent and reappear where another track of their group was a
    frame before: an object does not leave that fast, so the mask is more likely still its own."""
    by_id = {track.object_id: track for track in tracks}
    returning = [
        object_id
        for object_id, score in zip(raw_masks.ids, raw_masks.score, strict=True)
        if score > 0 and by_id[object_id].frames_absent
    ]
    previous = context.previous_masks
    if not returning or not previous:
        return set()
    false_returns = set()
    for object_id, found in visible_objects(raw_masks.select(returning)).items():
        group = exclusion_group(by_id[object_id], context.config)
        others = [
            previous[other.identity]
            for other in tracks
            if other.object_id != object_id
            and other.identity in previous
            and exclusion_group(other, context.config) == group
        ]
        if is_contained(found.mask, others):
            false_returns.add(object_id)
    return false_returns


def _owners_by_color(
    masks: FrameMasks, tracks: Sequence[Track], context: FrameContext
) -> list[tuple[int, int]]:
    """Pairs of object ids of overlapping tracks: the region that both cover clearly has the colors
    of the first."""
    visible = visible_objects(masks)
    present = [track for track in tracks if track.object_id in visible]
    rles = [visible[track.object_id].mask for track in present]
    containment = mask_containment(rles, rles)
    owners: list[tuple[int, int]] = []
    for i, j in combinations(range(len(present)), 2):
        a, b = present[i], present[j]
        one_group = exclusion_group(a, context.config) == exclusion_group(b, context.config)
        if not one_group or max(containment[i, j], containment[j, i]) < _MIN_DISPUTED:
            continue
        owner = owner_by_color(mask_intersection(rles[i], rles[j]), a, b, context)
        if owner is not None:
            other = b if owner is a else a
            owners.append((owner.object_id, other.object_id))
    return owners
