"""What the detections of a frame are: tracks that go on or are back, and what is new.

Which track a thing is that is new or in doubt, the frames before tell. The tracker is asked again
with the box where the detector is sure and the mask agrees too little or is doubtful, and where a
thing is back that the tracker has lost; what it then says is taken if it agrees better with the
mask that the box alone gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grounded_sam2.config import Config
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.models.protocols import FrameMasks, TrackerState
from grounded_sam2.tracking.backward_propagation import Trail, follow_back
from grounded_sam2.tracking.detections import Sight, Sighting, Sightings, sights
from grounded_sam2.tracking.frame_context import Now
from grounded_sam2.tracking.mask_overlap import iou, lies_among
from grounded_sam2.tracking.mask_review import Doubts
from grounded_sam2.tracking.matching import Matches
from grounded_sam2.tracking.propagated import Carried, apart, kind_of
from grounded_sam2.tracking.reidentification import heirs
from grounded_sam2.tracking.tracks import Track
from grounded_sam2.tracking.window import Window

__all__ = ["CandidateStatus", "Past", "new_track", "past_of", "verdict_on"]


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """What the frames before say of the things that are new or in doubt."""

    trails: Mapping[int, Trail]
    """Where they were, by their numbers; none if no frame is kept to look at."""
    turned_out: Mapping[int, Track]
    """The tracks that they are."""

    def agrees(self, thing: Sighting, track_number: int) -> bool:
        """Whether they say nothing against this thing being this track."""
        owners = {track.number: number for number, track in self.turned_out.items()}
        if track_number in owners:
            return owners[track_number] == thing.number
        return thing.number not in self.turned_out


@dataclass(frozen=True, slots=True, eq=False)
class CandidateStatus:
    """What each detection is."""

    sighted: dict[int, Sighting]
    """Those that are a track's, by its number."""
    known: dict[int, Sighting]
    """Those that lie on a track and are not taken for it, or give it another class."""
    corrected: dict[int, Sight]
    """Of the sighted tracks, those that the tracker sees otherwise, shown the box."""
    again: FrameMasks | None
    """What it said of these, and of others that were asked for."""
    newcomers: list[Sighting]
    inherited: dict[int, Track]
    """Tracks that newcomers turned out to be, by number of the newcomer."""


def past_of(
    found: Sightings,
    matches: Matches,
    doubts: Doubts,
    carried: Carried,
    window: Window,
    now: Now,
) -> Past:
    """Follow back what is new or in doubt, and see which tracks it was.

    Args:
        found: the detections.
        matches: which of them are tracks, as far as this frame tells.
        doubts: about these.
        carried: the tracks.
        window: the frames before; it is not changed.
        now: the frame.
    """
    things = [found.things[p] for p in sorted({*doubts.pairs, *matches.returned, *matches.new})]
    if not things or found.answers is None or now.begins_scene:
        return Past({}, {})
    config, seen = now.config, carried.seen
    doubtful = {found.things[place].number: number for place, number in doubts.pairs.items()}
    firm = [
        track
        for track in carried.tracks
        if track.number in seen
        and track.number not in doubts.pieces
        and track.number not in doubtful.values()
    ]
    numbers = [thing.number for thing in things]
    parts = carried.answers.select([track.number for track in firm]), found.answers.select(numbers)
    joined: FrameMasks = carried.answers.concatenate(parts)
    as_tracks = [new_track(thing, config) for thing in things]
    said = apart(joined, [*firm, *as_tracks], now, sighted=numbers).select(numbers)
    certain = {*matches.same.values(), *matches.drifted.values(), *matches.known.values()}
    certain.difference_update(doubtful.values())
    settled = {track.identity for track in carried.tracks if track.number in certain}
    classes = {thing.number: thing.label.class_name for thing in things}
    trails: dict[int, Trail] = {}
    if next(window.backwards(), None) is not None:
        trails = follow_back(classes, said, settled, window, now)
    in_question = [track for track in carried.tracks if track.number not in certain]
    return Past(
        trails,
        heirs(things, trails, in_question, seen, doubts.pieces, doubtful, window, config),
    )


