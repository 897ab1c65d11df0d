"""What the tracker says of a frame, before anything is detected on it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from grounded_sam2.config import Config
from grounded_sam2.models.protocols import Answers
from grounded_sam2.tracking.sightings import Sight, sights
from grounded_sam2.tracking.tracks import Track

__all__ = ["Carried", "apart", "kind_of"]


@dataclass(frozen=True, eq=False)
class Carried:
    """The tracks on a frame, as they are carried there from the frame before."""

    tracks: tuple[Track, ...]
    """All that are being followed."""
    claimed: Answers
    """What the tracker says of each alone."""
    answers: Answers
    """The same, kept `apart`."""

    @classmethod
    def to(cls, claimed: Answers, tracks: tuple[Track, ...], config: Config) -> Carried:
        """Keep apart what the tracker says of the tracks."""
        return cls(tracks, claimed, apart(claimed, tracks, config))

    @cached_property
    def seen(self) -> dict[int, Sight]:
        """Those that are there, by number."""
        return sights(self.answers)

    @cached_property
    def claims(self) -> dict[int, Sight]:
        """The same with all that they claim."""
        return self.seen if self.claimed is self.answers else sights(self.claimed)


def apart(
    answers: Answers, tracks: Sequence[Track], config: Config, sighted: Collection[int] = ()
) -> Answers:
    """The answers about tracks where those that may not overlap do not.

    A track that was gone comes back where no other is, unless the detector has ``sighted`` it.
    """
    groups: dict[str, list[int]] = {}
    for track in tracks:
        groups.setdefault(kind_of(track, config), []).append(track.number)
    gone = {track.number for track in tracks if track.gone and track.number not in sighted}
    return answers.exclusive(list(groups.values()), gone)


def kind_of(track: Track, config: Config) -> str:
    """Tracks of one kind share no pixel."""
    return {"none": str(track.number), "class": track.class_name, "all": ""}[
        config.tracking.exclusive
    ]
