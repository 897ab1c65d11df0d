"""Tracking by prompts: objects are shown to the tracker by boxes, points or masks.

    prompts = {0: {1: TrackPrompt(box_xyxy=[10, 20, 80, 90])}, 40: {1: TrackPrompt(mask=better)}}
    for frame in track_prompts(frames, tracker, prompts):
        ...

An object starts on the first frame with a prompt for it. Later prompts correct it: the tracker's
memory of the object counts as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from grounded_sam2.errors import PromptError
from grounded_sam2.models.protocols import AnyTracker, FrameMasks, TrackPrompt
from grounded_sam2.results import Label, Labels, TrackedFrame, VideoFrame
from grounded_sam2.tracking.object_masks import visible_objects

__all__ = ["track_prompts"]


def track_prompts(
    frames: Iterable[VideoFrame],
    tracker: AnyTracker,
    prompts: Mapping[int, Mapping[int, TrackPrompt]],
    *,
    names: Mapping[int, str] | None = None,
    exclusive: bool = False,
) -> Iterator[TrackedFrame]:
    """Track objects that are given by boxes, points or masks.

    Args:
        frames: of one video, in order; a frame is freed when the next one is taken.
        tracker: propagates the objects' masks.
        prompts: prompts by `VideoFrame.index` and object id. Object ids are positive.
        names: class names by object id; ``object`` for those without.
        exclusive: masks share no pixel. A region that two masks cover goes to the object that is
            prompted on the frame, else to the one with the higher score.

    Yields:
        Every frame, with the visible objects by rising id. On frames with a prompt for an object,
        its label is of origin ``human``.

    Raises:
        PromptError: an id below 1, no prompts, or a prompt for a frame that is not in `frames`.
    """
    if not any(prompts.values()):
        raise PromptError("prompts: none given; give a prompt for at least one object on one frame")
    for frame_prompts in prompts.values():
        for object_id in frame_prompts:
            if object_id < 1:
                raise PromptError(
                    f"prompts: object id {object_id} is below 1; use ids from 1 upwards"
                )
    unused = {index for index, frame_prompts in prompts.items() if frame_prompts}
    state = tracker.empty_state()
    for position, frame in enumerate(frames):
        features = tracker.encode(frame.image)
        prompted = prompts.get(frame.index, {})
        others = state.without(prompted)
        parts: list[FrameMasks] = [tracker.propagate(features, others, position)]
        if prompted:
            parts.append(tracker.prompt(features, prompted, state, position))
            unused.discard(frame.index)
        masks = parts[0].concatenate([part for part in parts if part.ids] or parts[:1])
        if exclusive:
            masks = masks.without_overlaps([masks.ids], others.ids if prompted else ())
        state = tracker.update_state(features, state, position, masks, prompted=tuple(prompted))
        visible = visible_objects(masks)
        labels = tuple(
            Label(
                class_name=(names or {}).get(object_id, "object"),
                caption="",
                box_xyxy=visible[object_id].box_xyxy,
                mask=visible[object_id].mask,
                confidence=None,
                mask_quality=visible[object_id].quality,
                track_id=object_id,
                origin="human" if object_id in prompted else "model",
                track_origin=None if object_id in prompted else "forwards",
            )
            for object_id in sorted(visible)
        )
        yield TrackedFrame(frame.index, frame.time, Labels(frame.size_hw, labels))
    for index in sorted(unused)[:1]:
        raise PromptError(
            f"prompts: frame {index} is not among the frames; give prompts for frames of the video "
            "that its stride and range include"
        )
