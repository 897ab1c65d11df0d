"""Where did a new thing come from? It is followed back through the last frames.

It is followed until it is gone, until its mask is doubtful, to a scene cut or to the end of what is
kept of the past. Where it meets a label of another track, it has been labeled before: it goes back
no farther. If that other track is lost now, the two are one thing that was seen, lost and found,
and the new one takes its identity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from grounded_sam2.config import Config
from grounded_sam2.geometry import rle
from grounded_sam2.models.protocols import Answers
from grounded_sam2.results import Label
from grounded_sam2.tracking.labels import carried
from grounded_sam2.tracking.now import Now
from grounded_sam2.tracking.sightings import Sight, sights
from grounded_sam2.tracking.tracks import Track
from grounded_sam2.tracking.window import Window, identity_of

__all__ = ["Past", "follow_back"]


@dataclass(slots=True)
class Past:
    """What is known of the past of new tracks."""

    labels: dict[int, list[Label]] = field(default_factory=dict)
    """By place in the window."""
    identities: dict[int, int] = field(default_factory=dict)
    """Numbers of tracks that turned out to be older ones, and whose identity they take."""


def follow_back(
    begun: Sequence[Track],
    answers: Answers,
    lost: Mapping[int, Track],
    window: Window,
    now: Now,
) -> Past:
    """Follow new tracks through the frames before the one on which they begin.

    Args:
        begun: the tracks.
        answers: what the tracker says of them on that frame.
        lost: tracks that are not seen on that frame, by identity.
        window: the frames before; it is not changed.
        now: that frame, of the same scene as the last one of the window.
    """
    tracker, config = now.tracker, now.config
    past = Past()
    going = {track.number: track for track in begun}
    own: dict[int, list[tuple[int, Label]]] = {number: [] for number in going}
    state = tracker.remember(
        now.encoded, tracker.empty(), now.position, answers, prompted=answers.ids
    )
    for place in window.backwards():
        frame = window.waiting[place]
        said = tracker.propagate(frame.encoded, state, frame.position, reverse=True)
        seen = sights(said.only(_sure(said, config.tracking.low_quality)))
        for number, identity in _met(seen, going, frame.labels, config).items():
            del seen[number]
            if (
                identity in lost
                and identity not in past.identities.values()
                and lost[identity].class_name == going[number].class_name
                and not _appears(identity, window, [where for where, _ in own[number]])
            ):
                past.identities[number] = identity
        for number, sight in seen.items():
            label = carried(going[number], sight, "backwards", config)
            if label is not None:
                own[number].append((place, label))
        going = {number: going[number] for number in seen}
        if not going or frame.begins_scene:
            break
        said, state = said.only(going), state.only(going)
        state = tracker.remember(frame.encoded, state, frame.position, said)
    for number, labels in own.items():
        identity = past.identities.get(number, number)
        for place, label in labels:
            past.labels.setdefault(place, []).append(replace(label, track_id=identity))
    return past


def _sure(answers: Answers, low_quality: float) -> list[int]:
    """Whose masks are worth making: those that are there, and not doubtful."""
    return [
        number
        for number, quality, score in zip(answers.ids, answers.quality, answers.score, strict=True)
        if score > 0 and round(float(quality), 4) >= low_quality
    ]


def _met(
    seen: Mapping[int, Sight],
    tracks: Mapping[int, Track],
    labels: Sequence[Label],
    config: Config,
) -> dict[int, int]:
    """The identity of the track that each thing meets on a frame, of those that meet one."""
    masked = [(label, label.mask) for label in labels if label.mask is not None]
    overlap = rle.iou([sight.mask for sight in seen.values()], [mask for _, mask in masked])
    met: dict[int, int] = {}
    for number, row in zip(seen, overlap, strict=True):
        for iou, (label, _) in sorted(zip(row, masked, strict=True), key=lambda each: -each[0]):
            one_kind = label.class_name == tracks[number].class_name
            if iou >= config.tracking.match_iou and (one_kind or config.cleanup.across_classes):
                met[number] = identity_of(label)
                break
    return met


def _appears(identity: int, window: Window, places: Sequence[int]) -> bool:
    """Whether a track has labels on some of these frames, so that it was somewhere else."""
    return any(identity_of(label) == identity for p in places for label in window.waiting[p].labels)
