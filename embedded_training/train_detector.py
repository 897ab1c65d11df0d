"""Train the embedded detector from scratch on a pool of scenes.

    python -m embedded_training.scene_pool pool/
    python -m embedded_training.train_detector pool/ --out weights/detector

Trained on captions alone, a small model learns next to nothing for an hour: the target tokens carry
too little information about the pixels. Auxiliary heads therefore supervise every cell of the
vision tower directly: color, shape and the four sides of the box of its object, the sides in the
embedding space of the decoder's location tokens. This dense loss is alone for the first
``--dense-steps`` and one term of the loss afterwards. The decoder then only has to learn to select
the cells that match a caption and to copy their contents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import Florence2ForConditionalGeneration, Florence2Processor
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.florence2.modeling_florence2 import shift_tokens_right

from embedded_training.augmentation import (
    apply_symmetry,
    apply_symmetry_to_boxes,
    normalized_pixels,
)
from embedded_training.detector import build_model, build_processor
from embedded_training.scene_pool import ScenePool
from embedded_training.text_targets import (
    NUM_BINS,
    LabeledObject,
    TextTarget,
    boxes_to_bins,
    detection_target,
    whole_image_target,
)
from embedded_training.training import (
    Trainer,
    save_checkpoint,
    start_training,
    training_parser,
)
from grounded_sam2.demo.scenes import COLORS, SHAPES

__all__ = ["main"]

LEARNING_RATE = 8e-4
CAPTIONS_PER_IMAGE = 5
LOCATION_SIGMA = 5.0
"""Standard deviation of the smoothed location targets, in bins: about half a pixel."""
_GRID = 8


@dataclass(frozen=True, slots=True)
class Batch:
    """Images, their objects, and the object in each of their cells."""

    pixels: Tensor
    """``(b, 3, 128, 128)`` normalized."""
    objects: tuple[tuple[LabeledObject, ...], ...]
    """Of each image, from left to right."""
    cell_names: Tensor
    """``(b, 64, 2)`` color and shape index; for background, the numbers of colors and of shapes."""
    cell_bins: Tensor
    """``(b, 64, 4)`` xyxy location bins; arbitrary for background."""


class BatchSampler:
    """Draws batches from a pool, each under a random symmetry of the square."""

    def __init__(self, pool: ScenePool, mean: Sequence[float], std: Sequence[float]) -> None:
        self.pool = pool
        self.cells = np.ascontiguousarray(pool.instances[:, ::8, ::8])  # 4 × 4 samples a cell
        self.mean, self.std = np.array(mean, np.float32), np.array(std, np.float32)

    def draw(self, rng: np.random.Generator, size: int) -> Batch:
        """Draw ``size`` scenes with replacement."""
        index = np.sort(rng.integers(len(self.pool), size=size))
        images, boxes = self.pool.small[index], self.pool.boxes[index]
        cells, names = self.cells[index], self.pool.names[index]
        symmetry = int(rng.integers(8))
        images, cells = apply_symmetry(images, symmetry), apply_symmetry(cells, symmetry)
        bins = boxes_to_bins(apply_symmetry_to_boxes(boxes, symmetry))
        cell_names, cell_bins = _cell_targets(cells, names, bins)
        return Batch(
            pixels=normalized_pixels(images, self.mean, self.std),
            objects=tuple(_labeled_objects(n, b) for n, b in zip(names, bins, strict=True)),
            cell_names=torch.from_numpy(cell_names),
            cell_bins=torch.from_numpy(cell_bins),
        )


class CellHeads(nn.Module):
    """Auxiliary heads that supervise the vision tower; not saved."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.color = nn.Linear(width, len(COLORS) + 1)
        self.shape = nn.Linear(width, len(SHAPES) + 1)
        self.sides = nn.Linear(width, 4 * width)

    def loss(self, cells: Tensor, batch: Batch, locations: Tensor, smooth: Tensor) -> Tensor:
        """Sum of the cross-entropies of colors, shapes and sides.

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
    """Teacher-forced loss of target texts about encoded images."""

    def __init__(
        self, model: Florence2ForConditionalGeneration, processor: Florence2Processor
    ) -> None:
        self.model, self.tokenizer = model, processor.tokenizer
        self.image_tokens = [processor.image_token_id] * processor.num_image_tokens
        self.first_location = self.tokenizer.convert_tokens_to_ids("<loc_0>")

    def __call__(
        self, features: Tensor, targets: Sequence[tuple[int, TextTarget]], smooth: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """Mean loss per output token, and values for the log.

        Args:
            features: ``(b, 65, width)`` projected image features.
            targets: each with the index of its image in the batch.
            smooth: ``(1000, 1000)`` target distribution for each location bin.
        """
        model = self.model
        images = torch.tensor([image for image, _ in targets])
        text, mask = self._prompt_tokens([target.prompt for _, target in targets])
        prompts = model.get_input_embeddings()(text)
        embeddings = torch.cat([features[images].to(prompts.dtype), prompts], dim=1)
        encoded = model.get_encoder()(inputs_embeds=embeddings, attention_mask=mask)[0]
        labels = self._output_tokens([target.output for _, target in targets])
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

    def _prompt_tokens(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        wrapped = [f"<s>{prompt}</s>" for prompt in prompts]
        batch = self.tokenizer(wrapped, add_special_tokens=False, padding=True, return_tensors="pt")
        image = torch.ones(len(prompts), len(self.image_tokens), dtype=torch.long)
        return batch.input_ids, torch.cat([image, batch.attention_mask], dim=1)

    def _output_tokens(self, outputs: Sequence[str]) -> Tensor:
        wrapped = [f"<s>{output}</s>" for output in outputs]
        batch = self.tokenizer(wrapped, add_special_tokens=False, padding=True, return_tensors="pt")
        return batch.input_ids


def _cell_targets(
    cells: NDArray[np.uint8], names: NDArray[np.int8], bins: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Names and bins of the object that covers most of each cell, if it covers over a seventh."""
    count, side = len(cells), cells.shape[1] // _GRID
    blocks = cells.reshape(count, _GRID, side, _GRID, side).swapaxes(2, 3)
    shares = np.stack([(blocks == k + 1).mean((3, 4)) for k in range(names.shape[1])], -1)
    shares = shares.reshape(count, _GRID * _GRID, -1)
    largest = shares.argmax(-1)
    filled = shares.max(-1) > 1 / 7
    rows = np.arange(count)[:, None]
    background = np.array([len(COLORS), len(SHAPES)])
    cell_names = np.where(filled[..., None], names[rows, largest], background)
    return cell_names.astype(np.int64), bins[rows, largest]


