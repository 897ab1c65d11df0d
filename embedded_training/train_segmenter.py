"""Train the image part of the embedded segmenter from scratch on a pool of scenes.

    python -m embedded_training.scene_pool pool/
    python -m embedded_training.train_segmenter pool/ --out weights/segmenter

As with the detector, auxiliary heads first supervise the vision encoder directly; then prompts are
added: jittered boxes, points, and a second round in which the first mask comes back as a mask
prompt with a point where it was wrong. All four mask outputs are trained, the single one on most
of the steps and the three alternatives (of which the best counts) on the others, because at
inference SAM 2 falls back to the alternatives where its single mask is unstable. Each output also
learns to predict its own IoU.

The meaning of prompts takes many prompts to learn but little resolution. A first stage therefore
uses images of half the size, where a prompt costs a quarter; the second refines the outlines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import Sam2Processor, Sam2VideoModel

from embedded_training.augmentation import (
    apply_symmetry,
    jitter_boxes,
    normalized_pixels,
    sample_points,
)
from embedded_training.scene_pool import ScenePool
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
from grounded_sam2.demo.scenes import COLORS, SHAPES

__all__ = ["main"]

LEARNING_RATE = 6e-4
PROMPTS_PER_IMAGE = 8
BOX_JITTER = 0.06
"""Standard deviation of each side of a box prompt, as a share of the box."""
_LOSS_SIZE = IMAGE_SIZE // 2


@dataclass(frozen=True, slots=True)
class Batch:
    """Images, the objects to segment, and the labels of all pixels."""

    pixels: Tensor
    """``(b, 3, s, s)`` normalized; ``s`` is the size of the stage."""
    images: Tensor
    """``(r,)`` image of each of ``r`` prompts."""
    boxes: Tensor
    """``(r, 4)`` true xyxy in pixels of the ``s × s`` image."""
    masks: Tensor
    """``(r, 128, 128)`` true share of each cell of the loss grid."""
    instances: Tensor
    """``(b, s, s)``: 0 is background, k the k-th object."""
    names: Tensor
    """``(b, 6, 2)`` color and shape index of the objects."""


class BatchSampler:
    """Draws batches from a pool, each under a random symmetry of the square."""

    def __init__(self, pool: ScenePool, processor: Sam2Processor, size: int) -> None:
        self.names, self.size = pool.names, size
        self.images = pool.large if size == IMAGE_SIZE else pool.small
        self.instances = pool.instances[:, :: IMAGE_SIZE // size, :: IMAGE_SIZE // size]
        self.mean = np.array(processor.image_processor.image_mean, np.float32)
        self.std = np.array(processor.image_processor.image_std, np.float32)

    def draw(self, rng: np.random.Generator, size: int) -> Batch:
        """Draw ``size`` scenes with replacement and `PROMPTS_PER_IMAGE` objects of each."""
        index = np.sort(rng.integers(len(self.names), size=size))
        images, instances = self.images[index], self.instances[index]
        names = self.names[index]
        symmetry = sum((rng.random() < 0.5) << bit for bit in range(3))
        images, instances = (apply_symmetry(each, symmetry) for each in (images, instances))
        rows: list[tuple[int, int]] = []
        for image in range(size):
            visible = np.unique(instances[image])[1:]
            for number in rng.choice(visible, PROMPTS_PER_IMAGE):
                rows.append((image, int(number)))
        masks = np.stack([instances[image] == number for image, number in rows])
        block = self.size // _LOSS_SIZE
        shares = masks.reshape(len(rows), _LOSS_SIZE, block, _LOSS_SIZE, block).mean((2, 4))
        return Batch(
            pixels=normalized_pixels(images, self.mean, self.std),
            images=torch.tensor([image for image, _ in rows]),
            boxes=torch.from_numpy(np.stack([_bounding_box(mask) for mask in masks])),
            masks=torch.from_numpy(shares.astype(np.float32)),
            instances=torch.from_numpy(np.ascontiguousarray(instances)).long(),
            names=torch.from_numpy(names).long(),
        )


class DenseHeads(nn.Module):
    """Auxiliary heads that supervise the vision encoder; not saved."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # Without normalization the features grow, since large features lower this loss, and then
        # dominate the positional encodings that prompts are matched by.
        self.coarse = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, len(COLORS) + 1 + len(SHAPES) + 1 + 4)
        )
        self.fine = nn.Sequential(
            nn.LayerNorm(width // 8), nn.Linear(width // 8, len(COLORS) + 1 + 1)
        )

    def loss(self, embeddings: list[Tensor], batch: Batch) -> Tensor:
        """Loss of names and box sides at stride 16, and of colors and boundaries at stride 4."""
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
        boundary = blocks.amax((2, 4)) != blocks.amin((2, 4))
        return loss + F.binary_cross_entropy_with_logits(fine[:, -1], boundary.flatten().float())

    @staticmethod
    def _names(identity: Tensor, names: Tensor) -> tuple[Tensor, Tensor]:
        rows = torch.arange(len(names))[:, None, None]
        found = names[rows, (identity - 1).clamp(min=0)]
        background = torch.tensor([len(COLORS), len(SHAPES)])
        found = torch.where(identity[..., None] > 0, found, background)
        return found[..., 0], found[..., 1]

    @staticmethod
    def _side_loss(sides: Tensor, identity: Tensor, batch: Batch) -> Tensor:
        """L1 of the distances from cell centers to the four sides, in image widths."""
        boxes = torch.full((len(batch.names), batch.names.shape[1] + 1, 4), torch.nan)
        rows, side = batch.images, batch.pixels.shape[-1]
        instances = batch.instances.flatten(1)
        for image, box, mask in zip(rows, batch.boxes, batch.masks, strict=True):
            inside = F.interpolate(mask[None, None], size=side)[0, 0].flatten() > 0.99
            boxes[image, instances[image][inside][:1]] = box / side
        grid_side = identity.shape[1]
        position = (torch.arange(grid_side) + 0.5) / grid_side
        grid = torch.stack(torch.meshgrid(position, position, indexing="xy"), -1).repeat(1, 1, 2)
        target = boxes[torch.arange(len(boxes))[:, None, None], identity] - grid
        known = target.isfinite().all(-1) & (identity > 0)
        predicted = sides.view(*identity.shape, 4)[known]
        return (predicted - target[known]).abs().mean() if known.any() else sides.sum() * 0


class PromptLoss:
    """Loss of one round of prompts."""

    def __init__(self, model: Sam2VideoModel) -> None:
        self.model = model

    def embed(self, pixels: Tensor) -> list[Tensor]:
        """Feature maps of images at strides 4, 8 and 16, in the form of the mask decoder."""
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
        """Loss of prompts, one per object.

        Args:
            rows: feature maps of each object's image, as of `embed`.
            batch: the targets.
            prompt: arguments of the prompt encoder.
            multimask: decode the three alternatives instead of the single mask.

        Returns:
            Loss, best low-resolution logits ``(r, 64, 64)`` and their true IoU ``(r,)``.
        """
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
        near = _inside(_grow(batch.boxes, 0.15), batch.pixels.shape[-1])[:, None]
        losses, iou = mask_losses(large, batch.masks[:, None], near)
        best = losses.argmin(1)
        each = torch.arange(len(best))
        loss = losses[each, best].mean() + 0.2 * losses.mean()
        loss = loss + (quality - iou).abs().mean()
        loss = loss + 0.05 * F.softplus(-presence.float()).mean()
        chosen = quality.argmax(1)
        return loss, logits[each, chosen], iou[each, chosen]


def _bounding_box(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
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


def _points(rng: np.random.Generator, regions: Tensor, size: int) -> Tensor:
    """A random point of each ``(r, 128, 128)`` region, ``(r, 2)`` in image coordinates."""
    return sample_points(rng, regions) * (size / _LOSS_SIZE)


def _prompt(
    boxes: Tensor | None = None,
    points: Tensor | None = None,
    labels: Tensor | None = None,
    masks: Tensor | None = None,
) -> dict[str, Tensor | None]:
    """One prompt per object in the shapes of SAM 2's prompt encoder."""
    return {
        "input_boxes": None if boxes is None else boxes[:, None],
        "input_points": None if points is None else points[:, None],
        "input_labels": None if labels is None else labels[:, None],
        "input_masks": None if masks is None else masks[:, None],
    }


def _first_prompt(rng: np.random.Generator, batch: Batch) -> dict[str, Tensor | None]:
    """Boxes on two of three steps, else one to three points per object."""
    size = batch.pixels.shape[-1]
    if rng.random() < 0.66:
        return _prompt(boxes=jitter_boxes(rng, batch.boxes, BOX_JITTER, size))
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
    """The first mask as a prompt, with a point where it was wrong (anywhere, if nowhere)."""
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
    """One of two stages of the training, the first with smaller images."""

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
    """Train one stage, or resume it; return the model with the running mean of its weights."""
    processor = build_processor()
    sampler = BatchSampler(pool, processor, stage.size)
    prompt_loss = PromptLoss(model)

    def step_loss(step: int) -> tuple[Tensor, dict[str, float]]:
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
            prompted, logits, iou = prompt_loss(rows, batch, prompt, multimask)
            loss = prompted + 0.2 * dense
            kind = "points" if prompt["input_boxes"] is None else "boxes"
            log[f"iou_{kind}"] = iou.mean().item()
            if rng.random() < stage.refine:
                second = _second_prompt(rng, batch, prompt, logits.detach())
                refined, _, iou = prompt_loss(rows, batch, second, False)
                loss = loss + refined
                log["iou_refined"] = iou.mean().item()
        return loss, log

    trainer = Trainer(
        model,
        heads,
        out / f"training_{stage.size}.pt",
        steps=stage.steps,
        learning_rate=LEARNING_RATE,
    )
    model.train()
    return trainer.train(
        step_loss,
        lambda averaged: save_checkpoint(with_image_size(averaged, IMAGE_SIZE), processor, out),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Train in two stages; write checkpoints and lines of progress.

    Args:
        arguments: of the command line; those of the process if ``None``.
    """
    parser = training_parser(__doc__.splitlines()[0], steps=1300, threads=2)
    parser.add_argument("--small-steps", type=int, default=1800, help="steps of the first stage")
    options = parser.parse_args(arguments)
    start_training(options)
    pool = ScenePool.open(options.pool)
    small = Stage(128, 16, options.small_steps, dense_steps=200, multimask=0.25, refine=0.2)
    large = Stage(256, 8, options.steps, dense_steps=0, multimask=0.5, refine=0.33)
    model = build_model(small.size)
    heads = DenseHeads(model.hidden_dim)
    model = train_stage(model, heads, pool, small, options.out)
    train_stage(with_image_size(model, large.size), heads, pool, large, options.out)


if __name__ == "__main__":
    main()
