"""A frame that the detector looks at: what it says of the tracks, and what is new.

    match ─► doubt ─► who was it before? ─► verdict ─► begin, go on, end ─► keep apart

The tracker's mask of a thing stays, because it knows the thing from many frames and the box only
from this one, unless it is in doubt, and the box shows it better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress

from grounded_sam2.config import Config
from grounded_sam2.geometry.overlap import mask_iou
from grounded_sam2.models.protocols import FrameMasks, TrackerState
from grounded_sam2.tracking.association import CandidateStatus, new_track, past_of, verdict_on
from grounded_sam2.tracking.backward_propagation import Trail
from grounded_sam2.tracking.color_histogram import Appearance
from grounded_sam2.tracking.detections import Sight, Sighting, Sightings, sights
from grounded_sam2.tracking.frame_context import Now
from grounded_sam2.tracking.mask_overlap import are_pieces
from grounded_sam2.tracking.mask_review import Doubts, doubts_about
from grounded_sam2.tracking.matching import match
from grounded_sam2.tracking.propagated import Carried, apart
from grounded_sam2.tracking.tracks import Track
from grounded_sam2.tracking.window import Window

__all__ = ["Look", "look"]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What is known of a frame, here without a look of the detector, which adds what follows."""

    answers: FrameMasks
    """Of all tracks, also new ones."""
    seen: Mapping[int, Sight]
    """Of them, those that are there, by number."""
    tracks: tuple[Track, ...]
    """All that are followed from here on."""
    mistaken: tuple[Track, ...] = ()
    """Tracks that end and were none, so that their labels are to be taken back."""
    renamed: tuple[Track, ...] = ()
    """Of those that go on, the ones whose class is another now."""
    sighted: Mapping[int, Sighting] = field(default_factory=dict)
    """What the detector found, by number of the track."""
    prompted: frozenset[int] = frozenset()
    """Tracks that this frame shows to the tracker."""
    trails: Mapping[int, Trail] = field(default_factory=dict)
    """Where the tracks that it shows were before, by number."""
    displaced: frozenset[int] = frozenset()
    """Identities of tracks that lay on others."""


def look(found: Sightings, carried: Carried, state: TrackerState, window: Window, now: Now) -> Look:
    """Bring together what the detector finds on a frame and what the tracker says of it.

    Args:
        found: the detections.
        carried: the tracks.
        state: what the tracker remembers.
        window: the frames before; it is not changed.
        now: the frame; the tracker is asked again where it must be corrected.
    """
    config, things, seen = now.config, found.things, carried.seen
    matches = match(things, carried.tracks, seen, config)
    doubts = doubts_about(carried, things, matches, now)
    past = past_of(found, matches, doubts, carried, window, now)
    verdict = verdict_on(things, matches, doubts, past, carried, state, window, now)
    sighted, corrected = verdict.sighted, verdict.corrected

    ended = {track.number for track in verdict.inherited.values()}
    tracks = [track for track in carried.tracks if track.number not in ended]
    displaced = _displaced(tracks, doubts, verdict, seen, config)
    doubles = _doubles(tracks, sighted, {**carried.claims, **corrected}, config)
    going_on, mistaken = _fates(tracks, sighted, verdict.known, {**seen, **corrected}, config)
    begun = [_begun(thing, verdict.inherited, config) for thing in verdict.newcomers]
    were = {track.identity: track.class_name for track in carried.tracks}
    renamed = [
        track
        for track in (*going_on, *begun)
        if track.class_name != were.get(track.identity, track.class_name)
    ]
    sighted |= {t.number: verdict.known[t.number] for t in renamed if t.number in verdict.known}
    sighted |= {thing.number: thing for thing in verdict.newcomers}

    together = _together(found, carried.answers, verdict, ended)
    together = together.mark_absent(doubles | {track.number for track in displaced})
    together = apart(together, [*going_on, *begun], now, sighted)
    after = sights(together)
    begun = [track for track in begun if track.number in after]
    known = {*(track.number for track in carried.tracks), *verdict.inherited}
    shows = {number: after[number] for number in sighted if number in after}
    shown = {number: sighted[number].number for number in corrected}
    shown |= {thing.number: thing.number for thing in verdict.newcomers}
    return Look(
        answers=together,
        seen=after,
        tracks=tuple(
            _showing(track, shows.get(track.number), now, is_known=track.number in known)
            for track in (*going_on, *begun)
        ),
        mistaken=tuple(mistaken),
        renamed=tuple(renamed),
        sighted={number: thing for number, thing in sighted.items() if number in after},
        prompted=frozenset(after.keys() & shown.keys()),
        trails={n: past.trails[of] for n, of in shown.items() if of in past.trails},
        displaced=frozenset(track.identity for track in displaced),
    )


