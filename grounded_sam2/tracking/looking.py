"""A frame that the detector looks at: what it says of the tracks, and what is new.

    match ─► doubt ─► who was it before? ─► ask again ─► begin, go on, end ─► keep apart

The tracker's mask of a thing stays, because it knows the thing from many frames and the box only
from this one. It is asked again with the box where the detector is sure and the mask agrees too
little or is doubtful, and where a thing is back that the tracker has lost; what it then says is
taken if it agrees better with the mask that the box alone gives. Which track a thing is that is new
or in doubt, the frames before tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress

from grounded_sam2.config import Config
from grounded_sam2.geometry import rle
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.models.protocols import Answers, State
from grounded_sam2.tracking.agreement import are_pieces, iou
from grounded_sam2.tracking.backwards import Trail, follow_back
from grounded_sam2.tracking.carried import Carried, apart, kind_of
from grounded_sam2.tracking.doubts import Doubts, doubts_about
from grounded_sam2.tracking.heirs import heirs
from grounded_sam2.tracking.matching import Matches, match
from grounded_sam2.tracking.now import Now
from grounded_sam2.tracking.sightings import Sight, Sighting, Sightings, sights
from grounded_sam2.tracking.tracks import Track
from grounded_sam2.tracking.window import Window

__all__ = ["Look", "look"]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What is known of a frame, here without a look of the detector, which adds what follows."""

    answers: Answers
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


@dataclass(frozen=True, slots=True, eq=False)
class _Past:
    """What the frames before say of the things that are new or in doubt."""

    trails: Mapping[int, Trail]
    """Where they were, by their numbers."""
    turned_out: Mapping[int, Track]
    """The tracks that they are."""

    def agrees(self, thing: Sighting, track_number: int) -> bool:
        """Whether they say nothing against this thing being this track."""
        owners = {track.number: number for number, track in self.turned_out.items()}
        if track_number in owners:
            return owners[track_number] == thing.number
        return thing.number not in self.turned_out


@dataclass(frozen=True, slots=True, eq=False)
class _Verdict:
    """What each detection is."""

    sighted: dict[int, Sighting]
    """Those that are a track's, by its number."""
    known: dict[int, Sighting]
    """Those that lie on a track and are not taken for it, or give it another class."""
    corrected: dict[int, Sight]
    """Of the sighted tracks, those that the tracker sees otherwise, shown the box."""
    again: Answers | None
    """What it said of these, and of others that were asked for."""
    newcomers: list[Sighting]
    inherited: dict[int, Track]
    """Tracks that newcomers turned out to be, by number of the newcomer."""


def look(found: Sightings, carried: Carried, state: State, window: Window, now: Now) -> Look:
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
    past = _past(found, matches, doubts, carried, window, now)
    verdict = _verdict(things, matches, doubts, past, carried, state, now)
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
    together = together.absent(doubles | {track.number for track in displaced})
    together = apart(together, [*going_on, *begun], now, sighted)
    after = sights(together)
    shown = {number: sighted[number].number for number in corrected}
    shown |= {thing.number: thing.number for thing in verdict.newcomers}
    return Look(
        answers=together,
        seen=after,
        tracks=(*going_on, *(track for track in begun if track.number in after)),
        mistaken=tuple(mistaken),
        renamed=tuple(renamed),
        sighted={number: thing for number, thing in sighted.items() if number in after},
        prompted=frozenset(after.keys() & shown.keys()),
        trails={n: past.trails[of] for n, of in shown.items() if of in past.trails},
        displaced=frozenset(track.identity for track in displaced),
    )


