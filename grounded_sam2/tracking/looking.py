"""A frame that the detector looks at: what it says of the tracks, and what is new.

The tracker's mask of a thing stays, because it knows the thing from many frames and the box only
from this one. It is asked again with the box where the detector is sure and the mask agrees too
little or is doubtful, and where a thing is back that the tracker has lost; what it then says is
taken if it agrees better with the mask that the box alone gives.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from grounded_sam2.config import Config, TrackingConfig
from grounded_sam2.geometry import rle
from grounded_sam2.geometry.masks import without_overlaps
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.models.protocols import Answers, State
from grounded_sam2.tracking.backwards import Past
from grounded_sam2.tracking.matching import match
from grounded_sam2.tracking.now import Now
from grounded_sam2.tracking.sightings import Sight, Sighting, Sightings, sights
from grounded_sam2.tracking.tracks import Track, is_sure

__all__ = ["Look", "apart", "look"]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What is known of a frame, here without a look of the detector, which adds what follows."""

    answers: Answers
    """Of all tracks, also new ones."""
    seen: Mapping[int, Sight]
    """Of them, those that are there, by number."""
    going_on: tuple[Track, ...]
    """Tracks that were there before."""
    begun: tuple[Track, ...] = ()
    mistaken: tuple[Track, ...] = ()
    """Tracks that end and were none, so that their labels are to be taken back."""
    renamed: tuple[Track, ...] = ()
    """Of those that go on, the ones whose class is another now."""
    sighted: Mapping[int, Sighting] = field(default_factory=dict)
    """What the detector found, by number of the track."""
    prompted: frozenset[int] = frozenset()
    """Tracks that this frame shows to the tracker."""

    @property
    def tracks(self) -> tuple[Track, ...]:
        """All that are followed from here on."""
        return self.going_on + self.begun

    @property
    def lost(self) -> dict[int, Track]:
        """Tracks that are gone, by identity; also if they were mistakes, as far as is known."""
        everyone = (*self.going_on, *self.mistaken)
        return {track.identity: track for track in everyone if track.number not in self.seen}

    def answers_of_begun(self) -> Answers:
        """What the tracker says of the new tracks."""
        return self.answers.only([track.number for track in self.begun])

    def with_past(self, past: Past, config: TrackingConfig) -> Look:
        """After new tracks have been followed back: some are older ones that were lost."""
        lost, older = self.lost, past.identities
        found_again = set(older.values())
        return replace(
            self,
            going_on=tuple(t for t in self.going_on if t.identity not in found_again),
            mistaken=tuple(t for t in self.mistaken if t.identity not in found_again),
            begun=tuple(
                track.continuing(lost[older[track.number]], config)
                if track.number in older
                else track
                for track in self.begun
            ),
        )


