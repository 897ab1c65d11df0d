"""Following what somebody points at: prompts instead of captions.

    prompts = {0: {1: TrackPrompt(box_xyxy=[10, 20, 80, 90])}, 40: {1: TrackPrompt(mask=better)}}
    for frame in track_prompts(frames, tracker, prompts):
        ...

An object begins on the first frame on which it is shown. Shown again later, it is corrected: what
is remembered of it counts as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from grounded_sam2.errors import PromptError
from grounded_sam2.models.protocols import AnyTracker, FrameMasks, TrackPrompt
from grounded_sam2.results import Label, Labels, TrackedFrame, VideoFrame
from grounded_sam2.tracking.detections import sights

__all__ = ["track_prompts"]


def track_prompts(
    frames: Iterable[VideoFrame],
    tracker: AnyTracker,
    prompts: Mapping[int, Mapping[int, TrackPrompt]],
    *,
    names: Mapping[int, str] | None = None,
    exclusive: bool = False,
) -> Iterator[TrackedFrame]:
    """Follow objects that are shown by boxes, points or masks.

    Args:
        frames: of one video, in order; each is let go of when the next is taken.
        tracker: follows them.
        prompts: what is shown, by `VideoFrame.index` and object. Ids of objects are positive.
        names: their classes; ``object`` for those without.
        exclusive: no two share a pixel. What two claim is the one's that is shown on the frame,
            else the surer one's.

    Yields:
        Every frame, with the objects that are seen in it by rising id. Where an object was shown,
        its label is of origin ``human``.

    Raises:
        PromptError: an id below 1, no prompts, or one for a frame that does not come.
    """
    if not any(prompts.values()):
        raise PromptError("prompts: none given; show at least one object on one frame")
    for shown in prompts.values():
        for number in shown:
            if number < 1:
                raise PromptError(f"prompts: object {number}; ids of objects begin at 1")
    left = {index for index, shown in prompts.items() if shown}
    state = tracker.empty_state()
    for position, frame in enumerate(frames):
        encoded = tracker.encode(frame.image)
        shown = prompts.get(frame.index, {})
        others = state.without(shown)
        parts: list[FrameMasks] = [tracker.propagate(encoded, others, position)]
        if shown:
            parts.append(tracker.prompt(encoded, shown, state, position))
            left.discard(frame.index)
        answers = parts[0].concatenate([part for part in parts if part.ids] or parts[:1])
        if exclusive:
            answers = answers.without_overlaps([answers.ids], others.ids if shown else ())
        state = tracker.update_state(encoded, state, position, answers, prompted=tuple(shown))
        seen = sights(answers)
        labels = tuple(
            Label(
                class_name=(names or {}).get(number, "object"),
                caption="",
                box_xyxy=seen[number].box_xyxy,
                mask=seen[number].mask,
                confidence=None,
                mask_quality=seen[number].quality,
                track_id=number,
                origin="human" if number in shown else "model",
                track_origin=None if number in shown else "forwards",
            )
            for number in sorted(seen)
        )
        yield TrackedFrame(frame.index, frame.time, Labels(frame.size_hw, labels))
    for index in sorted(left)[:1]:
        raise PromptError(
            f"prompts: frame {index} did not come; prompts are for frames of the video that the "
            "stride and the range take"
        )