def _displaced(
    tracks: Sequence[Track],
    doubts: Doubts,
    verdict: CandidateStatus,
    seen: Mapping[int, Sight],
    config: Config,
) -> list[Track]:
    """Tracks that were but a piece of what is now seen whole."""
    in_doubt = set(doubts.pairs.values())
    some = [
        track
        for track in tracks
        if track.number in seen
        and track.number not in verdict.sighted
        and (
            track.number in doubts.pieces
            or (track.number in in_doubt and track.hits < config.tracking.min_hits)
        )
    ]
    wholes = [sight.mask for sight in verdict.corrected.values()]
    wholes += [thing.sight.mask for thing in verdict.newcomers]
    return list(compress(some, are_pieces([seen[track.number].mask for track in some], wholes)))


def _begun(thing: Sighting, inherited: Mapping[int, Track], config: Config) -> Track:
    track = new_track(thing, config)
    older = inherited.get(track.number)
    return track if older is None else track.continuing(older, config.tracking)


def _showing(track: Track, sight: Sight | None, now: Now, *, is_known: bool) -> Track:
    """A track after the frame has shown what it looks like, if it has: by the mask that is
    followed. What the detection's box asked for may have been more, a neighbor's part too."""
    if sight is None or not now.config.tracking.min_similarity:
        return track
    looks = Appearance.of(now.image, sight.mask)
    return track.looking(looks) if is_known else replace(track, appearance=looks)


def _together(
    found: Sightings, carried: FrameMasks, verdict: CandidateStatus, ended: set[int]
) -> FrameMasks:
    """What the tracker says of all that go on or begin."""
    gone_on = [n for n in carried.ids if n not in verdict.corrected and n not in ended]
    parts = [carried.select(gone_on)]
    if verdict.again is not None:
        parts.append(verdict.again.select(verdict.corrected))
    if found.answers is not None:
        parts.append(found.answers.select([thing.number for thing in verdict.newcomers]))
    together: FrameMasks = carried.concatenate(parts)
    return together


def _fates(
    tracks: Sequence[Track],
    sighted: Mapping[int, Sighting],
    known: Mapping[int, Sighting],
    seen: Mapping[int, Sight],
    config: Config,
) -> tuple[list[Track], list[Track]]:
    """What the detections make of the tracks: those that go on, and those that were mistakes.

    Args:
        tracks: before.
        sighted: detections that are a track's, by its number.
        known: detections that lie on a track and are not taken for it, or give it another class.
        seen: what the tracker sees of the tracks, by number.
        config: thresholds.
    """
    options = config.tracking
    going_on: list[Track] = []
    mistaken: list[Track] = []
    for track in tracks:
        number = track.number
        if number in sighted:
            thing = sighted[number]
            going_on.append(track.detected(thing.label, options))
        elif number in known and known[number].label.class_name != track.class_name:
            going_on.append(track.detected(known[number].label, options))
        elif number in known:
            going_on.append(replace(track, misses=0))
        elif not track.is_confirmed:
            mistaken.append(track)
        elif number not in seen:
            going_on.append(track)
        else:
            is_doubtful = seen[number].quality < options.low_quality
            after = replace(track, misses=track.misses + 1 if is_doubtful else 0)
            if after.misses < options.max_misses:
                going_on.append(after)
    return going_on, mistaken


def _doubles(
    tracks: Sequence[Track],
    sighted: Mapping[int, Sighting],
    seen: Mapping[int, Sight],
    config: Config,
) -> set[int]:
    """Tracks that were not detected and lie on one that was: they have left what they followed."""
    found = [t for t in tracks if t.number in sighted]
    rest = [t for t in tracks if t.number in seen and t.number not in sighted]
    overlaps = mask_iou([seen[t.number].mask for t in rest], [seen[t.number].mask for t in found])
    return {
        track.number
        for track, row in zip(rest, overlaps, strict=True)
        if any(
            overlap >= config.cleanup.nms_iou
            and (config.cleanup.across_classes or track.class_name == other.class_name)
            for overlap, other in zip(row, found, strict=True)
        )
    }