def look(
    found: Sightings,
    tracks: Sequence[Track],
    answers: Answers,
    seen: Mapping[int, Sight],
    claimed: Answers,
    state: State,
    now: Now,
) -> Look:
    """Bring together what the detector finds on a frame and what the tracker says of it.

    Args:
        found: the detections.
        tracks: all that are being followed.
        answers: what the tracker says of them.
        seen: of these, those that are there, by number.
        claimed: what the tracker says of them before they were kept `apart`.
        state: what the tracker remembers.
        now: the frame; the tracker is asked again where it must be corrected.
    """
    config = now.config
    matches = match(found.things, tracks, seen, config)
    sighted = {number: found.things[place] for place, number in matches.same.items()}
    own = {
        number: _own_mask(found.things[place], number, tracks, seen, config)
        for pairs in (matches.same, matches.drifted, matches.returned)
        for place, number in pairs.items()
    }
    doubtful = [
        (place, number)
        for pairs in (matches.same, matches.drifted)
        for place, number in pairs.items()
        if is_sure(found.things[place].label.confidence, config.tracking)
        and _is_doubtful(seen[number], own[number], config.tracking)
    ]
    asked = {n: found.things[p] for p, n in [*doubtful, *matches.returned.items()]}
    again, corrected = _asked_again(asked, own, seen, state, now)
    sighted.update({number: asked[number] for number in corrected})

    places = set(matches.new)
    places.update(place for place, n in matches.returned.items() if n not in corrected)
    newcomers = [found.things[place] for place in sorted(places)]
    known = {n: found.things[p] for p, n in [*matches.known.items(), *matches.drifted.items()]}
    wholes = sights(claimed) if claimed is not answers else seen
    doubles = _doubles(tracks, sighted, {**wholes, **corrected}, config)
    going_on, mistaken = _fates(tracks, sighted, known, {**seen, **corrected}, config)
    classes = {track.number: track.class_name for track in tracks}
    renamed = [track for track in going_on if track.class_name != classes[track.number]]
    sighted.update({t.number: known[t.number] for t in renamed if t.number not in sighted})

    begun = [Track.begun(t.number, t.label, config.tracking) for t in newcomers]
    numbers = {thing.number for thing in newcomers}
    parts = [answers.only([each for each in answers.ids if each not in corrected])]
    if again is not None:
        parts.append(again.only(corrected))
    if found.answers is not None:
        parts.append(found.answers.only(numbers))
    together: Answers = answers.joined(parts).absent(doubles)
    together = apart(together, [*going_on, *begun], config, sighted)
    after = sights(together)
    sighted |= {thing.number: thing for thing in newcomers}
    return Look(
        answers=together,
        seen=after,
        sighted={number: thing for number, thing in sighted.items() if number in after},
        prompted=frozenset(after.keys() & {*corrected, *numbers}),
        going_on=tuple(going_on),
        begun=tuple(track for track in begun if track.number in after),
        mistaken=tuple(mistaken),
        renamed=tuple(renamed),
    )


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
            going_on.append(track.detected(sighted[number].label, options))
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


def _own_mask(
    thing: Sighting,
    number: int,
    tracks: Sequence[Track],
    seen: Mapping[int, Sight],
    config: Config,
) -> Rle:
    """The mask of a detection without what other tracks cover that share no pixel with its own: a
    box holds neighbours too, and its mask may spill over them."""
    kind = next(_kind(track, config) for track in tracks if track.number == number)
    others = [
        seen[track.number].mask
        for track in tracks
        if track.number != number and track.number in seen and _kind(track, config) == kind
    ]
    return without_overlaps([*others, thing.sight.mask])[-1]


def _is_doubtful(sight: Sight, expected: Rle, options: TrackingConfig) -> bool:
    """Whether the mask of a track should be compared with what its detection's box asks for."""
    if sight.quality < options.low_quality:
        return True
    agreement = float(rle.iou([expected], [sight.mask])[0, 0])
    return agreement < max(options.correct_iou, options.match_iou)


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
        agreement = float(rle.iou([expected[number]], [sight.mask])[0, 0])
        if number in seen:
            is_better = agreement > float(rle.iou([expected[number]], [seen[number].mask])[0, 0])
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
    overlap = rle.iou([seen[t.number].mask for t in rest], [seen[t.number].mask for t in found])
    return {
        track.number
        for track, row in zip(rest, overlap, strict=True)
        if any(
            iou >= config.cleanup.nms_iou
            and (config.cleanup.across_classes or track.class_name == other.class_name)
            for iou, other in zip(row, found, strict=True)
        )
    }


def apart(
    answers: Answers, tracks: Sequence[Track], config: Config, sighted: Collection[int] = ()
) -> Answers:
    """The answers about tracks where those that may not overlap do not.

    A track that was gone comes back where no other is, unless the detector has ``sighted`` it.
    """
    groups: dict[str, list[int]] = {}
    for track in tracks:
        groups.setdefault(_kind(track, config), []).append(track.number)
    gone = {track.number for track in tracks if track.gone and track.number not in sighted}
    return answers.exclusive(list(groups.values()), gone)


def _kind(track: Track, config: Config) -> str:
    """Tracks of one kind share no pixel."""
    return {"none": str(track.number), "class": track.class_name, "all": ""}[
        config.tracking.exclusive
    ]
