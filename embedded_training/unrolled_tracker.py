"""The tracker unrolled over an episode, frame by frame, with gradients.

The memory is that of the tracker (`grounded_sam2.models.sam2.memory`), with the same rules for the
selection and the order of memories. The mask decoder is the model's, with all of its masks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Sam2VideoModel

from grounded_sam2.models.sam2.memory import NO_OBJECT_LOGIT, MemoryBatch, MemoryModules

__all__ = ["DecodedMasks", "Features", "Prompt", "UnrolledTracker"]

_MASK_LOGIT = 10.0
"""Absolute logit of the pixels of a mask prompt."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Image features of one frame for each of ``n`` objects; ``g`` cells per side."""

    cells: Tensor
    """``(n, L, C)``: at stride 16, without memory."""
    fine: tuple[Tensor, Tensor]
    """``(n, C/8, 4g, 4g)`` and ``(n, C/4, 2g, 2g)``."""


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """Prompts of ``n`` objects in the shapes of SAM 2's prompt encoder."""

    boxes: Tensor | None = None
    """``(n, 1, 4)`` xyxy."""
    points: Tensor | None = None
    """``(n, 1, k, 2)`` xy."""
    labels: Tensor | None = None
    """``(n, 1, k)``: 1 inside the object, 0 outside, -1 for no point."""
    masks: Tensor | None = None
    """``(n, 1, 4g, 4g)`` logits."""


@dataclass(frozen=True, slots=True, eq=False)
class DecodedMasks:
    """Output of the mask decoder for ``n`` objects: ``k`` masks each, 1 or 3."""

    logits: Tensor
    """``(n, k, 4g, 4g)``."""
    quality: Tensor
    """``(n, k)``: predicted IoU."""
    presence: Tensor
    """``(n,)``: logit of the object being visible."""
    tokens: Tensor
    """``(n, k, C)``."""


