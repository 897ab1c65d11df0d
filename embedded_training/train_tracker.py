"""Train the memory of the embedded segmenter, so that it tracks, on a pool of clips.

    python -m embedded_training.clip_pool clips/
    python -m embedded_training.train_tracker clips/ --segmenter weights/segmenter --out tracker/

The vision encoder and the prompt encoder are frozen; the memory is new. The mask decoder is trained
at a lower rate: it must find objects in features that no prompt has influenced, and predict their
absence. To keep its accuracy on images, every episode also prompts the objects of its first frame
with boxes or points, whether or not tracking starts from these masks.

Small steps on one thread leave cores idle; several processes that average their gradients use
them: ``torchrun --nproc-per-node 2 -m embedded_training.train_tracker …``.

Episodes are unrolled with all their gradients. A first stage uses images of half the size, where a
step costs a quarter; the second the full size, and longer episodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from transformers import Sam2VideoModel

from embedded_training.augmentation import jitter_boxes, sample_points
from embedded_training.clip_pool import ClipPool
from embedded_training.episodes import Episode, EpisodeSampler
from embedded_training.segmenter import (
    IMAGE_SIZE,
    build_model,
    build_processor,
    with_image_size,
)
from embedded_training.training import (
    Trainer,
    mask_losses,
    save_checkpoint,
    start_training,
    training_parser,
)
from embedded_training.unrolled_tracker import DecodedMasks, Features, Prompt, UnrolledTracker

__all__ = ["episode_loss", "freeze_image_weights", "main", "masks_loss", "with_new_memory"]

LEARNING_RATE = 8e-4
DECODER_SHARE = 0.15
"""Learning rate of the trained decoder as a share of that of the new memory."""
MEAN_DECAY = 0.99
"""Steps are few and expensive, so the running mean spans only about a hundred."""
BOX_JITTER = 0.04
"""Standard deviation of each side of a box prompt, as a share of the box."""
CORRECTED_SHARE = 0.3
"""Share of episodes in which boxes prompt all objects again at a later step."""
_IMAGE_PARTS = ("vision_encoder", "prompt_encoder", "shared_image_embedding")
_FROZEN = (*_IMAGE_PARTS, "no_memory_embedding", "mask_decoder.conv_s")
"""Prefixes of the names of frozen weights: those of images and prompts."""


def with_new_memory(segmenter: Path, image_size: int = IMAGE_SIZE) -> Sam2VideoModel:
    """A model with the image weights of a checkpoint and new memory modules."""
    trained = Sam2VideoModel.from_pretrained(segmenter, dtype=torch.float32)
    copied = (*_IMAGE_PARTS, "no_memory_embedding", "mask_decoder.")
    model = build_model(image_size)
    weights = model.state_dict()
    weights |= {
        name: value
        for name, value in trained.state_dict().items()
        if name.startswith(copied) and value.shape == weights[name].shape
    }
    model.load_state_dict(weights)
    with torch.no_grad():
        # The decoder was trained on features plus `no_memory_embedding`: start near these.
        attention = model.memory_attention
        attention.layer_norm.bias.copy_(model.no_memory_embedding.flatten())
        for layer in attention.layers:
            # Equal biases under rotary encoding make each cell attend to its own position first.
            layer.cross_attn_image.q_proj.bias.fill_(1.0)
            layer.cross_attn_image.k_proj.bias.fill_(1.0)
    return model


def freeze_image_weights(model: Sam2VideoModel) -> None:
    """Leave only the memory and the mask decoder trainable."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(_FROZEN))


@dataclass(frozen=True, slots=True)
class Stage:
    """One of two stages of the training, the first with smaller images."""

    size: int
    steps: int
    clips: int
    objects: int
    frames: tuple[int, int]
    """Least and greatest length of an episode."""
    learning_rate: float = LEARNING_RATE
    warm_up: int = 200