def _labeled_objects(names: NDArray[np.int8], bins: NDArray[np.int64]) -> tuple[LabeledObject, ...]:
    """The objects of one scene from left to right: the order of every target text."""
    colors = tuple(COLORS)
    objects = [
        LabeledObject(
            colors[color],
            SHAPES[shape],
            tuple(int(v) for v in box),  # type: ignore[arg-type]
        )
        for (color, shape), box in zip(names, bins, strict=True)
        if color >= 0
    ]
    return tuple(sorted(objects, key=lambda each: each.bins))


def _smooth_targets() -> Tensor:
    """``(1000, 1000)``: target distribution over the bins for each location bin."""
    position = torch.arange(NUM_BINS, dtype=torch.float32)
    bump = torch.exp(-0.5 * ((position[:, None] - position) / LOCATION_SIGMA) ** 2)
    return bump / bump.sum(-1, keepdim=True)


def _detection_targets(rng: np.random.Generator, batch: Batch) -> list[tuple[int, TextTarget]]:
    return [
        (image, detection_target(rng, objects))
        for image, objects in enumerate(batch.objects)
        for _ in range(CAPTIONS_PER_IMAGE)
    ]


def _whole_image_targets(rng: np.random.Generator, batch: Batch) -> list[tuple[int, TextTarget]]:
    """One for every second image: these outputs are long, and captions matter more."""
    return [
        (image, whole_image_target(rng, objects))
        for image, objects in enumerate(batch.objects)
        if image % 2 == 0
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train; write checkpoints and lines of progress.

    Args:
        arguments: of the command line; those of the process if ``None``.
    """
    parser = training_parser(__doc__.splitlines()[0], steps=5400, threads=2)
    parser.add_argument("--dense-steps", type=int, default=1500)
    parser.add_argument("--batch-size", type=int, default=24)
    options = parser.parse_args(arguments)
    start_training(options)

    processor = build_processor()
    model = build_model(processor)
    heads = CellHeads(model.config.text_config.d_model)
    image_processor = processor.image_processor
    sampler = BatchSampler(
        ScenePool.open(options.pool), image_processor.image_mean, image_processor.image_std
    )
    smooth = _smooth_targets()
    caption_loss = CaptionLoss(model, processor)
    first = caption_loss.first_location

    def step_loss(step: int) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng([1, step])
        dense_only = step < options.dense_steps
        batch = sampler.draw(rng, options.batch_size * (2 if dense_only else 1))
        with torch.autocast("cpu", torch.bfloat16):
            features = model.get_image_features(batch.pixels).pooler_output
            locations = model.get_input_embeddings().weight[first : first + NUM_BINS]
            loss = dense = heads.loss(features[:, 1:], batch, locations, smooth)
            log = {"dense": dense.item()}
            if not dense_only:
                captions, details = caption_loss(features, _detection_targets(rng, batch), smooth)
                other, others = caption_loss(features, _whole_image_targets(rng, batch), smooth)
                loss = captions + 0.8 * other + 0.25 * dense
                log |= {"caption": captions.item(), **details}
                log |= {f"all_{name}": value for name, value in others.items()}
        return loss, log

    trainer = Trainer(
        model,
        heads,
        options.out / "training.pt",
        steps=options.steps,
        learning_rate=LEARNING_RATE,
    )
    trainer.train(step_loss, lambda averaged: save_checkpoint(averaged, processor, options.out))


if __name__ == "__main__":
    main()
