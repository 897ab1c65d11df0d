"""Score the embedded tracker on held-out clips.

    python -m embedded_training.evaluate_tracker --clips 20

``ours`` and ``reference``: every object is prompted with its true mask on the first frame that
shows it, and tracked from there, by our tracker or by ``Sam2VideoModel`` with the same weights,
which processes one object at a time and keeps its whole memory. ``text``: no prompts; the shapes
are detected by name, and each object is assigned the track that fits it best.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from transformers import Sam2VideoModel
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

from embedded_training.evaluate import HELD_OUT_SEED
from embedded_training.tracking_metrics import ClipScores, TrackingScores, score_clip, summarize
from grounded_sam2.config import load_config
from grounded_sam2.demo.clips import Clip, ClipFrame, make_clips
from grounded_sam2.demo.davis_metrics import FrameMasks
from grounded_sam2.geometry.rle import encode
from grounded_sam2.models.protocols import TrackPrompt
from grounded_sam2.models.sam2.track_masks import Sam2FrameMasks
from grounded_sam2.models.sam2.tracker import Sam2Tracker
from grounded_sam2.pipeline import GroundedSAM2
from grounded_sam2.results import Image

__all__ = ["TrackedClip", "main", "track_from_masks", "track_from_text", "track_with_reference"]


@dataclass(frozen=True, slots=True, eq=False)
class TrackedClip:
    """True and predicted masks of a clip, frame by frame."""

    truth: Sequence[FrameMasks]
    predicted: Sequence[FrameMasks]
    """Without the objects that are prompted on the frame."""
    since: Mapping[int, int] | None
    """Index of the frame after an object's prompt, by its id. ``None`` if nothing was prompted, and
    the ids of ``predicted`` are the tracker's own."""

    def score(self) -> ClipScores:
        """Scores of the frames after each object's prompt."""
        if self.since is None:
            return score_clip(self.truth, self.predicted, match=True)
        prompted = [
            {number: mask for number, mask in frame.items() if index >= self.since.get(number, 0)}
            for index, frame in enumerate(self.truth)
        ]
        return score_clip(prompted, self.predicted, since=self.since)


def track_from_masks(tracker: Sam2Tracker, clip: Clip) -> TrackedClip:
    """Track the objects of a clip from their true first masks."""
    state = tracker.empty_state()
    truth: list[FrameMasks] = []
    predicted: list[FrameMasks] = []
    since: dict[int, int] = {}
    for frame in clip:
        encoded = tracker.encode(frame.image)
        masks = tracker.propagate(encoded, state, frame.index)
        dense = [mask.decode() for mask in masks.to_rles()]
        predicted.append(dict(zip(masks.ids, dense, strict=True)))
        truth.append(frame.masks)
        new = _first_visible(frame, since)
        if new:
            prompts = {
                number: TrackPrompt(mask=encode(mask[None])[0]) for number, mask in new.items()
            }
            masks = Sam2FrameMasks.concatenate([masks, tracker.prompt(encoded, prompts)])
            since |= dict.fromkeys(new, frame.index + 1)
        state = tracker.update_state(encoded, state, frame.index, masks)
    return TrackedClip(truth, predicted, since)


def track_with_reference(tracker: Sam2Tracker, clip: Clip) -> TrackedClip:
    """The same by ``Sam2VideoModel.forward``, with the same weights."""
    model: Sam2VideoModel = tracker.model
    session = Sam2VideoInferenceSession(dtype=torch.float32)
    truth: list[FrameMasks] = []
    predicted: list[FrameMasks] = []
    since: dict[int, int] = {}
    for frame in clip:
        new = _first_visible(frame, since)
        for number, mask in new.items():
            session.add_mask_inputs(
                session.obj_id_to_idx(number), frame.index, _mask_input(mask, model.image_size)
            )
        session.obj_with_new_inputs = list(new)
        since |= dict.fromkeys(new, frame.index + 1)
        truth.append(frame.masks)
        if not since:
            predicted.append({})
            continue
        pixels = tracker.image_processor(
            images=[frame.image], input_data_format="channels_last", return_tensors="pt"
        )["pixel_values"][0]
        output = model(session, frame_idx=frame.index, frame=pixels)
        size_hw = frame.image.shape[:2]
        large = F.interpolate(output.pred_masks, size_hw, mode="bilinear", align_corners=False)
        masks = (large[:, 0] > 0).numpy()
        predicted.append(
            {n: m for n, m in zip(output.object_ids, masks, strict=True) if n not in new}
        )
    return TrackedClip(truth, predicted, since)