def train_stage(model: Sam2VideoModel, pool: ClipPool, stage: Stage, out: Path) -> Sam2VideoModel:
    """Train one stage, or resume it; return the model with the running mean of its weights."""
    processor = build_processor()
    freeze_image_weights(model)
    sampler = EpisodeSampler(pool, processor, stage.size)
    tracker = UnrolledTracker(model)
    process = dist.get_rank() if dist.is_initialized() else 0

    def step_loss(step: int) -> tuple[Tensor, dict[str, float]]:
        # All processes draw episodes of one length, so that none waits for the others.
        frames = int(np.random.default_rng(step).integers(stage.frames[0], stage.frames[1] + 1))
        rng = np.random.default_rng([stage.size, step, process])
        episode = sampler.draw(rng, stage.clips, frames, stage.objects)
        return episode_loss(tracker, episode, rng)

    trainer = Trainer(
        model,
        nn.ModuleList(),
        out / f"tracking_{stage.size}.pt",
        steps=stage.steps,
        learning_rate=stage.learning_rate,
        slow_parameters=[p for p in model.mask_decoder.parameters() if p.requires_grad],
        slow_share=DECODER_SHARE,
        warm_up=stage.warm_up,
        mean_decay=MEAN_DECAY,
        save_every=50,
    )
    model.train()
    return trainer.train(
        step_loss,
        lambda averaged: save_checkpoint(with_image_size(averaged, IMAGE_SIZE), processor, out),
    )


def episode_loss(
    tracker: UnrolledTracker, episode: Episode, rng: np.random.Generator
) -> tuple[Tensor, dict[str, float]]:
    """Loss of an episode, and values for the log."""
    features = _encoded_frames(tracker, episode)
    first = next(features)
    first_masks = episode.masks[0]
    prompt = _random_prompt(rng, first_masks)
    ambiguous = prompt.points is not None and prompt.points.shape[2] == 1
    predicted = tracker.predict(first, prompt, multimask=ambiguous)
    from_masks = bool(rng.random() < 0.5)
    prompt_loss, iou, _ = masks_loss(predicted, first_masks)
    log = {"asked": iou}
    if not ambiguous:  # SAM 2 falls back to the alternatives where its single mask is unstable
        alternatives = tracker.predict(first, prompt, multimask=True)
        prompt_loss = 0.5 * prompt_loss + 0.5 * masks_loss(alternatives, first_masks)[0]

    def frames() -> Iterator[Features]:
        yield first
        yield from features

    tracked = tracker.track(
        frames(),
        episode.times,
        first_masks if from_masks else predicted,
        lost=episode.lost,
        correction=_correction(rng, episode),
    )
    results = [
        masks_loss(masks, truth)
        for masks, truth in zip(tracked, episode.masks[1:], strict=True)
        if masks is not None
    ]
    tracking = torch.stack([result[0] for result in results]).mean()
    overlaps = [result[1] for result in results]
    log["track"] = tracking.item()
    log["iou"] = float(np.nanmean(overlaps))
    log["last"] = overlaps[-1]
    log["gates"] = float(np.mean([result[2] for result in results]))
    return 2 * tracking + 0.5 * prompt_loss, log