def verdict_on(
    things: Sequence[Sighting],
    matches: Matches,
    doubts: Doubts,
    past: Past,
    carried: Carried,
    state: TrackerState,
    window: Window,
    now: Now,
) -> CandidateStatus:
    """Decide what each detection is, and ask the tracker again where that makes a difference.

    Args:
        things: the detections.
        matches: which of them are tracks, as far as this frame tells.
        doubts: about these.
        past: what the frames before tell.
        carried: the tracks.
        state: what the tracker remembers.
        window: the frames before; it is not changed.
        now: the frame.
    """
    asked = {
        place: number
        for place, number in {**doubts.pairs, **matches.returned}.items()
        if past.agrees(things[place], number)
    }
    prompts = {number: things[place] for place, number in asked.items()}
    again, corrected = _asked_again(prompts, doubts.expected, carried.seen, state, now)
    sighted: dict[int, Sighting] = {}
    known = {number: things[place] for place, number in matches.known.items()}
    newcomers = set(matches.new)
    for pairs in (matches.same, matches.drifted, matches.returned):
        for place, number in pairs.items():
            is_open = place in doubts.pairs or place in matches.returned
            if is_open and place not in asked:
                newcomers.add(place)
            elif number in corrected or place in matches.same:
                sighted[number] = things[place]
            elif place in matches.drifted:
                known[number] = things[place]
            else:
                newcomers.add(place)
    unquestioned = [t for t in carried.tracks if t.number in sighted.keys() - corrected.keys()]
    begin = [
        things[place]
        for place in sorted(newcomers)
        if not _is_part(things[place], unquestioned, carried.seen, past, window, now.config)
    ]
    numbers = {thing.number for thing in begin}
    return CandidateStatus(
        sighted,
        known,
        corrected,
        again,
        begin,
        {number: track for number, track in past.turned_out.items() if number in numbers},
    )


def _is_part(
    thing: Sighting,
    tracks: Sequence[Track],
    seen: Mapping[int, Sight],
    past: Past,
    window: Window,
    config: Config,
) -> bool:
    """Whether what is new is but a part of one of some tracks that are right, and that may share no
    pixel with it. Things enter at an edge, or from behind others. So it lies in the track, and did
    on all frames through which it was followed back: on none, or it looks like the track."""
    if thing.number not in past.trails or thing.number in past.turned_out:
        return False
    kind, trail = kind_of(new_track(thing, config), config), past.trails[thing.number]
    around = [
        track
        for track in tracks
        if track.number in seen
        and kind_of(track, config) == kind
        and lies_among(thing.sight.mask, [seen[track.number].mask])
    ]
    if not trail:
        return bool(around)
    return config.tracking.min_similarity > 0 and any(
        track.likeness(thing.appearance, config.tracking) > 0 and _lay_in(trail, track, window)
        for track in around
    )


def _lay_in(trail: Trail, track: Track, window: Window) -> bool:
    """Whether a thing lay in a track on all frames through which it was followed back."""
    wholes = [window.masks(place).get(track.identity) for place, _ in trail]
    return all(
        whole is not None and lies_among(sight.mask, [whole])
        for whole, (_, sight) in zip(wholes, trail, strict=True)
    )


def new_track(thing: Sighting, config: Config) -> Track:
    """The track that begins with a thing."""
    return Track.begun(thing.number, thing.label, thing.appearance, config.tracking)


def _asked_again(
    asked: Mapping[int, Sighting],
    expected: Mapping[int, Rle],
    seen: Mapping[int, Sight],
    state: TrackerState,
    now: Now,
) -> tuple[FrameMasks | None, dict[int, Sight]]:
    """What the tracker says when it is shown the boxes, and of that what is better than before."""
    if not asked:
        return None, {}
    prompts = {number: thing.prompt() for number, thing in asked.items()}
    answers: FrameMasks = now.tracker.prompt(now.encoded, prompts, state, now.position)
    better: dict[int, Sight] = {}
    for number, sight in sights(answers).items():
        agreement = iou(expected[number], sight.mask)
        if number in seen:
            is_better = agreement > iou(expected[number], seen[number].mask)
        else:
            is_better = agreement >= now.config.tracking.match_iou
        if is_better:
            better[number] = sight
    return answers, better
