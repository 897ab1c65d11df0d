"""Which masks of tracks do the detections of a frame call into question?

A detection says where a thing is, but its mask, from a box alone, may spill over a neighbor; the
mask of the track knows the thing, but may have spilled as well, or frayed. Where the two disagree,
or do not look alike, and the detection is sure, the track is in doubt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

from grounded_sam2.config import Config
from grounded_sam2.geometry.masks import remove_overlaps
from grounded_sam2.geometry.overlap import mask_intersection
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.tracking.detections import Sight, Sighting
from grounded_sam2.tracking.frame_context import Now
from grounded_sam2.tracking.mask_overlap import agree, are_pieces
from grounded_sam2.tracking.matching import Matches
from grounded_sam2.tracking.propagated import Carried, kind_of, owner_of
from grounded_sam2.tracking.tracks import Track, is_sure

__all__ = ["Doubts", "doubts_about"]


@dataclass(frozen=True, slots=True)
class Doubts:
    """What is to be asked again of a frame, or to be learnt from those before."""

    pairs: Mapping[int, int]
    """Tracks in doubt: their numbers, by place of the detection that is the same thing."""
    expected: Mapping[int, Rle]
    """Masks of detections without what is others', by number of the track that each is said to
    be."""
    pieces: frozenset[int]
    """Numbers of tracks that may be but a piece of a thing that was detected."""


def doubts_about(
    carried: Carried, things: Sequence[Sighting], matches: Matches, now: Now
) -> Doubts:
    """Compare the masks of tracks with those of the detections that they are matched with.

    Args:
        carried: the tracks.
        things: the detections.
        matches: which is which.
        now: the frame.
    """
    seen, config = carried.seen, now.config
    tracks = {track.number: track for track in carried.tracks}
    pieces = _pieces(carried, things, matches, config)
    matched = {**matches.same, **matches.drifted}
    agreed = {
        number: mask_intersection(seen[number].mask, things[place].sight.mask)
        for place, number in matched.items()
    }
    others = [n for n in seen if n not in matched.values() and n not in pieces]
    lie_inside = are_pieces([seen[n].mask for n in others], [t.sight.mask for t in things])
    missed = {n: seen[n].mask for n in compress(others, lie_inside)}

    def expected_of(thing: Sighting, track: Track) -> Rle:
        """Without what others' detections agree with, and what lies in it, was missed, and does
        not look like a part of it."""
        kind, mask = kind_of(track, config), thing.sight.mask
        rivals = [t for n, t in tracks.items() if n != track.number and kind_of(t, config) == kind]
        taken = [agreed[rival.number] for rival in rivals if rival.number in agreed]
        taken += [
            missed[rival.number]
            for rival in rivals
            if rival.number in missed
            and owner_of(mask_intersection(missed[rival.number], mask), track, rival, now)
            is not track
        ]
        return remove_overlaps([*taken, mask])[-1]

    expected = {
        number: expected_of(things[place], tracks[number])
        for place, number in {**matched, **matches.returned}.items()
    }
    pairs = {
        place: number
        for place, number in matched.items()
        if is_sure(things[place].label.confidence, config.tracking)
        and (
            _is_doubtful(seen[number], expected[number], config)
            or not tracks[number].likeness(things[place].appearance, config.tracking)
        )
    }
    return Doubts(pairs, expected, pieces)


def _pieces(
    carried: Carried, things: Sequence[Sighting], matches: Matches, config: Config
) -> frozenset[int]:
    """Tracks that lie in what was detected, were not, and are not to be sure of: their masks are
    doubtful, or they were detected too seldom. A thing that shows in two places at once, behind
    another, is first taken for two."""
    found = {*matches.same.values(), *matches.drifted.values(), *matches.known.values()}
    some = [
        track.number
        for track in carried.tracks
        if track.number in carried.seen
        and track.number not in found
        and (
            track.hits < config.tracking.min_hits
            or carried.seen[track.number].quality < config.tracking.low_quality
        )
    ]
    lie_inside = are_pieces([carried.seen[n].mask for n in some], [t.sight.mask for t in things])
    return frozenset(compress(some, lie_inside))


def _is_doubtful(sight: Sight, expected: Rle, config: Config) -> bool:
    """Whether the mask of a track should be compared with what its detection's box asks for."""
    if sight.quality < config.tracking.low_quality:
        return True
    return not agree(expected, sight.mask, config.tracking)