def masks_loss(predicted: DecodedMasks, truth: Tensor) -> tuple[Tensor, float, float]:
    """Loss of decoded masks, mean IoU of the best masks, and accuracy of the presence.

    Args:
        predicted: of ``n`` objects.
        truth: ``(n, s, s)`` ``bool``; empty where an object is not visible. If none is visible, the
            loss is that of the presence and the IoU ``nan``.
    """
    visible = truth.flatten(1).any(1)
    # Absence is rare, and a missed one lets the track drift to another object.
    weight = torch.where(visible, 1.0, 1.5)
    presence = F.binary_cross_entropy_with_logits(predicted.presence, visible.float(), weight)
    accuracy = float(((predicted.presence > 0) == visible).float().mean())
    if not visible.any():
        return presence, float("nan"), accuracy
    logits, quality = predicted.logits[visible].float(), predicted.quality[visible]
    side = 2 * logits.shape[-1]
    large = F.interpolate(logits, size=(side, side), mode="bilinear", align_corners=False)
    step = truth.shape[-1] // side
    target = truth[visible].float()
    target = F.avg_pool2d(target[:, None], step) if step > 1 else target[:, None]
    reach = side // 16
    near = F.max_pool2d(target, 2 * reach + 1, stride=1, padding=reach) > 0
    losses, iou = mask_losses(large, target, near)
    mask_loss = losses.amin(1).mean() + 0.5 * losses.mean()
    best = iou[torch.arange(len(quality)), quality.argmax(1)].mean()
    loss = mask_loss + 0.5 * (quality - iou).abs().mean() + presence
    return loss, float(best), accuracy


def _correction(rng: np.random.Generator, episode: Episode) -> tuple[int, Tensor] | None:
    """A step and boxes that prompt all objects there, on some of the episodes."""
    all_visible = episode.masks.flatten(2).any(2).all(1)
    steps = [
        step
        for step in range(1, len(episode.masks) - 1)
        if all_visible[step] and step not in episode.lost
    ]
    if not steps or rng.random() >= CORRECTED_SHARE:
        return None
    step = int(rng.choice(steps))
    return step, _jittered_boxes(rng, episode.masks[step])[:, None]


def _encoded_frames(tracker: UnrolledTracker, episode: Episode) -> Iterator[Features]:
    with torch.autocast("cpu", torch.bfloat16):
        count, clips = episode.pixels.shape[:2]
        encoded = tracker.encode_images(episode.pixels.flatten(0, 1))
    for frame in range(count):
        yield tracker.object_features(encoded, episode.clip_index + frame * clips)


def _random_prompt(rng: np.random.Generator, masks: Tensor) -> Prompt:
    """Jittered boxes on two of three steps, else one to three points inside each object."""
    if rng.random() < 0.67:
        return Prompt(boxes=_jittered_boxes(rng, masks)[:, None])
    count = int(rng.integers(1, 4))
    points = sample_points(rng, masks[:, None].expand(-1, count, -1, -1))
    labels = torch.ones(len(masks), 1, count, dtype=torch.int32)
    return Prompt(points=points[:, None], labels=labels)


def _jittered_boxes(rng: np.random.Generator, masks: Tensor) -> Tensor:
    side = masks.shape[-1]
    sides = []
    for occupied in (masks.any(1), masks.any(2)):  # columns, rows
        first = occupied.float().argmax(1)
        last = side - occupied.flip(1).float().argmax(1)
        sides.append((first, last))
    boxes = torch.stack([sides[0][0], sides[1][0], sides[0][1], sides[1][1]], 1).float()
    return jitter_boxes(rng, boxes, BOX_JITTER, side)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train in two stages; write checkpoints and lines of progress.

    Args:
        arguments: of the command line; those of the process if ``None``.
    """
    parser = training_parser(__doc__.splitlines()[0], steps=700, threads=1)
    parser.add_argument("--segmenter", type=Path, required=True, help="checkpoint folder")
    parser.add_argument("--small-steps", type=int, default=1800, help="steps of the first stage")
    options = parser.parse_args(arguments)
    start_training(options)
    if dist.is_torchelastic_launched():
        dist.init_process_group("gloo")
    pool = ClipPool.open(options.pool)
    small = Stage(128, options.small_steps, clips=4, objects=10, frames=(5, 9))
    large = Stage(
        256, options.steps, clips=3, objects=6, frames=(6, 10), learning_rate=5e-4, warm_up=40
    )
    model = with_new_memory(options.segmenter, small.size)
    model = train_stage(model, pool, small, options.out)
    train_stage(with_image_size(model, large.size), pool, large, options.out)


if __name__ == "__main__":
    main()
