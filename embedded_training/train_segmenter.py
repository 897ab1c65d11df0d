"""Train the image part of the embedded segmenter from scratch on a pool of scenes.

    python -m embedded_training.scene_pool pool/
    python -m embedded_training.train_segmenter pool/ --out weights/segmenter

As with the detector, the vision encoder is first taught directly what stands where, and then
prompts are asked: boxes that are a little off, points, and a second round in which the first
answer comes back as a mask prompt with a point where it was most wrong. All four mask outputs
are trained, the single one on most of the steps and the three alternatives (the best of them is
the one that counts) on the others, because at inference SAM 2 falls back to the alternatives
whenever its single mask is unstable. Each output also learns to predict its own IoU.

What a prompt means takes many prompts to learn and little resolution, so a first stage works on
images of half the size, where a prompt costs a quarter; the second sharpens the outlines.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import Sam2Processor, Sam2VideoModel

from embedded_training.scene_pool import ScenePool
from embedded_training.segmenter import (
    IMAGE_SIZE,
    build_model,
    build_processor,
    with_image_size,
)
from embedded_training.training import Trainer, save_checkpoint
from grounded_sam2.demo.scenes import COLORS, SHAPES

__all__ = ["main"]

LEARNING_RATE = 6e-4
PROMPTS_PER_IMAGE = 8
BOX_JITTER = 0.06
"""Standard deviation of each side of a box prompt, as a share of the box."""
_LOSS_SIZE = IMAGE_SIZE // 2


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures, which objects are asked for, and what stands where."""

    pixels: Tensor
    """``(b, 3, s, s)`` normalized; ``s`` is the size that is trained at."""
    images: Tensor
    """``(r,)`` image of each prompt row."""
    boxes: Tensor
    """``(r, 4)`` true xyxy in pixels of the ``s × s`` image."""
    masks: Tensor
    """``(r, 128, 128)`` true share of each cell of the grid that losses are computed on."""
    instances: Tensor
    """``(b, s, s)``: 0 is background, k the k-th object."""
    names: Tensor
    """``(b, 6, 2)``."""


class BatchSampler:
    """Draws batches from a pool, flipped and turned at random."""

    def __init__(self, pool: ScenePool, processor: Sam2Processor, size: int) -> None:
        self.names, self.size = pool.names, size
        self.images = pool.large if size == IMAGE_SIZE else pool.small
        self.instances = pool.instances[:, :: IMAGE_SIZE // size, :: IMAGE_SIZE // size]
        self.mean = np.float32(processor.image_processor.image_mean)
        self.std = np.float32(processor.image_processor.image_std)

    def draw(self, rng: np.random.Generator, size: int) -> Batch:
        """Draw ``size`` scenes with replacement and `PROMPTS_PER_IMAGE` objects of each."""
        index = np.sort(rng.integers(len(self.names), size=size))
        images, instances = self.images[index], self.instances[index]
        names = self.names[index]
        if rng.random() < 0.5:
            images, instances = images[:, :, ::-1], instances[:, :, ::-1]
        if rng.random() < 0.5:
            images, instances = images[:, ::-1], instances[:, ::-1]
        if rng.random() < 0.5:
            images, instances = images.swapaxes(1, 2), instances.swapaxes(1, 2)
        rows: list[tuple[int, int]] = []
        for image in range(size):
            visible = np.unique(instances[image])[1:]
            for identity in rng.choice(visible, PROMPTS_PER_IMAGE):
                rows.append((image, int(identity)))
        masks = np.stack([instances[image] == identity for image, identity in rows])
        pixels = (images.astype(np.float32) / 255 - self.mean) / self.std
        block = self.size // _LOSS_SIZE
        shares = masks.reshape(len(rows), _LOSS_SIZE, block, _LOSS_SIZE, block).mean((2, 4))
        return Batch(
            pixels=torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))),
            images=torch.tensor([image for image, _ in rows]),
            boxes=torch.from_numpy(np.stack([_extent(mask) for mask in masks])),
            masks=torch.from_numpy(shares.astype(np.float32)),
            instances=torch.from_numpy(np.ascontiguousarray(instances)).long(),
            names=torch.from_numpy(names).long(),
        )


