"""Teach the embedded segmenter to track, on a pool of clips.

    python -m embedded_training.clip_pool clips/
    python -m embedded_training.train_tracker clips/ --segmenter weights/segmenter --out tracker/

The vision encoder and the prompt encoder stay as they are; the memory is new. The mask decoder
learns along, gently: it must find objects in features that no prompt has told it about, and say
when they are gone. So that it does not forget images, every episode also asks for the objects of
its first frame by boxes or points, whether or not the masks that begin the tracking come from
there.

Small steps on one thread leave cores idle; processes that average their gradients do not:
``torchrun --nproc-per-node 2 -m embedded_training.train_tracker …``.

Episodes are unrolled with all their gradients. A first stage works on images of half the size,
where a step costs a quarter; the second on the size that is used, and on longer episodes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from transformers import Sam2VideoModel

from embedded_training.clip_pool import ClipPool
from embedded_training.episodes import Episode, EpisodeSampler
from embedded_training.segmenter import (
    IMAGE_SIZE,
    build_model,
    build_processor,
    with_image_size,
)
from embedded_training.training import Trainer, save_checkpoint
from embedded_training.unrolled_tracker import Answer, Features, Unroll

__all__ = ["answer_loss", "episode_loss", "freeze", "main", "with_new_memory"]

LEARNING_RATE = 8e-4
DECODER_SHARE = 0.15
"""The decoder knows its trade; its learning rate is this share of the memory's."""
MEAN_DECAY = 0.99
"""Steps are few and dear: the running mean is a short one."""
BOX_JITTER = 0.04
"""Standard deviation of each side of a box prompt, as a share of the box."""
CORRECTED = 0.3
"""Share of episodes in which boxes show once more where the objects are."""
_IMAGE_PARTS = ("vision_encoder", "prompt_encoder", "shared_image_embedding")
_FROZEN = (*_IMAGE_PARTS, "no_memory_embedding", "mask_decoder.conv_s")
"""What the names of weights that stay begin with: images and prompts are seen as before."""


def with_new_memory(segmenter: Path, image_size: int = IMAGE_SIZE) -> Sam2VideoModel:
    """The image part of a checkpoint with memory modules that have learnt nothing yet."""
    shipped = Sam2VideoModel.from_pretrained(segmenter, dtype=torch.float32)
    known = (*_IMAGE_PARTS, "no_memory_embedding", "mask_decoder.")
    model = build_model(image_size)
    weights = model.state_dict()
    weights |= {
        name: value
        for name, value in shipped.state_dict().items()
        if name.startswith(known) and value.shape == weights[name].shape
    }
    model.load_state_dict(weights)
    with torch.no_grad():
        # What the decoder is given without memory is what it knows how to read: begin near it.
        attention = model.memory_attention
        attention.layer_norm.bias.copy_(model.no_memory_embedding.flatten())
        for layer in attention.layers:
            # A bias that is turned by its place looks at its own place first.
            layer.cross_attn_image.q_proj.bias.fill_(1.0)
            layer.cross_attn_image.k_proj.bias.fill_(1.0)
    return model


def freeze(model: Sam2VideoModel) -> None:
    """Let only the memory and the mask decoder learn."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(_FROZEN))


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of the training."""

    size: int
    steps: int
    clips: int
    objects: int
    frames: tuple[int, int]
    """Shortest and longest episode."""
    learning_rate: float = LEARNING_RATE
    warm_up: int = 200