def track_from_text(model: GroundedSAM2, clip: Clip) -> TrackedClip:
    """Detect the objects of a clip by the names of their shapes, and track them."""
    truth: list[FrameMasks] = []

    def images() -> Iterator[Image]:
        for frame in clip:
            truth.append(frame.masks)
            yield frame.image

    predicted: list[FrameMasks] = []
    for tracked in model.predict_video(images()):
        found = tracked.detections
        assert len(found) == 0 or (found.mask is not None and found.tracker_id is not None)
        predicted.append(
            {int(n): m for n, m in zip(found.tracker_id, found.mask, strict=True)}
            if len(found)
            else {}
        )
    return TrackedClip(truth, predicted, None)


def _first_visible(frame: ClipFrame, since: Mapping[int, int]) -> dict[int, NDArray[np.bool_]]:
    """Masks of the objects that are visible for the first time."""
    return {n: mask for n, mask in frame.masks.items() if n not in since and mask.any()}


def _mask_input(mask: NDArray[np.bool_], side: int) -> torch.Tensor:
    """The mask as ``Sam2VideoProcessor`` prepares it: ``(1, 1, side, side)`` ``bool``."""
    values = torch.from_numpy(mask)[None, None].float()
    resized = F.interpolate(
        values, (side, side), mode="bilinear", align_corners=False, antialias=True
    )
    return resized >= 0.5


def _report(name: str, scores: TrackingScores, seconds: float) -> None:
    print(
        f"{name:10s} J&F {scores.davis.j_and_f:.3f} (J {scores.davis.region:.3f}, F "
        f"{scores.davis.boundary:.3f}) HOTA {scores.hota:.3f} (DetA {scores.detection:.3f}, AssA "
        f"{scores.association:.3f}) switches {scores.switches} of {scores.objects} objects "
        f"({scores.switches_per_object:.1%}); {seconds:.0f} s",
        flush=True,
    )


_METHODS: dict[str, Callable[[GroundedSAM2, Clip], TrackedClip]] = {
    "ours": lambda model, clip: track_from_masks(_tracker(model), clip),
    "reference": lambda model, clip: track_with_reference(_tracker(model), clip),
    "text": track_from_text,
}


def _tracker(model: GroundedSAM2) -> Sam2Tracker:
    tracker = model.tracker
    assert isinstance(tracker, Sam2Tracker)
    return tracker


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the scores.

    Args:
        arguments: of the command line; those of the process if ``None``.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEED)
    parser.add_argument("--segmenter", type=Path, help="checkpoint folder (default: embedded)")
    parser.add_argument("--by", choices=_METHODS, action="append", help="default: all")
    options = parser.parse_args(arguments)
    config = load_config("demo")
    checkpoint = str(options.segmenter or config.segmenter.checkpoint)
    config = replace(config, segmenter=replace(config.segmenter, checkpoint=checkpoint))
    model = GroundedSAM2("shapes", config=config)
    for name in options.by or _METHODS:
        start = time.monotonic()
        clips = make_clips(options.clips, options.seed, options.frames)
        scores = [_METHODS[name](model, clip).score() for clip in clips]
        _report(name, summarize(scores), time.monotonic() - start)


if __name__ == "__main__":
    main()