class DenseHeads(nn.Module):
    """What the vision encoder is taught with, thrown away after training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # Normalized: else the features grow, since loud features are the easiest to read, and
        # drown the positions that prompts are matched by.
        self.coarse = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, len(COLORS) + 1 + len(SHAPES) + 1 + 4)
        )
        self.fine = nn.Sequential(
            nn.LayerNorm(width // 8), nn.Linear(width // 8, len(COLORS) + 1 + 1)
        )

    def loss(self, embeddings: list[Tensor], batch: Batch) -> Tensor:
        """Names and sides at stride 16; colors and borders at stride 4."""
        coarse = self.coarse(embeddings[-1].permute(0, 2, 3, 1)).flatten(0, 2)
        color, shape, sides = coarse.split([len(COLORS) + 1, len(SHAPES) + 1, 4], dim=-1)
        identity = batch.instances[:, 8::16, 8::16]
        colors, shapes = self._names(identity, batch.names)
        loss = F.cross_entropy(color, colors.flatten()) + F.cross_entropy(shape, shapes.flatten())
        loss = loss + 4 * self._side_loss(sides, identity, batch)

        fine = self.fine(embeddings[0].permute(0, 2, 3, 1)).flatten(0, 2)
        colors, _ = self._names(batch.instances[:, 2::4, 2::4], batch.names)
        loss = loss + F.cross_entropy(fine[:, :-1], colors.flatten())
        blocks = batch.instances.unflatten(1, (-1, 4)).unflatten(3, (-1, 4))
        border = blocks.amax((2, 4)) != blocks.amin((2, 4))
        return loss + F.binary_cross_entropy_with_logits(fine[:, -1], border.flatten().float())

    @staticmethod
    def _names(identity: Tensor, names: Tensor) -> tuple[Tensor, Tensor]:
        rows = torch.arange(len(names))[:, None, None]
        found = names[rows, (identity - 1).clamp(min=0)]
        nothing = torch.tensor([len(COLORS), len(SHAPES)])
        found = torch.where(identity[..., None] > 0, found, nothing)
        return found[..., 0], found[..., 1]

    @staticmethod
    def _side_loss(sides: Tensor, identity: Tensor, batch: Batch) -> Tensor:
        """L1 of the distances from cell centers to the four sides, in image widths."""
        asked = torch.full((len(batch.names), batch.names.shape[1] + 1, 4), torch.nan)
        rows, side = batch.images, batch.pixels.shape[-1]
        centers = batch.instances.flatten(1)
        for image, box, mask in zip(rows, batch.boxes, batch.masks, strict=True):
            inside = F.interpolate(mask[None, None], size=side)[0, 0].flatten() > 0.99
            asked[image, centers[image][inside][:1]] = box / side
        grid_side = identity.shape[1]
        position = (torch.arange(grid_side) + 0.5) / grid_side
        grid = torch.stack(torch.meshgrid(position, position, indexing="xy"), -1).repeat(1, 1, 2)
        target = asked[torch.arange(len(asked))[:, None, None], identity] - grid
        known = target.isfinite().all(-1) & (identity > 0)
        guess = sides.view(*identity.shape, 4)[known]
        return (guess - target[known]).abs().mean() if known.any() else sides.sum() * 0


class PromptLoss:
    """Losses of one round of prompts."""

    def __init__(self, model: Sam2VideoModel) -> None:
        self.model = model

    def embed(self, pixels: Tensor) -> list[Tensor]:
        """Feature maps of images at strides 4, 8 and 16, as the mask decoder takes them."""
        features = self.model.get_image_features(pixels, return_dict=True).fpn_hidden_states
        features[-1] = features[-1] + self.model.no_memory_embedding
        sizes = self.model.backbone_feature_sizes
        return [
            feature.permute(1, 2, 0).unflatten(-1, size)
            for feature, size in zip(features, sizes, strict=True)
        ]

    def __call__(
        self, rows: list[Tensor], batch: Batch, prompt: dict[str, Tensor | None], multimask: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, best low-resolution logits ``(r, 64, 64)`` and their true IoU ``(r,)``."""
        model = self.model
        sparse, dense = model.prompt_encoder(**prompt)
        logits, quality, _, presence = model.mask_decoder(
            image_embeddings=rows[-1],
            image_positional_embeddings=model.get_image_wide_positional_embeddings().expand(
                len(batch.images), -1, -1, -1
            ),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
            high_resolution_features=rows[:-1],
        )
        logits, quality = logits[:, 0].float(), quality[:, 0].float()  # (r, k, 64, 64), (r, k)
        large = F.interpolate(logits, size=_LOSS_SIZE, mode="bilinear", align_corners=False)
        losses, iou = self._mask_losses(large, batch)
        best = losses.argmin(1)
        each = torch.arange(len(best))
        loss = losses[each, best].mean() + 0.2 * losses.mean()
        loss = loss + (quality - iou).abs().mean()
        loss = loss + 0.05 * F.softplus(-presence.float()).mean()
        chosen = quality.argmax(1)
        return loss, logits[each, chosen], iou[each, chosen]

    @staticmethod
    def _mask_losses(logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Dice plus cross-entropy, weighted so that the box counts as much as all around it."""
        target = batch.masks[:, None].expand_as(logits)
        entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        near = _inside(_grow(batch.boxes, 0.15), batch.pixels.shape[-1])[:, None]
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


def _extent(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def _grow(boxes: Tensor, share: float) -> Tensor:
    size = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    return boxes + size * torch.tensor([-share, -share, share, share])


def _inside(boxes: Tensor, size: int) -> Tensor:
    """Cells of the loss grid inside boxes of a ``size × size`` image: ``(r, 128, 128)``."""
    position = (torch.arange(_LOSS_SIZE) + 0.5) * (size / _LOSS_SIZE)
    columns = (position >= boxes[:, 0:1]) & (position < boxes[:, 2:3])
    rows = (position >= boxes[:, 1:2]) & (position < boxes[:, 3:4])
    return rows[:, :, None] & columns[:, None, :]


def _jitter(rng: np.random.Generator, boxes: Tensor, limit: int) -> Tensor:
    size = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    noise = torch.from_numpy(rng.standard_normal(boxes.shape, dtype=np.float32))
    return (boxes + BOX_JITTER * size * noise).clamp(0, limit)


def _points(rng: np.random.Generator, where: Tensor, size: int) -> Tensor:
    """A random cell of each ``(r, 128, 128)`` region, as ``(r, 2)`` image coordinates."""
    noise = torch.from_numpy(rng.random(tuple(where.shape), dtype=np.float32))
    flat = (noise * where.float()).flatten(1).argmax(1)
    cell = torch.stack([flat % _LOSS_SIZE + 0.5, flat // _LOSS_SIZE + 0.5], -1)
    return cell * (size / _LOSS_SIZE)


def _prompt(
    boxes: Tensor | None = None,
    points: Tensor | None = None,
    labels: Tensor | None = None,
    masks: Tensor | None = None,
) -> dict[str, Tensor | None]:
    """One prompt per row in the shapes of SAM 2's prompt encoder."""
    return {
        "input_boxes": None if boxes is None else boxes[:, None],
        "input_points": None if points is None else points[:, None],
        "input_labels": None if labels is None else labels[:, None],
        "input_masks": None if masks is None else masks[:, None],
    }


def _first_prompt(rng: np.random.Generator, batch: Batch) -> dict[str, Tensor | None]:
    """A box on two of three steps, else one to three points."""
    size = batch.pixels.shape[-1]
    if rng.random() < 0.66:
        return _prompt(boxes=_jitter(rng, batch.boxes, size))
    inner = batch.masks > 0.99
    count = int(rng.integers(1, 4))
    points = [_points(rng, inner, size)]
    labels = [torch.ones(len(inner), dtype=torch.long)]
    around = _inside(_grow(batch.boxes, 0.3), size) & (batch.masks < 0.01)
    for _ in range(count - 1):
        positive = rng.random() < 0.5
        points.append(_points(rng, inner if positive else around, size))
        labels.append(torch.full((len(inner),), int(positive)))
    return _prompt(points=torch.stack(points, 1), labels=torch.stack(labels, 1))


def _second_prompt(
    rng: np.random.Generator, batch: Batch, first: dict[str, Tensor | None], logits: Tensor
) -> dict[str, Tensor | None]:
    """The first answer as a mask, with a point where it was wrong (or anywhere, if nowhere)."""
    large = F.interpolate(logits[:, None], size=_LOSS_SIZE, mode="bilinear", align_corners=False)
    wrong = (large[:, 0] > 0) != (batch.masks > 0.5)
    wrong = torch.where(wrong.flatten(1).any(1)[:, None, None], wrong, torch.ones_like(wrong))
    size = batch.pixels.shape[-1]
    points = _points(rng, wrong, size)
    index = (points / (size / _LOSS_SIZE)).long()
    labels = (batch.masks[torch.arange(len(points)), index[:, 1], index[:, 0]] > 0.5).long()
    box = first["input_boxes"]
    return _prompt(
        boxes=None if box is None else box[:, 0],
        points=points[:, None],
        labels=labels[:, None],
        masks=logits,
    )


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of the training: everything is learnt small first, where steps are cheap."""

    size: int
    batch_size: int
    steps: int
    dense_steps: int
    multimask: float
    """Share of steps that train the three alternatives."""
    refine: float
    """Share of steps with a second round of prompts."""


def train_stage(
    model: Sam2VideoModel, heads: DenseHeads, pool: ScenePool, stage: Stage, out: Path
) -> Sam2VideoModel:
    """Train one stage, or go on from its checkpoint. Returns the running mean."""
    processor = build_processor()
    trainer = Trainer(
        model,
        heads,
        out / f"training_{stage.size}.pt",
        steps=stage.steps,
        learning_rate=LEARNING_RATE,
    )
    sampler = BatchSampler(pool, processor, stage.size)
    prompt_loss = PromptLoss(model)
    model.train()
    for step in trainer.steps():
        rng = np.random.default_rng([stage.size, step])
        batch = sampler.draw(rng, stage.batch_size)
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = [feature.float() for feature in prompt_loss.embed(batch.pixels)]
            loss = dense = heads.loss(embeddings, batch)
        log = {"dense": dense.item()}
        if step >= stage.dense_steps:
            rows = [feature[batch.images] for feature in embeddings]
            prompt = _first_prompt(rng, batch)
            multimask = rng.random() < stage.multimask
            asked, logits, iou = prompt_loss(rows, batch, prompt, multimask)
            loss = asked + 0.2 * dense
            kind = "points" if prompt["input_boxes"] is None else "boxes"
            log[f"iou_{kind}"] = iou.mean().item()
            if rng.random() < stage.refine:
                again = _second_prompt(rng, batch, prompt, logits.detach())
                refined, _, iou = prompt_loss(rows, batch, again, False)
                loss = loss + refined
                log["iou_refined"] = iou.mean().item()
        if trainer.update(step, loss, log):
            save_checkpoint(with_image_size(trainer.mean, IMAGE_SIZE), processor, out)
    return trainer.mean


def main() -> None:
    """Train in two stages, with checkpoints and lines of progress."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--small-steps", type=int, default=1800)
    parser.add_argument("--steps", type=int, default=1300)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    pool = ScenePool.open(arguments.pool)
    small = Stage(128, 16, arguments.small_steps, dense_steps=200, multimask=0.25, refine=0.2)
    large = Stage(256, 8, arguments.steps, dense_steps=0, multimask=0.5, refine=0.33)
    model = build_model(small.size)
    heads = DenseHeads(model.hidden_dim)
    model = train_stage(model, heads, pool, small, arguments.out)
    train_stage(with_image_size(model, large.size), heads, pool, large, arguments.out)


if __name__ == "__main__":
    main()