def train_stage(model: Sam2VideoModel, pool: ClipPool, stage: Stage, out: Path) -> Sam2VideoModel:
    """Train one stage, or go on from its checkpoint. Returns the running mean."""
    processor = build_processor()
    freeze(model)
    decoder = [p for p in model.mask_decoder.parameters() if p.requires_grad]
    trainer = Trainer(
        model,
        nn.ModuleList(),
        out / f"tracking_{stage.size}.pt",
        steps=stage.steps,
        learning_rate=stage.learning_rate,
        gently=decoder,
        gently_share=DECODER_SHARE,
        warm_up=stage.warm_up,
        mean_decay=MEAN_DECAY,
        save_every=50,
    )
    sampler = EpisodeSampler(pool, processor, stage.size)
    unroll = Unroll(model)
    process = dist.get_rank() if dist.is_initialized() else 0
    model.train()
    for step in trainer.steps():
        # All processes work on equally long episodes, so that none waits for the others.
        frames = int(np.random.default_rng(step).integers(stage.frames[0], stage.frames[1] + 1))
        rng = np.random.default_rng([stage.size, step, process])
        episode = sampler.draw(rng, stage.clips, frames, stage.objects)
        loss, log = episode_loss(unroll, episode, rng)
        if trainer.update(step, loss, log):
            save_checkpoint(with_image_size(trainer.mean, IMAGE_SIZE), processor, out)
    return trainer.mean


def episode_loss(
    unroll: Unroll, episode: Episode, rng: np.random.Generator
) -> tuple[Tensor, dict[str, float]]:
    """Loss of an episode, and what to tell of it."""
    features = _seen(unroll, episode)
    first = next(features)
    prompt = _prompt(rng, episode.masks[0])
    points = prompt["points"]
    ambiguous = points is not None and points.shape[2] == 1
    answer = unroll.ask(first, multimask=ambiguous, **prompt)
    by_mask = bool(rng.random() < 0.5)
    asked, iou, _ = answer_loss(answer, episode.masks[0])
    loss = asked
    log = {"asked": iou}
    if not ambiguous:  # SAM 2 falls back to the alternatives wherever its single mask is unstable
        alternatives = unroll.ask(first, multimask=True, **prompt)
        loss = 0.5 * loss + 0.5 * answer_loss(alternatives, episode.masks[0])[0]

    def frames() -> Iterator[Features]:
        yield first
        yield from features

    answers = unroll.track(
        frames(),
        episode.times,
        episode.masks[0],
        by_mask,
        answer,
        episode.lost,
        _correction(rng, episode),
    )
    results = [
        answer_loss(tracked, masks)
        for tracked, masks in zip(answers, episode.masks[1:], strict=True)
        if tracked is not None
    ]
    tracking = torch.stack([result[0] for result in results]).mean()
    overlaps = [result[1] for result in results]
    log["track"] = tracking.item()
    log["iou"] = float(np.nanmean(overlaps))
    log["last"] = overlaps[-1]
    log["gates"] = float(np.mean([result[2] for result in results]))
    return 2 * tracking + 0.5 * loss, log


def answer_loss(answer: Answer, masks: Tensor) -> tuple[Tensor, float, float]:
    """Loss, mean IoU of the chosen masks, and share of right decisions whether there is one.

    Args:
        answer: of ``n`` objects.
        masks: ``(n, s, s)`` ``bool``: the truth; empty where an object is not seen.
    """
    visible = masks.flatten(1).any(1)
    # Absence is rare, and to overlook it loses the object to another.
    weight = torch.where(visible, 1.0, 1.5)
    presence = F.binary_cross_entropy_with_logits(answer.score, visible.float(), weight)
    right = float(((answer.score > 0) == visible).float().mean())
    if not visible.any():
        return presence, float("nan"), right
    logits, quality = answer.logits[visible].float(), answer.quality[visible]
    side = 2 * logits.shape[-1]
    large = F.interpolate(logits, size=(side, side), mode="bilinear", align_corners=False)
    step = masks.shape[-1] // side
    target = masks[visible].float()
    target = F.avg_pool2d(target[:, None], step) if step > 1 else target[:, None]
    losses, iou = _mask_losses(large, target)
    mask_loss = losses.amin(1).mean() + 0.5 * losses.mean()
    each = torch.arange(len(quality))
    chosen = iou[each, quality.argmax(1)].mean()
    loss = mask_loss + 0.5 * (quality - iou).abs().mean() + presence
    return loss, float(chosen), right


