"""The unrolled tracker computes what the tracker computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embedded_training.unrolled_tracker import Prompt, UnrolledTracker
from grounded_sam2.geometry.rle import encode
from grounded_sam2.models.protocols import TrackPrompt
from grounded_sam2.models.sam2.tracker import Sam2Tracker

CLOSE = {"atol": 2e-2, "rtol": 2e-2}
"""The tracker rounds its maps to bfloat16."""


class GivenPixels:
    """An image processor that returns the pixels put into it."""

    pixels: torch.Tensor

    def __call__(self, **_: object) -> dict[str, torch.Tensor]:
        return {"pixel_values": self.pixels}


def test_lost_steps_yield_no_masks(model, clip_pool, sampler_of):
    sampler = sampler_of(clip_pool, gap_share=0, lost_share=1)
    episode = sampler.draw(np.random.default_rng(0), 2, 6, 4)
    tracker = UnrolledTracker(model)
    features = [
        tracker.object_features(tracker.encode_images(pixels), episode.clip_index)
        for pixels in episode.pixels
    ]
    with torch.no_grad():
        tracked = list(tracker.track(features, episode.times, episode.masks[0], lost=episode.lost))
    assert [step for step, masks in enumerate(tracked, start=1) if masks is None] == list(
        episode.lost
    )


@pytest.mark.parametrize("correction", [None, 4], ids=["one prompt", "corrected"])
@pytest.mark.parametrize("by_mask", [True, False], ids=["masks", "boxes"])
def test_equal_frames_and_prompts_give_equal_masks(
    model, clip_pool, sampler_of, by_mask, correction
):
    model.eval()
    sampler = sampler_of(clip_pool)
    episode = sampler.draw(np.random.default_rng(5), clips=1, frames=9, objects=2)
    assert episode.times == tuple(range(9)), "choose a seed without a gap"
    assert not episode.lost
    unrolled = UnrolledTracker(model, half=False)
    features = [
        unrolled.object_features(unrolled.encode_images(pixels), episode.clip_index)
        for pixels in episode.pixels
    ]
    boxes = torch.tensor([[10.0, 12.0, 40.0, 44.0], [20.0, 5.0, 60.0, 30.0]])
    with torch.no_grad():
        predicted = unrolled.predict(features[0], Prompt(boxes=boxes[:, None]), multimask=False)
        ours = list(
            unrolled.track(
                features,
                episode.times,
                episode.masks[0] if by_mask else predicted,
                correction=correction and (correction, boxes.flip(0)[:, None]),
            )
        )

    processor = GivenPixels()
    tracker = Sam2Tracker(model, processor)
    state = tracker.empty_state()
    image = np.zeros((64, 64, 3), np.uint8)
    for frame, pixels in enumerate(episode.pixels):
        processor.pixels = pixels[:1]
        encoded = tracker.encode(image)
        if frame == 0:
            prompts = {
                row + 1: TrackPrompt(mask=encode(episode.masks[0, row].numpy()[None])[0])
                if by_mask
                else TrackPrompt(box_xyxy=boxes[row].numpy())
                for row in range(2)
            }
            theirs = tracker.prompt(encoded, prompts)
        else:
            theirs = tracker.propagate(encoded, state, frame)
            if frame == correction:
                prompts = {row + 1: TrackPrompt(box_xyxy=boxes[1 - row].numpy()) for row in (0, 1)}
                theirs = tracker.prompt(encoded, prompts, state, frame)
            masks = ours[frame - 1]
            best = masks.quality.argmax(1)
            torch.testing.assert_close(
                masks.quality[range(2), best], torch.from_numpy(theirs.quality), **CLOSE
            )
            torch.testing.assert_close(masks.presence, torch.from_numpy(theirs.score), **CLOSE)
            present = masks.presence > 0
            expected = theirs.logits[present]
            torch.testing.assert_close(masks.logits[range(2), best][present], expected, **CLOSE)
        state = tracker.update_state(encoded, state, frame, theirs)