def _past(
    found: Sightings,
    matches: Matches,
    doubts: Doubts,
    carried: Carried,
    window: Window,
    now: Now,
) -> _Past:
    """Follow back what is new or in doubt, and see which tracks it was."""
    things = [found.things[p] for p in sorted({*doubts.pairs, *matches.returned, *matches.new})]
    if not things or found.answers is None or now.begins_scene:
        return _Past({}, {})
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
    parts = carried.answers.only([track.number for track in firm]), found.answers.only(numbers)
    joined: Answers = carried.answers.joined(parts)
    as_tracks = [_new_track(thing, config) for thing in things]
    said = apart(joined, [*firm, *as_tracks], now, sighted=numbers).only(numbers)
    certain = {*matches.same.values(), *matches.drifted.values(), *matches.known.values()}
    certain.difference_update(doubtful.values())
    settled = {track.identity for track in carried.tracks if track.number in certain}
    classes = {thing.number: thing.label.class_name for thing in things}
    trails = follow_back(classes, said, settled, window, now)
    in_question = [track for track in carried.tracks if track.number not in certain]
    return _Past(
        trails,
        heirs(things, trails, in_question, seen, doubts.pieces, doubtful, window, config),
    )


def _verdict(
    things: Sequence[Sighting],
    matches: Matches,
    doubts: Doubts,
    past: _Past,
    carried: Carried,
    state: State,
    now: Now,
) -> _Verdict:
    """Decide what each detection is, and ask the tracker again where that makes a difference."""
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
        if not _is_implausible(things[place], unquestioned, carried.seen, past, now.config)
    ]
    numbers = {thing.number for thing in begin}
    return _Verdict(
        sighted,
        known,
        corrected,
        again,
        begin,
        {number: track for number, track in past.turned_out.items() if number in numbers},
    )


def _is_implausible(
    thing: Sighting,
    tracks: Sequence[Track],
    seen: Mapping[int, Sight],
    past: _Past,
    config: Config,
) -> bool:
    """Whether what is new lies in one of some tracks that are right, may share no pixel with it,
    and was nowhere a frame before: a part that is taken for a thing. Things enter at an edge, or
    from behind others."""
    if past.trails.get(thing.number) != () or thing.number in past.turned_out:
        return False
    kind = kind_of(_new_track(thing, config), config)
    wholes = [
        seen[track.number].mask
        for track in tracks
        if track.number in seen and kind_of(track, config) == kind
    ]
    return are_pieces([thing.sight.mask], wholes)[0]


def _displaced(
    tracks: Sequence[Track],
    doubts: Doubts,
    verdict: _Verdict,
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
    track = _new_track(thing, config)
    older = inherited.get(track.number)
    return track if older is None else track.continuing(older, config.tracking)


def _new_track(thing: Sighting, config: Config) -> Track:
    return Track.begun(thing.number, thing.label, thing.appearance, config.tracking)


def _together(found: Sightings, carried: Answers, verdict: _Verdict, ended: set[int]) -> Answers:
    """What the tracker says of all that go on or begin."""
    gone_on = [n for n in carried.ids if n not in verdict.corrected and n not in ended]
    parts = [carried.only(gone_on)]
    if verdict.again is not None:
        parts.append(verdict.again.only(verdict.corrected))
    if found.answers is not None:
        parts.append(found.answers.only([thing.number for thing in verdict.newcomers]))
    together: Answers = carried.joined(parts)
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
            going_on.append(track.detected(thing.label, options).looking(thing.appearance))
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


def _asked_again(
    asked: Mapping[int, Sighting],
    expected: Mapping[int, Rle],
    seen: Mapping[int, Sight],
    state: State,
    now: Now,
) -> tuple[Answers | None, dict[int, Sight]]:
    """What the tracker says when it is shown the boxes, and of that what is better than before."""
    if not asked:
        return None, {}
    prompts = {number: thing.prompt() for number, thing in asked.items()}
    answers: Answers = now.tracker.prompt(now.encoded, prompts, state, now.position)
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


def _doubles(
    tracks: Sequence[Track],
    sighted: Mapping[int, Sighting],
    seen: Mapping[int, Sight],
    config: Config,
) -> set[int]:
    """Tracks that were not detected and lie on one that was: they have left what they followed."""
    found = [t for t in tracks if t.number in sighted]
    rest = [t for t in tracks if t.number in seen and t.number not in sighted]
    overlaps = rle.iou([seen[t.number].mask for t in rest], [seen[t.number].mask for t in found])
    return {
        track.number
        for track, row in zip(rest, overlaps, strict=True)
        if any(
            overlap >= config.cleanup.nms_iou
            and (config.cleanup.across_classes or track.class_name == other.class_name)
            for overlap, other in zip(row, found, strict=True)
        )
    }