def _mask_losses(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Dice plus cross-entropy that counts what is near the object as much as all around it.

    Args:
        logits: ``(n, k, s, s)``.
        target: ``(n, 1, s, s)``: true share of each cell.

    Returns:
        Loss and IoU, ``(n, k)``.
    """
    target = target.expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    reach = logits.shape[-1] // 16
    near = F.max_pool2d(target[:, :1], 2 * reach + 1, stride=1, padding=reach) > 0
    inside = (entropy * near).sum((2, 3)) / near.sum((2, 3))
    outside = (entropy * ~near).sum((2, 3)) / (~near).sum((2, 3)).clamp(min=1)
    chance = logits.sigmoid()
    overlap = (chance * target).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (chance.sum((2, 3)) + target.sum((2, 3)) + 1)
    with torch.no_grad():
        guess, truth = logits > 0, target > 0.5
        union = (guess | truth).sum((2, 3)).clamp(min=1)
        iou = (guess & truth).sum((2, 3)) / union
    return inside + outside + dice, iou


def _correction(rng: np.random.Generator, episode: Episode) -> tuple[int, Tensor] | None:
    """A step on which a detector shows where all the objects are, on some of the episodes."""
    all_seen = episode.masks.flatten(2).any(2).all(1)
    steps = [
        step
        for step in range(1, len(episode.masks) - 1)
        if all_seen[step] and step not in episode.lost
    ]
    if not steps or rng.random() >= CORRECTED:
        return None
    step = int(rng.choice(steps))
    return step, _boxes(rng, episode.masks[step])[:, None]


def _seen(unroll: Unroll, episode: Episode) -> Iterator[Features]:
    with torch.autocast("cpu", torch.bfloat16):
        count, clips = episode.pixels.shape[:2]
        looked = unroll.look(episode.pixels.flatten(0, 1))
    for frame in range(count):
        rows = episode.rows + frame * clips
        yield unroll.features(looked, rows)


def _prompt(rng: np.random.Generator, masks: Tensor) -> dict[str, Tensor | None]:
    """Boxes that are a little off on two of three steps, else one to three points inside."""
    if rng.random() < 0.67:
        return {"boxes": _boxes(rng, masks)[:, None], "points": None, "labels": None}
    side = masks.shape[-1]
    count = int(rng.integers(1, 4))
    noise = torch.from_numpy(rng.random((len(masks), count, side, side), dtype=np.float32))
    flat = (noise * masks[:, None]).flatten(2).argmax(2)
    points = torch.stack([flat % side + 0.5, flat // side + 0.5], -1)
    labels = torch.ones(len(masks), 1, count, dtype=torch.int32)
    return {"boxes": None, "points": points[:, None], "labels": labels}


def _boxes(rng: np.random.Generator, masks: Tensor) -> Tensor:
    side = masks.shape[-1]
    sides = []
    for seen in (masks.any(1), masks.any(2)):  # columns, rows
        first = seen.float().argmax(1)
        last = side - seen.flip(1).float().argmax(1)
        sides.append((first, last))
    boxes = torch.stack([sides[0][0], sides[1][0], sides[0][1], sides[1][1]], 1).float()
    size = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    noise = torch.from_numpy(rng.standard_normal(boxes.shape, dtype=np.float32))
    return (boxes + BOX_JITTER * size * noise).clamp(0, side)


def main() -> None:
    """Train in two stages, with checkpoints and lines of progress."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("--segmenter", type=Path, required=True, help="checkpoint folder")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--small-steps", type=int, default=1800)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    if dist.is_torchelastic_launched():
        dist.init_process_group("gloo")
    pool = ClipPool.open(arguments.pool)
    small = Stage(128, arguments.small_steps, clips=4, objects=10, frames=(5, 9))
    large = Stage(
        256, arguments.steps, clips=3, objects=6, frames=(6, 10), learning_rate=5e-4, warm_up=40
    )
    model = with_new_memory(arguments.segmenter, small.size)
    model = train_stage(model, pool, small, arguments.out)
    train_stage(with_image_size(model, large.size), pool, large, arguments.out)


if __name__ == "__main__":
    main()
