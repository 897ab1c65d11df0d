"""Training of the tracker: its loss, its gradients, and its initial weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from embedded_training.train_tracker import (
    episode_loss,
    freeze_image_weights,
    masks_loss,
    with_new_memory,
)
from embedded_training.unrolled_tracker import Prompt, UnrolledTracker
from grounded_sam2.models.checkpoints import resolve_checkpoint
from grounded_sam2.models.sam2.model_type import SAM2
from grounded_sam2.models.sam2.tracker import Sam2Tracker


@pytest.mark.slow
def test_gradients_reach_the_whole_memory_and_no_frozen_weight(model, episode):
    freeze_image_weights(model)
    loss = torch.tensor(0.0)
    for seed in range(4):  # masks, boxes, points
        loss = loss + episode_loss(UnrolledTracker(model), episode, np.random.default_rng(seed))[0]
    loss.backward()
    without = {
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.grad is None
    }
    # These are used only where an object is absent, or where there is no memory at all.
    assert without <= {
        "no_object_pointer",
        "no_memory_positional_encoding",
        "occlusion_spatial_embedding_parameter",
    }
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert all(model.get_parameter(name).grad is None for name in frozen)
    assert {name.split(".")[0] for name in frozen} == {
        "vision_encoder",
        "prompt_encoder",
        "no_memory_embedding",
        "mask_decoder",
    }


@pytest.mark.slow
def test_a_few_steps_lower_the_loss(model, episode):
    freeze_image_weights(model)
    tracker = UnrolledTracker(model)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-3)
    losses = []
    for _ in range(6):
        loss, log = episode_loss(tracker, episode, np.random.default_rng(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        assert set(log) == {"asked", "track", "iou", "last", "gates"}
    assert losses[-1] < losses[0]


def test_absent_objects_have_no_mask_loss(model, episode):
    tracker = UnrolledTracker(model)
    encoded = tracker.encode_images(episode.pixels[0])
    features = tracker.object_features(encoded, episode.clip_index)
    predicted = tracker.predict(features, Prompt(), multimask=True)
    loss, iou, accuracy = masks_loss(predicted, torch.zeros_like(episode.masks[0]))
    assert np.isnan(iou)
    assert accuracy == float((predicted.presence <= 0).float().mean())
    loss.backward()
    assert model.mask_decoder.upscale_conv1.weight.grad is None


def test_the_image_weights_of_a_checkpoint_are_copied():
    model = with_new_memory(Path(resolve_checkpoint("demo", SAM2)))
    trained = Sam2Tracker.from_pretrained("demo", device="cpu").model
    for name in ("vision_encoder.neck.convs.0.weight", "mask_decoder.iou_token.weight"):
        torch.testing.assert_close(model.get_parameter(name), trained.get_parameter(name))
    assert model.mem_dim == 64
