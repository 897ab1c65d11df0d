"""Masks of tracked objects on one frame, from their memories, from prompts, or from both.

In videos, SAM 2 takes a box as two points with labels of their own, its corners, before any other
points, which makes it an unambiguous prompt. A mask prompt is itself the mask of its frame: the
decoder only derives the object's pointer from it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grounded_sam2.geometry.rle import Rle
from grounded_sam2.models.protocols import TrackPrompt
from grounded_sam2.models.sam2.decoder import DecoderOutput, MaskDecoder
from grounded_sam2.models.sam2.memory import (
    NO_OBJECT_LOGIT,
    MemoryBatch,
    MemoryModules,
    resize,
)
from grounded_sam2.models.sam2.track_masks import Sam2FrameFeatures, Sam2FrameMasks

__all__ = ["TrackMaskPredictor", "count_points"]

_MASK_SCALE, _MASK_BIAS = 20.0, -10.0
"""Logits of a mask prompt, and of the object score that it implies: 20·m − 10."""
_CORNER_LABELS = (2, 3)
"""Point labels of the corners of a box."""


class TrackMaskPredictor:
    """The prompt encoder and the mask decoder of a ``Sam2VideoModel``, for objects of one frame.

    Args:
        model: a ``Sam2VideoModel``, on its device.
        memory: its memory modules.
        mask_threshold: logit above which a pixel belongs to the mask.
    """

    def __init__(self, model: Any, memory: MemoryModules, *, mask_threshold: float) -> None:
        self.decoder = MaskDecoder(model)
        self.side: int = model.prompt_encoder.input_image_size
        """Side of the model's input, in pixels."""
        self._model = model
        self._device: torch.device = model.device
        self._memory = memory
        self._threshold = mask_threshold

    def embed_points(
        self, prompts: Sequence[TrackPrompt], size_hw: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Points and labels of prompts with equally many points, a box as its two corners.

        Args:
            prompts: without masks.
            size_hw: height and width of the frame.

        Returns:
            ``(n, p, 2)`` in pixels of the model's input, and ``(n, p)``.
        """
        scale = np.array([self.side / size_hw[1], self.side / size_hw[0]], np.float32)
        points, labels = [], []
        for prompt in prompts:
            corners = [] if prompt.box_xyxy is None else [prompt.box_xyxy.reshape(2, 2)]
            clicks = [] if prompt.points_xy is None else [prompt.points_xy]
            points.append(np.concatenate(corners + clicks) * scale)
            click_labels = [] if prompt.point_labels is None else prompt.point_labels.tolist()
            labels.append([*_CORNER_LABELS[: 2 * len(corners)], *click_labels])
        return (
            torch.from_numpy(np.stack(points)).to(self._device),
            torch.tensor(labels, device=self._device),
        )

    def from_points(
        self, encoded: Sam2FrameFeatures, ids: Sequence[int], points: Tensor, labels: Tensor
    ) -> Sam2FrameMasks:
        """Masks of new objects, from prompts alone.

        Args:
            encoded: the frame.
            ids: of the ``n`` objects.
            points: from `embed_points`.
            labels: the same.
        """
        output = self.decoder.decode(encoded.first, self._tokens(points, labels))
        multimask = self._is_ambiguous(points.shape[1], first=True)
        return self._frame_masks(encoded, ids, output, multimask, prompted=ids)

    def from_memories(
        self,
        encoded: Sam2FrameFeatures,
        ids: Sequence[int],
        memories: MemoryBatch,
        prompt: tuple[Tensor, Tensor] | None,
    ) -> Sam2FrameMasks:
        """Masks of known objects, from their memories and, to correct them, from points.

        Args:
            encoded: the frame.
            ids: of the ``n`` objects.
            memories: of the same objects.
            prompt: points and labels of each from `embed_points`; ``None`` to propagate.
        """
        features = self.decoder.with_cells(
            encoded.first, self._memory.condition(encoded.cells, memories)
        )
        points, labels = self._no_points(len(ids)) if prompt is None else prompt
        output = self.decoder.decode(features, self._tokens(points, labels))
        multimask = self._is_ambiguous(0 if prompt is None else points.shape[1], first=False)
        corrected = () if prompt is None else ids
        return self._frame_masks(encoded, ids, output, multimask, corrected, corrected)

    def from_mask(self, encoded: Sam2FrameFeatures, number: int, mask: Rle) -> Sam2FrameMasks:
        """An object with a given mask, whose pointer the decoder derives from it."""
        logits, mask_cells = self._embed_mask(mask)
        features = self.decoder.with_cells(encoded.first, encoded.cells)
        output = self.decoder.decode(features, self._tokens(*self._no_points(1)), mask_cells)
        multimask = self._is_ambiguous(0, first=True)
        predicted = self._frame_masks(encoded, [number], output, multimask, prompted=[number])
        present = torch.tensor([mask.area > 0], device=self._device)
        score = _MASK_SCALE * (mask.area > 0) + _MASK_BIAS
        return replace(
            predicted,
            score=np.full(1, score, np.float32),
            logits=resize(logits, 4 * self.decoder.grid)[:, 0],
            pointers=self._memory.replace_absent(predicted.pointers, present),
            given={number: logits[0, 0]},
        )

    def none(self, encoded: Sam2FrameFeatures) -> Sam2FrameMasks:
        """The masks of no objects."""
        side = 4 * self.decoder.grid
        return Sam2FrameMasks(
            (),
            np.zeros(0, np.float32),
            np.zeros(0, np.float32),
            torch.zeros(0, side, side, device=self._device),
            torch.zeros(0, self._model.hidden_dim, device=self._device),
            encoded.size_hw,
            self._threshold,
        )

    def logits_at_input_size(self, masks: Sam2FrameMasks, index: slice) -> Tensor:
        """Mask logits of a slice of the objects at the size of the model's input, ``(n, S, S)``;
        mask prompts as they were given."""
        logits = resize(masks.logits[index][:, None], self.side)[:, 0]
        if masks.given:
            for row, number in enumerate(masks.ids[index]):
                if number in masks.given:
                    logits[row] = masks.given[number]
        return logits

    def _frame_masks(
        self,
        encoded: Sam2FrameFeatures,
        ids: Sequence[int],
        output: DecoderOutput,
        multimask: bool,
        prompted: Collection[int],
        corrected: Collection[int] = (),
    ) -> Sam2FrameMasks:
        choice = self.decoder.choose(output, multimask=multimask)
        each = torch.arange(len(choice), device=self._device)
        score = self.decoder.score(output).float()
        present = score > 0
        logits = self.decoder.to_raster_order(output.masks[each, choice]).float()
        # SAM 2 takes the token of the first mask even where stability selected another mask.
        token_choice = choice if multimask else torch.zeros_like(choice)
        return Sam2FrameMasks(
            tuple(ids),
            output.quality[each, choice].float().cpu().numpy(),
            score.cpu().numpy(),
            torch.where(present[:, None, None], logits, NO_OBJECT_LOGIT),
            self._memory.pointers(output.mask_tokens(token_choice), present),
            encoded.size_hw,
            self._threshold,
            frozenset(prompted),
            frozenset(corrected),
        )

    def _tokens(self, points: Tensor, labels: Tensor) -> Tensor:
        """Prompt tokens of ``(n, p, 2)`` points and ``(n, p)`` labels: ``(n, t, C)``."""
        tokens, _ = self._model.prompt_encoder(points[:, None], labels[:, None], None, None)
        embedded: Tensor = tokens[:, 0]
        return embedded

    def _no_points(self, count: int) -> tuple[Tensor, Tensor]:
        """Points to ignore, one for each of ``count`` prompts: the prompt encoder needs a point."""
        return (
            torch.zeros(count, 1, 2, device=self._device),
            torch.full((count, 1), -1, device=self._device),
        )

    def _embed_mask(self, mask: Rle) -> tuple[Tensor, Tensor]:
        """A mask as logits ``(1, 1, S, S)``, and embedded as a mask prompt ``(1, C, g, g)``."""
        pixels = torch.from_numpy(mask.decode()).to(self._device)[None, None].float()
        resized = resize(pixels, self.side)
        if resized.shape != pixels.shape:
            resized = (resized >= 0.5).float()
        model = self._model
        downsampled = model.mask_downsample(resized.to(model.mask_downsample.weight.dtype))
        cells: Tensor = model.prompt_encoder.mask_embed(downsampled)
        return resized * _MASK_SCALE + _MASK_BIAS, cells

    def _is_ambiguous(self, points: int, *, first: bool) -> bool:
        """Whether the model takes the best of three masks for a prompt of so many points.

        Args:
            points: a box counts as two.
            first: the object is new.
        """
        config = self._model.config
        return bool(
            config.multimask_output_in_sam
            and (first or config.multimask_output_for_tracking)
            and config.multimask_min_pt_num <= points <= config.multimask_max_pt_num
        )


def count_points(prompt: TrackPrompt) -> int:
    """Points of a prompt; a box counts as two."""
    clicks = 0 if prompt.points_xy is None else len(prompt.points_xy)
    return clicks + 2 * (prompt.box_xyxy is not None)