class UnrolledTracker:
    """Tracks the objects of episodes with a model that is being trained.

    Args:
        model: its weights are read at every call.
        half: run the memory in bfloat16, which is faster; the decoder is not faster in it.
    """

    def __init__(self, model: Sam2VideoModel, *, half: bool = True) -> None:
        self.model, self.half = model, half
        self.memory = MemoryModules(model)
        self.grid = self.memory.grid

    @torch.no_grad()
    def encode_images(self, pixels: Tensor) -> list[Tensor]:
        """Feature maps ``(b, C_i, h_i, w_i)`` of images, from fine to coarse, without gradients.

        Args:
            pixels: ``(b, 3, s, s)`` normalized.
        """
        features = self.model.get_image_features(pixels, return_dict=True).fpn_hidden_states
        sizes = self.model.backbone_feature_sizes
        return [
            feature.float().permute(1, 2, 0).unflatten(-1, size)
            for feature, size in zip(features, sizes, strict=True)
        ]

    def object_features(self, encoded: list[Tensor], images: Tensor) -> Features:
        """Features of objects, from those of images and the image ``(n,)`` of each object."""
        quarters, halves, coarse = (feature[images] for feature in encoded)
        return Features(coarse.flatten(2).transpose(1, 2), (quarters, halves))

    def predict(self, features: Features, prompt: Prompt, *, multimask: bool) -> DecodedMasks:
        """Masks of prompts on one frame, without memory."""
        cells = features.cells + self.model.no_memory_embedding
        return self._decode(cells, features, prompt, multimask=multimask)

    def track(
        self,
        frames: Iterable[Features],
        times: tuple[int, ...],
        first: Tensor | DecodedMasks,
        *,
        lost: Collection[int] = (),
        correction: tuple[int, Tensor] | None = None,
    ) -> Iterator[DecodedMasks | None]:
        """Track objects from the first frame; yield the masks of each later frame.

        Args:
            frames: features of the episode's frames.
            times: index of each frame in its clip.
            first: the objects on the first frame: mask prompts ``(n, s, s)`` ``bool``, or the masks
                predicted from other prompts.
            lost: steps that are treated as if no object were found; they yield ``None``.
            correction: a step, and boxes ``(n, 1, 4)`` that prompt all objects there. The step is
                remembered as the first frame is.
        """
        correction_step, boxes = correction or (0, None)
        frames = iter(frames)
        features = next(frames)
        count = len(first) if isinstance(first, Tensor) else len(first.logits)
        prompted = torch.ones(count, dtype=torch.bool)
        if isinstance(first, Tensor):
            logits = (first.float() * 2 - 1) * _MASK_LOGIT
            pointers, present = self._mask_prompt_pointers(features, first), prompted
        else:
            logits, pointers, present = self._selected(first)
        history = _History(self.model)
        history.add(self._encode(features, logits, present, prompted), pointers, prompted=True)
        no_mask = torch.full(features.cells.shape[:1] + (4 * self.grid,) * 2, NO_OBJECT_LOGIT)
        for step, features in enumerate(frames, start=1):
            if step in lost:
                yield None
                history.add(
                    self._encode(features, no_mask, ~prompted, ~prompted),
                    self.model.no_object_pointer.expand(count, -1),
                )
                continue
            with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
                cells = self.memory.condition(features.cells, history.memories(times, count))
            corrected = boxes is not None and step == correction_step
            masks = self._decode(
                cells.float(),
                features,
                Prompt(boxes=boxes) if corrected else Prompt(),
                multimask=not corrected,
            )
            yield masks
            logits, pointers, present = self._selected(masks)
            maps = self._encode(features, logits, present, prompted == corrected)
            history.add(maps, pointers, prompted=corrected)

    def _encode(
        self, features: Features, logits: Tensor, present: Tensor, prompted: Tensor
    ) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            maps = self.memory.encode(features.cells, logits, present, prompted)
        return maps.float()

    def _decode(
        self, cells: Tensor, features: Features, prompt: Prompt, *, multimask: bool
    ) -> DecodedMasks:
        model, count = self.model, len(cells)
        points, labels = prompt.points, prompt.labels
        if points is None and prompt.boxes is None:  # SAM 2's empty prompt: a point of label -1
            points = torch.zeros(count, 1, 1, 2)
            labels = -torch.ones(count, 1, 1, dtype=torch.int32)
        sparse, dense = model.prompt_encoder(
            input_points=points,
            input_labels=labels,
            input_boxes=prompt.boxes,
            input_masks=prompt.masks,
        )
        positions = model.get_image_wide_positional_embeddings().expand(count, -1, -1, -1)
        logits, quality, tokens, presence = model.mask_decoder(
            image_embeddings=cells.transpose(1, 2).unflatten(2, (self.grid, self.grid)),
            image_positional_embeddings=positions,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
            high_resolution_features=list(features.fine),
        )
        return DecodedMasks(logits[:, 0], quality[:, 0], presence[:, 0, 0], tokens[:, 0])

    def _mask_prompt_pointers(self, features: Features, masks: Tensor) -> Tensor:
        """Object pointers ``(n, C)`` of mask prompts; their masks need no decoding."""
        small = self.model.mask_downsample(masks[:, None].float())
        decoded = self._decode(features.cells, features, Prompt(masks=small), multimask=True)
        tokens = _best(decoded.tokens, decoded.quality)
        return self.memory.pointers(tokens, decoded.presence > 0)

    def _selected(self, masks: DecodedMasks) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, pointers and presence to remember: those of the masks of best quality."""
        present = masks.presence > 0
        logits = _best(masks.logits, masks.quality)
        logits = torch.where(present[:, None, None], logits, NO_OBJECT_LOGIT)
        return logits, self.memory.pointers(_best(masks.tokens, masks.quality), present), present


class _History:
    """Memories of the steps so far, and the selection of those that condition the next step."""

    def __init__(self, model: Sam2VideoModel) -> None:
        self._max_map_distance = model.config.num_maskmem - 1
        self._max_pointer_distance = model.config.max_object_pointers_in_encoder - 1
        self._maps: list[Tensor] = []
        self._pointers: list[Tensor] = []
        self._prompted: list[int] = []

    def add(self, maps: Tensor, pointers: Tensor, *, prompted: bool = False) -> None:
        if prompted:
            self._prompted.append(len(self._maps))
        self._maps.append(maps)
        self._pointers.append(pointers)

    def memories(self, times: tuple[int, ...], count: int) -> MemoryBatch:
        """The memories of the next step: all prompted steps, then the recent tracked ones."""
        step = len(self._maps)
        distances = [d for d in range(1, step) if step - d not in self._prompted]
        near = [d for d in reversed(distances) if d <= self._max_map_distance]
        far = [d for d in distances if d <= self._max_pointer_distance]
        map_distances = [0] * len(self._prompted) + near
        pointer_distances = [times[step] - times[each] for each in self._prompted] + far
        maps = [self._maps[each] for each in (*self._prompted, *(step - d for d in near))]
        pointers = [self._pointers[each] for each in (*self._prompted, *(step - d for d in far))]
        return MemoryBatch(
            torch.stack(maps, 1),
            torch.tensor(map_distances).expand(count, -1),
            torch.stack(pointers, 1),
            torch.tensor(pointer_distances).expand(count, -1),
            self._max_pointer_distance,
        )


def _best(values: Tensor, quality: Tensor) -> Tensor:
    return values[torch.arange(len(values)), quality.argmax(1)]
