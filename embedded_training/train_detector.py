"""Train the embedded detector from scratch on a pool of scenes.

    python -m embedded_training.scene_pool pool/
    python -m embedded_training.train_detector pool/ --out weights/detector

Asked to answer captions from the first step on, a small model learns next to nothing for an
hour: the answer's tokens say too little about the pixels. So every cell of the vision tower is
taught directly what stands there: color, shape and the four sides of its box, the sides in the
same embedding space that the decoder's location tokens use. With that alone for the first
`--dense-steps`, and beside the captions afterwards, the decoder only has to learn to find the
cells that match a caption and to read off what they already know.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import Florence2ForConditionalGeneration, Florence2Processor
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.florence2.modeling_florence2 import shift_tokens_right

from embedded_training.detector import build_model, build_processor
from embedded_training.scene_pool import ScenePool
from embedded_training.text_targets import (
    NUM_BINS,
    Question,
    Thing,
    ask_about_everything,
    ask_for_caption,
    boxes_to_bins,
)
from embedded_training.training import Trainer, save_checkpoint
from grounded_sam2.demo.scenes import COLORS, SHAPES

__all__ = ["main"]

LEARNING_RATE = 8e-4
CAPTIONS_PER_IMAGE = 5
LOCATION_SIGMA = 5.0
"""Width of the smoothed location targets, in bins: about half a pixel of the small image."""
_GRID = 8


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures, and what stands in each of their cells."""

    pixels: Tensor
    """``(b, 3, 128, 128)`` normalized."""
    things: tuple[tuple[Thing, ...], ...]
    cell_names: Tensor
    """``(b, 64, 2)`` color and shape index; the number of colors, of shapes for background."""
    cell_bins: Tensor
    """``(b, 64, 4)`` xyxy location bins; anything on background."""


class BatchSampler:
    """Draws batches from a pool, flipped and turned at random."""

    def __init__(self, pool: ScenePool, mean: Sequence[float], std: Sequence[float]) -> None:
        self.pool = pool
        self.cells = np.ascontiguousarray(pool.instances[:, ::8, ::8])  # 4 × 4 samples a cell
        self.mean, self.std = np.array(mean, np.float32), np.array(std, np.float32)

    def draw(self, rng: np.random.Generator, size: int) -> Batch:
        """Draw ``size`` scenes with replacement."""
        index = np.sort(rng.integers(len(self.pool), size=size))
        images, boxes = self.pool.small[index], self.pool.boxes[index]
        cells, names = self.cells[index], self.pool.names[index]
        images, cells, boxes = _turn(images, cells, boxes, int(rng.integers(8)))
        pixels = (images.astype(np.float32) / 255 - self.mean) / self.std
        bins = boxes_to_bins(boxes)
        cell_names, cell_bins = _cell_targets(cells, names, bins)
        return Batch(
            pixels=torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))),
            things=tuple(_things(n, b) for n, b in zip(names, bins, strict=True)),
            cell_names=torch.from_numpy(cell_names),
            cell_bins=torch.from_numpy(cell_bins),
        )


