"""Where was a thing before? It is followed back through the last frames, from its box alone.

It is followed until it is gone, until its mask is doubtful, to a scene cut or to the end of what is
kept of the past. Where it meets a label of a track that is beyond doubt, it has been labeled
before: it goes back no farther.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

from grounded_sam2.config import Config
from grounded_sam2.geometry.overlap import mask_iou
from grounded_sam2.models.protocols import FrameMasks
from grounded_sam2.results import Label
from grounded_sam2.tracking.detections import Sight, sights
from grounded_sam2.tracking.frame_context import Now
from grounded_sam2.tracking.labels import carried_label
from grounded_sam2.tracking.mask_overlap import agree, are_pieces
from grounded_sam2.tracking.tracks import Track
from grounded_sam2.tracking.window import Window, identity_of

__all__ = ["Trail", "follow_back", "write_back"]

Trail: TypeAlias = tuple[tuple[int, Sight], ...]
"""What is seen of a thing before: place in the window, newest first, one after the other."""


def follow_back(
    classes: Mapping[int, str],
    answers: FrameMasks,
    settled: Collection[int],
    window: Window,
    now: Now,
) -> dict[int, Trail]:
    """Follow things through the frames before the one on which they are found.

    Args:
        classes: of the things, by number.
        answers: what the tracker says of them on that frame.
        settled: identities of the tracks that are beyond doubt.
        window: the frames before; it is not changed.
        now: that frame, of the same scene as the last one of the window.

    Returns:
        By number, for each.
    """
    tracker, config = now.tracker, now.config
    going = set(answers.ids)
    trails: dict[int, list[tuple[int, Sight]]] = {number: [] for number in answers.ids}
    state = tracker.update_state(
        now.encoded, tracker.empty_state(), now.position, answers, prompted=answers.ids
    )
    for place in window.backwards():
        if not going:
            break
        frame = window.waiting[place]
        said = tracker.propagate(frame.encoded, state, frame.position, reverse=True)
        known = [label for label in frame.labels if identity_of(label) in settled]
        seen = {
            number: sight
            for number, sight in sights(said.select(_sure(said, config))).items()
            if not _meets_any(sight, classes[number], known, config)
        }
        for number, sight in seen.items():
            trails[number].append((place, sight))
        going = set(seen)
        if frame.begins_scene:
            break
        numbers = [number for number in said.ids if number in going]
        said, state = said.select(numbers), state.select(numbers)
        state = tracker.update_state(frame.encoded, state, frame.position, said)
    return {number: tuple(steps) for number, steps in trails.items()}


def write_back(
    window: Window, track: Track, trail: Trail, displaced: Collection[int], config: Config
) -> None:
    """Label a track on the frames before, as far as they do not say the same of it.

    Args:
        window: the frames; they are changed.
        track: as it is now.
        trail: where it was.
        displaced: identities of tracks that were taken for something while they lay on this one;
            their labels that are but a piece of it are removed.
        config: thresholds.
    """
    for place, sight in trail:
        frame = window.waiting[place]
        label = carried_label(track, sight, "backwards", config)
        others: list[Label] = []
        for each in frame.labels:
            if identity_of(each) != track.identity:
                others.append(each)
            elif each.track_origin == "detected" or (
                each.mask is not None and agree(each.mask, sight.mask, config.tracking)
            ):
                return
        others = [
            each
            for each in others
            if identity_of(each) not in displaced
            or each.mask is None
            or not any(are_pieces([each.mask], [sight.mask]))
        ]
        if label is None or _meets_any(sight, track.class_name, others, config):
            return
        window.relabel(place, (*others, label))


def _sure(answers: FrameMasks, config: Config) -> list[int]:
    """Whose masks are worth making: those that are there, and not doubtful."""
    return [
        number
        for number, quality, score in zip(answers.ids, answers.quality, answers.score, strict=True)
        if score > 0 and round(float(quality), 4) >= config.tracking.low_quality
    ]


def _meets_any(sight: Sight, class_name: str, labels: Sequence[Label], config: Config) -> bool:
    """Whether one of the labels is of the same thing."""
    masks = [
        label.mask
        for label in labels
        if label.mask is not None
        and (label.class_name == class_name or config.cleanup.across_classes)
    ]
    return bool((mask_iou([sight.mask], masks) >= config.tracking.match_iou).any())
