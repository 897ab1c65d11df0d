"""What the tracker says of a frame, before anything is detected on it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from grounded_sam2.config import Config
from grounded_sam2.geometry.overlap import mask_containment, mask_intersection
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.models.protocols import FrameMasks
from grounded_sam2.tracking.color_histogram import Appearance
from grounded_sam2.tracking.detections import Sight, sights
from grounded_sam2.tracking.frame_context import Now
from grounded_sam2.tracking.mask_overlap import lies_among
from grounded_sam2.tracking.tracks import Track

__all__ = ["Carried", "apart", "kind_of", "owner_of"]

_DISPUTED = 0.05
"""Share of a mask. Less of it may be another's as well without a look at the colors: masks of
neighbors overlap a little along their border."""
_FEWEST_PIXELS = 20
"""Fewer have no color to speak of."""
_CLEARLY = 0.2
"""By how much more a part must look like one track than like another to be the first one's."""


@dataclass(frozen=True, eq=False)
class Carried:
    """The tracks on a frame, as they are carried there from the frame before."""

    tracks: tuple[Track, ...]
    """All that are being followed."""
    claimed: FrameMasks
    """What the tracker says of each alone."""
    answers: FrameMasks
    """The same, kept `apart`."""

    @classmethod
    def to(cls, claimed: FrameMasks, tracks: tuple[Track, ...], now: Now) -> Carried:
        """Keep apart what the tracker says of the tracks, and leave out what looks like others,
        or comes back to where another was a frame before.

        Args:
            claimed: what it says.
            tracks: all that are being followed.
            now: the frame.
        """
        claimed = claimed.mark_absent(_intruders(claimed, tracks, now))
        carried = cls(tracks, claimed, apart(claimed, tracks, now))
        if not now.config.tracking.min_similarity:
            return carried
        strange = {
            track.number
            for track in tracks
            if (sight := carried.seen.get(track.number)) is not None
            and not track.may_look(Appearance.of(now.image, sight.mask), now.config.tracking)
        }
        if not strange:
            return carried
        claimed = claimed.mark_absent(strange)
        return cls(tracks, claimed, apart(claimed, tracks, now))

    @cached_property
    def seen(self) -> dict[int, Sight]:
        """Those that are there, by number."""
        return sights(self.answers)

    @cached_property
    def claims(self) -> dict[int, Sight]:
        """The same with all that they claim."""
        return self.seen if self.claimed is self.answers else sights(self.claimed)


def apart(
    answers: FrameMasks, tracks: Sequence[Track], now: Now, sighted: Collection[int] = ()
) -> FrameMasks:
    """The answers about tracks where those that may not overlap do not.

    What two claim belongs to the one that it clearly looks like. A track that was gone comes back
    where no other is, unless the detector has ``sighted`` it.
    """
    groups: dict[str, list[int]] = {}
    for track in tracks:
        groups.setdefault(kind_of(track, now.config), []).append(track.number)
    gone = {track.number for track in tracks if track.gone and track.number not in sighted}
    kinds = list(groups.values())
    parted: FrameMasks = answers.without_overlaps(kinds, gone)
    if parted is answers or not now.config.tracking.min_similarity:
        return parted  # on most frames nothing overlaps
    owners = _owners(answers, tracks, now)
    return answers.without_overlaps(kinds, gone, owners) if owners else parted


def kind_of(track: Track, config: Config) -> str:
    """Tracks of one kind share no pixel."""
    return {"none": str(track.number), "class": track.class_name, "all": ""}[
        config.tracking.exclusive
    ]


def owner_of(part: Rle, a: Track, b: Track, now: Now) -> Track | None:
    """The one of two tracks that a part of the frame clearly looks like, if it does."""
    if part.area < _FEWEST_PIXELS or not now.config.tracking.min_similarity:
        return None
    looks = Appearance.of(now.image, part)
    lead = a.appearance.likeness(looks) - b.appearance.likeness(looks)
    if abs(lead) < _CLEARLY:
        return None
    return a if lead > 0 else b


def _intruders(claimed: FrameMasks, tracks: Sequence[Track], now: Now) -> set[int]:
    """Tracks that were gone and are found in what another one of their kind was a frame before:
    that one has not left so fast, it only looks for a moment as if it had."""
    by_number = {track.number: track for track in tracks}
    back = [
        number
        for number, score in zip(claimed.ids, claimed.score, strict=True)
        if score > 0 and by_number[number].gone
    ]
    if not back or not now.before:
        return set()
    intruders = set()
    for number, sight in sights(claimed.select(back)).items():
        kind = kind_of(by_number[number], now.config)
        others = [
            now.before[other.identity]
            for other in tracks
            if other.number != number
            and other.identity in now.before
            and kind_of(other, now.config) == kind
        ]
        if lies_among(sight.mask, others):
            intruders.add(number)
    return intruders


def _owners(answers: FrameMasks, tracks: Sequence[Track], now: Now) -> list[tuple[int, int]]:
    """Pairs of tracks that claim something that clearly looks like the first of them."""
    claims = sights(answers)
    some = [track for track in tracks if track.number in claims]
    masks = [claims[track.number].mask for track in some]
    shares = mask_containment(masks, masks)
    owners: list[tuple[int, int]] = []
    for a, b in combinations(range(len(some)), 2):
        of_one_kind = kind_of(some[a], now.config) == kind_of(some[b], now.config)
        if not of_one_kind or max(shares[a, b], shares[b, a]) < _DISPUTED:
            continue
        owner = owner_of(mask_intersection(masks[a], masks[b]), some[a], some[b], now)
        if owner is not None:
            other = some[b] if owner is some[a] else some[a]
            owners.append((owner.number, other.number))
    return owners