class CellHeads(nn.Module):
    """What the vision tower is taught with, thrown away after training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.color = nn.Linear(width, len(COLORS) + 1)
        self.shape = nn.Linear(width, len(SHAPES) + 1)
        self.sides = nn.Linear(width, 4 * width)

    def loss(self, cells: Tensor, batch: Batch, locations: Tensor, smooth: Tensor) -> Tensor:
        """Cross-entropies of names and sides.

        Args:
            cells: ``(b, 64, width)`` projected image features.
            batch: the targets.
            locations: ``(1000, width)`` embeddings of the location tokens.
            smooth: ``(1000, 1000)`` target distribution for each bin.
        """
        names = F.cross_entropy(self.color(cells).flatten(0, 1), batch.cell_names[..., 0].flatten())
        names = names + F.cross_entropy(
            self.shape(cells).flatten(0, 1), batch.cell_names[..., 1].flatten()
        )
        filled = batch.cell_names[..., 0] < len(COLORS)
        sides = (self.sides(cells[filled]).unflatten(-1, (4, -1)) @ locations.T).float()
        targets = smooth[batch.cell_bins[filled]]
        return names + -(targets * sides.log_softmax(-1)).sum(-1).mean()


class CaptionLoss:
    """Teacher-forced loss of questions about encoded images."""

    def __init__(
        self, model: Florence2ForConditionalGeneration, processor: Florence2Processor
    ) -> None:
        self.model, self.tokenizer = model, processor.tokenizer
        self.image_tokens = [processor.image_token_id] * processor.num_image_tokens
        self.first_location = self.tokenizer.convert_tokens_to_ids("<loc_0>")

    def __call__(
        self, features: Tensor, questions: Sequence[tuple[int, Question]], smooth: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """Mean loss per answer token, and what to log.

        Args:
            features: ``(b, 65, width)`` projected image features.
            questions: each with the index of its image in the batch.
            smooth: ``(1000, 1000)`` target distribution for each location bin.
        """
        model = self.model
        images = torch.tensor([image for image, _ in questions])
        text, mask = self._prompts([question.prompt for _, question in questions])
        asked = model.get_input_embeddings()(text)
        embeddings = torch.cat([features[images].to(asked.dtype), asked], dim=1)
        encoded = model.get_encoder()(inputs_embeds=embeddings, attention_mask=mask)[0]
        labels = self._answers([question.answer for _, question in questions])
        bart = model.config.text_config
        starts = shift_tokens_right(labels, bart.pad_token_id, bart.decoder_start_token_id)
        logits = model(
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded),
            inputs_embeds=embeddings,
            attention_mask=mask,
            decoder_input_ids=starts,
            use_cache=False,
        ).logits.float()

        real = labels != bart.pad_token_id
        real[:, 0] = False  # the begin token is given, not predicted
        logits, labels_flat = logits[real].log_softmax(-1), labels[real]
        place = (labels_flat >= self.first_location) & (
            labels_flat < self.first_location + NUM_BINS
        )
        losses = F.nll_loss(logits, labels_flat, reduction="none")
        bins = labels_flat[place] - self.first_location
        by_location = logits[place][:, self.first_location : self.first_location + NUM_BINS]
        losses = losses.masked_scatter(place, -(smooth[bins] * by_location).sum(-1))
        with torch.no_grad():
            guess = logits.argmax(-1)
            first = torch.zeros_like(real)
            first[:, 1] = real[:, 1]
            opening = first[real]
            error = (by_location.argmax(-1) - bins).abs().float()
            log = {
                "opening": (guess == labels_flat)[opening].float().mean().item(),
                "words": (guess == labels_flat)[~place].float().mean().item(),
                "bins_off": error.median().item() if len(error) else 0.0,
                "within_20": (error < 20).float().mean().item() if len(error) else 0.0,
            }
        return losses.mean(), log

    def _prompts(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        wrapped = [f"<s>{prompt}</s>" for prompt in prompts]
        batch = self.tokenizer(wrapped, add_special_tokens=False, padding=True, return_tensors="pt")
        image = torch.ones(len(prompts), len(self.image_tokens), dtype=torch.long)
        return batch.input_ids, torch.cat([image, batch.attention_mask], dim=1)

    def _answers(self, answers: Sequence[str]) -> Tensor:
        wrapped = [f"<s>{answer}</s>" for answer in answers]
        batch = self.tokenizer(wrapped, add_special_tokens=False, padding=True, return_tensors="pt")
        return batch.input_ids


def _turn(
    images: NDArray[np.uint8], cells: NDArray[np.uint8], boxes: NDArray[np.float32], kind: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    """One of the eight symmetries of the square, on images, cell maps and boxes in [0, 1]."""
    if kind & 1:  # left ↔ right
        images, cells = images[:, :, ::-1], cells[:, :, ::-1]
        boxes = np.stack([1 - boxes[..., 2], boxes[..., 1], 1 - boxes[..., 0], boxes[..., 3]], -1)
    if kind & 2:  # top ↔ bottom
        images, cells = images[:, ::-1], cells[:, ::-1]
        boxes = np.stack([boxes[..., 0], 1 - boxes[..., 3], boxes[..., 2], 1 - boxes[..., 1]], -1)
    if kind & 4:  # rows ↔ columns
        images, cells = images.swapaxes(1, 2), cells.swapaxes(1, 2)
        boxes = boxes[..., [1, 0, 3, 2]]
    return images, cells, boxes


def _cell_targets(
    cells: NDArray[np.uint8], names: NDArray[np.int8], bins: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The object that fills most of each cell, if it fills a seventh of it."""
    count, side = len(cells), cells.shape[1] // _GRID
    blocks = cells.reshape(count, _GRID, side, _GRID, side).swapaxes(2, 3)
    shares = np.stack([(blocks == k + 1).mean((3, 4)) for k in range(names.shape[1])], -1)
    shares = shares.reshape(count, _GRID * _GRID, -1)
    winner = shares.argmax(-1)
    filled = shares.max(-1) > 1 / 7
    rows = np.arange(count)[:, None]
    nothing = np.array([len(COLORS), len(SHAPES)])
    cell_names = np.where(filled[..., None], names[rows, winner], nothing)
    return cell_names.astype(np.int64), bins[rows, winner]


