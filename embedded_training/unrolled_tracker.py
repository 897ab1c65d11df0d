"""Tracking with gradients: what the tracker does with an episode, frame by frame.

The memory is the tracker's own (`grounded_sam2.models.sam2.memory`), with its rules of what is
remembered in which order; the mask decoder is the model's, which answers with all its masks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Sam2VideoModel

from grounded_sam2.models.sam2.memory import NO_OBJECT_LOGIT, MemoryBatch, MemoryModules

__all__ = ["Answer", "Features", "Unroll"]

_MASK_LOGIT = 10.0
"""A mask that is given by hand has these logits, with its sign."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """One frame for ``n`` objects: what the vision encoder made of each object's image."""

    cells: Tensor
    """``(n, L, C)``: raw, at stride 16."""
    fine: tuple[Tensor, Tensor]
    """``(n, C/8, 4g, 4g)`` and ``(n, C/4, 2g, 2g)``."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the decoder says of ``n`` objects: ``k`` masks each, 1 or 3."""

    logits: Tensor
    """``(n, k, 4g, 4g)``."""
    quality: Tensor
    """``(n, k)``: predicted IoU."""
    score: Tensor
    """``(n,)``: logit of being in the image."""
    tokens: Tensor
    """``(n, k, C)``."""


class Unroll:
    """Runs a model over episodes.

    Args:
        model: may be in training; its weights are read at every call.
        half: run the memory in bfloat16, which is faster; the decoder gains nothing from it.
    """

    def __init__(self, model: Sam2VideoModel, *, half: bool = True) -> None:
        self.model, self.half = model, half
        self.memory = MemoryModules(model)
        self.grid = self.memory.grid

    @torch.no_grad()
    def look(self, pixels: Tensor) -> list[Tensor]:
        """Features of images, from fine to coarse: ``(b, C_i, h_i, w_i)``. Without gradients."""
        features = self.model.get_image_features(pixels, return_dict=True).fpn_hidden_states
        sizes = self.model.backbone_feature_sizes
        return [
            feature.float().permute(1, 2, 0).unflatten(-1, size)
            for feature, size in zip(features, sizes, strict=True)
        ]

    def features(self, looked: list[Tensor], rows: Tensor) -> Features:
        """Those of each object, from those of each image."""
        quarters, halves, coarse = (feature[rows] for feature in looked)
        return Features(coarse.flatten(2).transpose(1, 2), (quarters, halves))

    def ask(self, features: Features, *, multimask: bool, **prompt: Tensor | None) -> Answer:
        """Ask about a frame without memory; boxes, points and labels as SAM 2 takes them."""
        cells = features.cells + self.model.no_memory_embedding
        return self._decode(cells, features, multimask, **prompt)

    def track(
        self,
        frames: Iterator[Features] | list[Features],
        times: tuple[int, ...],
        first_masks: Tensor,
        by_mask: bool,
        first: Answer | None = None,
        lost: Collection[int] = (),
        corrected: tuple[int, Tensor] | None = None,
    ) -> Iterator[Answer | None]:
        """Follow objects from the first frame, and answer for each of the others.

        Args:
            frames: of the episode.
            times: number of each.
            first_masks: ``(n, s, s)`` ``bool``: the objects on the first frame.
            by_mask: show them by these masks; else by ``first``, the answer to other prompts.
            first: the answer on the first frame.
            lost: steps at which nothing is looked for and nothing found; the answer is ``None``.
            corrected: a step on which boxes ``(n, 1, 4)`` show where the objects are. It is
                remembered as the first frame is.
        """
        at, boxes = corrected or (0, None)
        examples = [0]
        frames = iter(frames)
        features = next(frames)
        count = len(first_masks)
        yes = torch.ones(count, dtype=torch.bool)
        if by_mask:
            logits = (first_masks.float() * 2 - 1) * _MASK_LOGIT
            pointer = self._pointer_of_mask(features, first_masks)
        else:
            assert first is not None
            logits, pointer, present = self._chosen(first)
            yes = present
        prompted = torch.ones(count, dtype=torch.bool)
        maps = [self._encode(features, logits, yes, prompted)]
        pointers = [pointer]
        config = self.model.config
        near, far = config.num_maskmem - 1, config.max_object_pointers_in_encoder - 1
        nowhere = torch.full(features.cells.shape[:1] + (4 * self.grid,) * 2, NO_OBJECT_LOGIT)
        for step, features in enumerate(frames, start=1):
            if step in lost:
                yield None
                maps.append(self._encode(features, nowhere, ~prompted, ~prompted))
                pointers.append(self.model.no_object_pointer.expand(count, -1))
                continue
            since = [d for d in range(1, step) if step - d not in examples]  # of tracked frames
            recent = [d for d in reversed(since) if d <= near]
            map_distances = [0] * len(examples) + recent
            pointer_distances = [times[step] - times[each] for each in examples]
            pointer_distances += [d for d in since if d <= far]
            kept = [maps[each] for each in examples] + [maps[step - d] for d in recent]
            named = [pointers[each] for each in examples]
            named += [pointers[step - d] for d in since if d <= far]
            memories = MemoryBatch(
                torch.stack(kept, 1),
                torch.tensor(map_distances).expand(count, -1),
                torch.stack(named, 1),
                torch.tensor(pointer_distances).expand(count, -1),
                far,
            )
            with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
                cells = self.memory.condition(features.cells, memories)
            is_example = boxes is not None and step == at
            prompt = {"boxes": boxes} if is_example else {}
            answer = self._decode(cells.float(), features, not is_example, **prompt)
            yield answer
            logits, pointer, present = self._chosen(answer)
            maps.append(self._encode(features, logits, present, prompted == is_example))
            pointers.append(pointer)
            if is_example:
                examples.append(step)

    def _encode(
        self, features: Features, logits: Tensor, present: Tensor, prompted: Tensor
    ) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            maps = self.memory.encode(features.cells, logits, present, prompted)
        return maps.float()

    def _decode(
        self,
        cells: Tensor,
        features: Features,
        multimask: bool,
        *,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> Answer:
        model, count = self.model, len(cells)
        if points is None and boxes is None:  # SAM 2's empty prompt: a point that is none
            points = torch.zeros(count, 1, 1, 2)
            labels = -torch.ones(count, 1, 1, dtype=torch.int32)
        sparse, dense = model.prompt_encoder(
            input_points=points, input_labels=labels, input_boxes=boxes, input_masks=masks
        )
        positions = model.get_image_wide_positional_embeddings().expand(count, -1, -1, -1)
        logits, quality, tokens, score = model.mask_decoder(
            image_embeddings=cells.transpose(1, 2).unflatten(2, (self.grid, self.grid)),
            image_positional_embeddings=positions,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
            high_resolution_features=list(features.fine),
        )
        return Answer(logits[:, 0], quality[:, 0], score[:, 0, 0], tokens[:, 0])

    def _pointer_of_mask(self, features: Features, masks: Tensor) -> Tensor:
        """A mask that is given by hand needs no answer, only a pointer: ``(n, C)``."""
        small = self.model.mask_downsample(masks[:, None].float())
        answer = self._decode(features.cells, features, True, masks=small)
        pointers = self.memory.pointers(_best(answer.tokens, answer.quality), answer.score > 0)
        return pointers

    def _chosen(self, answer: Answer) -> tuple[Tensor, Tensor, Tensor]:
        """The mask, the pointer and the presence that are remembered."""
        present = answer.score > 0
        logits = _best(answer.logits, answer.quality)
        logits = torch.where(present[:, None, None], logits, NO_OBJECT_LOGIT)
        return logits, self.memory.pointers(_best(answer.tokens, answer.quality), present), present


def _best(values: Tensor, quality: Tensor) -> Tensor:
    return values[torch.arange(len(values)), quality.argmax(1)]
