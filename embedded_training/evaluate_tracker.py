"""Score the embedded tracker on clips it was not trained on.

    python -m embedded_training.evaluate_tracker --clips 20

``ours`` and ``reference``: every object is shown by its true mask on the first frame that it is
seen in, and followed from there, by our tracker or by ``Sam2VideoModel`` with the same weights,
which takes one object at a time and keeps everything. ``text``: nobody shows anything; the shapes
are asked for by name, and tracks are given the objects that they fit best.
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
from embedded_training.tracking_metrics import ClipScore, TrackScores, score_clip, summarize
from grounded_sam2.config import load_config
from grounded_sam2.demo.clips import Clip, ClipFrame, make_clips
from grounded_sam2.demo.davis_metrics import Masks
from grounded_sam2.geometry.rle import encode
from grounded_sam2.models.protocols import TrackPrompt
from grounded_sam2.models.sam2.track_masks import Sam2FrameMasks
from grounded_sam2.models.sam2.tracker import Sam2Tracker
from grounded_sam2.pipeline import GroundedSAM2
from grounded_sam2.results import Image

__all__ = ["Followed", "follow", "follow_by_reference", "follow_by_text", "main"]


@dataclass(frozen=True, slots=True, eq=False)
class Followed:
    """A clip, and what a tracker made of it."""

    truth: Sequence[Masks]
    predicted: Sequence[Masks]
    """What was shown on a frame is not in it."""
    since: Mapping[int, int] | None
    """First frame that an object was looked for on: the one after it was shown. ``None`` if the
    tracker found everything itself, and the numbers are its own."""

    def score(self) -> ClipScore:
        """J and F from the frame after each prompt; HOTA likewise, of the objects then known."""
        if self.since is None:
            return score_clip(self.truth, self.predicted, match=True)
        known = [
            {number: mask for number, mask in frame.items() if index >= self.since.get(number, 0)}
            for index, frame in enumerate(self.truth)
        ]
        return score_clip(known, self.predicted, since=self.since)


def follow(tracker: Sam2Tracker, clip: Clip) -> Followed:
    """Track the objects of a clip from their true first masks."""
    state = tracker.empty_state()
    truth: list[Masks] = []
    predicted: list[Masks] = []
    since: dict[int, int] = {}
    for frame in clip:
        encoded = tracker.encode(frame.image)
        answers = tracker.propagate(encoded, state, frame.index)
        masks = [mask.decode() for mask in answers.to_rles()]
        predicted.append(dict(zip(answers.ids, masks, strict=True)))
        truth.append(frame.masks)
        shown = _first_seen(frame, since)
        if shown:
            prompts = {
                number: TrackPrompt(mask=encode(mask[None])[0]) for number, mask in shown.items()
            }
            answers = Sam2FrameMasks.concatenate([answers, tracker.prompt(encoded, prompts)])
            since |= dict.fromkeys(shown, frame.index + 1)
        state = tracker.update_state(encoded, state, frame.index, answers)
    return Followed(truth, predicted, since)


def follow_by_reference(tracker: Sam2Tracker, clip: Clip) -> Followed:
    """The same by ``Sam2VideoModel.forward`` with the same weights."""
    model: Sam2VideoModel = tracker.model
    session = Sam2VideoInferenceSession(dtype=torch.float32)
    truth: list[Masks] = []
    predicted: list[Masks] = []
    since: dict[int, int] = {}
    for frame in clip:
        shown = _first_seen(frame, since)
        for number, mask in shown.items():
            session.add_mask_inputs(
                session.obj_id_to_idx(number), frame.index, _as_input(mask, model.image_size)
            )
        session.obj_with_new_inputs = list(shown)
        since |= dict.fromkeys(shown, frame.index + 1)
        truth.append(frame.masks)
        if not since:
            predicted.append({})
            continue
        pixels = tracker.image_processor(
            images=[frame.image], input_data_format="channels_last", return_tensors="pt"
        )["pixel_values"][0]
        said = model(session, frame_idx=frame.index, frame=pixels)
        size_hw = frame.image.shape[:2]
        large = F.interpolate(said.pred_masks, size_hw, mode="bilinear", align_corners=False)
        masks = (large[:, 0] > 0).numpy()
        predicted.append(
            {n: m for n, m in zip(said.object_ids, masks, strict=True) if n not in shown}
        )
    return Followed(truth, predicted, since)


def follow_by_text(model: GroundedSAM2, clip: Clip) -> Followed:
    """Find the objects of a clip by the names of their shapes, and follow them."""
    truth: list[Masks] = []

    def images() -> Iterator[Image]:
        for frame in clip:
            truth.append(frame.masks)
            yield frame.image

    predicted: list[Masks] = []
    for tracked in model.track(images()):
        found = tracked.detections
        assert len(found) == 0 or (found.mask is not None and found.tracker_id is not None)
        predicted.append(
            {int(n): m for n, m in zip(found.tracker_id, found.mask, strict=True)}
            if len(found)
            else {}
        )
    return Followed(truth, predicted, None)


def _first_seen(frame: ClipFrame, since: Mapping[int, int]) -> dict[int, NDArray[np.bool_]]:
    """Masks of the objects that are to be shown on this frame."""
    return {n: mask for n, mask in frame.masks.items() if n not in since and mask.any()}


def _as_input(mask: NDArray[np.bool_], side: int) -> torch.Tensor:
    """As ``Sam2VideoProcessor`` prepares a mask: ``(1, 1, side, side)`` ``bool``."""
    values = torch.from_numpy(mask)[None, None].float()
    resized = F.interpolate(
        values, (side, side), mode="bilinear", align_corners=False, antialias=True
    )
    return resized >= 0.5


def _report(name: str, scores: TrackScores, seconds: float) -> None:
    print(
        f"{name:10s} J&F {scores.region_and_border:.3f} (J {scores.region:.3f}, F "
        f"{scores.border:.3f}) HOTA {scores.hota:.3f} (DetA {scores.detection:.3f}, AssA "
        f"{scores.association:.3f}) switches {scores.switches} of {scores.objects} objects "
        f"({scores.switch_share:.1%}); {seconds:.0f} s",
        flush=True,
    )


_WAYS: dict[str, Callable[[GroundedSAM2, Clip], Followed]] = {
    "ours": lambda model, clip: follow(_tracker(model), clip),
    "reference": lambda model, clip: follow_by_reference(_tracker(model), clip),
    "text": follow_by_text,
}


def _tracker(model: GroundedSAM2) -> Sam2Tracker:
    tracker = model.tracker
    assert isinstance(tracker, Sam2Tracker)
    return tracker


def main() -> None:
    """Print the scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEED)
    parser.add_argument("--segmenter", type=Path, help="checkpoint folder (default: embedded)")
    parser.add_argument("--by", choices=_WAYS, action="append", help="default: all")
    arguments = parser.parse_args()
    config = load_config("demo")
    checkpoint = str(arguments.segmenter or config.segmenter.checkpoint)
    config = replace(config, segmenter=replace(config.segmenter, checkpoint=checkpoint))
    model = GroundedSAM2("shapes", config=config)
    for name in arguments.by or _WAYS:
        began = time.monotonic()
        clips = make_clips(arguments.clips, arguments.seed, arguments.frames)
        scores = [_WAYS[name](model, clip).score() for clip in clips]
        _report(name, summarize(scores), time.monotonic() - began)


if __name__ == "__main__":
    main()