def _things(names: NDArray[np.int8], bins: NDArray[np.int64]) -> tuple[Thing, ...]:
    """The objects of one scene, from left to right: the order of every answer."""
    colors = tuple(COLORS)
    things = [
        Thing(colors[color], SHAPES[shape], tuple(int(v) for v in box))  # type: ignore[arg-type]
        for (color, shape), box in zip(names, bins, strict=True)
        if color >= 0
    ]
    return tuple(sorted(things, key=lambda thing: thing.bins))


def _smooth_targets() -> Tensor:
    position = torch.arange(NUM_BINS, dtype=torch.float32)
    bump = torch.exp(-0.5 * ((position[:, None] - position) / LOCATION_SIGMA) ** 2)
    return bump / bump.sum(-1, keepdim=True)


def _questions(rng: np.random.Generator, batch: Batch) -> list[tuple[int, Question]]:
    return [
        (image, ask_for_caption(rng, things))
        for image, things in enumerate(batch.things)
        for _ in range(CAPTIONS_PER_IMAGE)
    ]


def _whole_image_questions(rng: np.random.Generator, batch: Batch) -> list[tuple[int, Question]]:
    """One for every second image: their answers are long, and captions matter more."""
    return [
        (image, ask_about_everything(rng, things))
        for image, things in enumerate(batch.things)
        if image % 2 == 0
    ]


def main() -> None:
    """Train, with a checkpoint and a line of progress now and then."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=5400)
    parser.add_argument("--dense-steps", type=int, default=1500)
    parser.add_argument("--batch-size", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)

    processor = build_processor()
    model = build_model(processor)
    heads = CellHeads(model.config.text_config.d_model)
    trainer = Trainer(
        model,
        heads,
        arguments.out / "training.pt",
        steps=arguments.steps,
        learning_rate=LEARNING_RATE,
    )
    image_processor = processor.image_processor
    sampler = BatchSampler(
        ScenePool.open(arguments.pool), image_processor.image_mean, image_processor.image_std
    )
    smooth = _smooth_targets()
    caption_loss = CaptionLoss(model, processor)
    first = caption_loss.first_location
    for step in trainer.steps():
        rng = np.random.default_rng([1, step])
        dense_only = step < arguments.dense_steps
        batch = sampler.draw(rng, arguments.batch_size * (2 if dense_only else 1))
        with torch.autocast("cpu", torch.bfloat16):
            features = model.get_image_features(batch.pixels).pooler_output
            locations = model.get_input_embeddings().weight[first : first + NUM_BINS]
            loss = dense = heads.loss(features[:, 1:], batch, locations, smooth)
            log = {"dense": dense.item()}
            if not dense_only:
                asked, details = caption_loss(features, _questions(rng, batch), smooth)
                general, others = caption_loss(features, _whole_image_questions(rng, batch), smooth)
                loss = asked + 0.8 * general + 0.25 * dense
                log |= {"caption": asked.item(), **details}
                log |= {f"all_{name}": value for name, value in others.items()}
        if trainer.update(step, loss, log):
            save_checkpoint(trainer.mean, processor, arguments.out)


if __name__ == "__main__":
    main()
