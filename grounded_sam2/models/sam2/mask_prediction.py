"""One step from prompts to masks: embed, decode, choose, and ask again where that went wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from grounded_sam2.models.sam2.complement import inverted, is_complement
from grounded_sam2.models.sam2.decoder import CellFeatures, MaskDecoder
from grounded_sam2.models.sam2.prompts import PromptRows

__all__ = ["Answerer", "RowAnswers"]

_CACHED_ELEMENTS = 2**21
"""Largest intermediate of the decoder on a CPU: 8 MiB, which the cache holds and the allocator
keeps for the next step. With 32 MiB a prompt costs a sixth more; the whole of many prompts at once,
as the models' own forward pass takes them, costs twice as much."""


@dataclass(frozen=True, slots=True, eq=False)
class RowAnswers:
    """The answers to ``n`` rows of prompts, on the device of the model."""

    margins: Tensor
    """``(n, s, s)`` ``float32``: mask logits above the threshold."""
    quality: Tensor
    """``(n,)`` ``float32``: predicted IoU."""
    complement: Tensor
    """``(n,)`` ``bool``: the mask is the inverse of what the box asked for."""

    def take(self, index: slice) -> RowAnswers:
        """Some of the rows."""
        return RowAnswers(self.margins[index], self.quality[index], self.complement[index])


class Answerer:
    """The prompt encoder and the mask decoder of a model.

    Args:
        model: as for `MaskDecoder`.
        mask_threshold: logit above which a pixel belongs to the mask.
        complement: ``repair`` asks again where the answer is a complement, ``flag`` does not.
    """

    def __init__(
        self, model: Any, *, mask_threshold: float, complement: Literal["repair", "flag"]
    ) -> None:
        self.decoder = MaskDecoder(model)
        self._prompt_encoder = model.prompt_encoder
        self._device: torch.device = model.device
        self._threshold = mask_threshold
        self._repairs = complement == "repair"
        self._grid_per_pixel = 4 * self.decoder.grid / model.prompt_encoder.input_image_size

    def rows_per_step(self, most: int) -> int:
        """How many prompts to answer together, at most ``most``: fewer on a CPU."""
        if self._device.type != "cpu":
            return most
        return min(most, max(1, _CACHED_ELEMENTS // self.decoder.elements_per_row))

    def answer(self, features: CellFeatures, rows: PromptRows, *, multimask: bool) -> RowAnswers:
        """Answer some rows of one form.

        Args:
            features: of all images that the rows count.
            rows: see `rows_by_form`.
            multimask: choose the best of three readings instead of the single one.
        """
        margins, quality = self._decode(features, rows, multimask)
        if rows.boxes_xyxy is None:
            return RowAnswers(margins, quality, torch.zeros_like(quality, dtype=torch.bool))
        boxes = torch.from_numpy(rows.boxes_xyxy).to(self._device) * self._grid_per_pixel
        complement = is_complement(margins, boxes)
        if self._repairs and complement.any():
            wrong = complement.nonzero()[:, 0]
            hints = inverted(margins[wrong], boxes[wrong])
            again = replace(rows.take(wrong.cpu().numpy()), mask_logits=hints.cpu().numpy())
            second, second_quality = self._decode(features, again, multimask)
            sound = (second > 0).any(dim=(1, 2)) & ~is_complement(second, boxes[wrong])
            repaired = wrong[sound]
            margins[repaired], quality[repaired] = second[sound], second_quality[sound]
            complement[repaired] = False
        return RowAnswers(margins, quality, complement)

    def _decode(
        self, features: CellFeatures, rows: PromptRows, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """One pass through the decoder: margins and quality of the chosen masks."""
        tokens, mask_cells = self._embed(rows)
        decoded = self.decoder.decode(features.rows(rows.image.tolist()), tokens, mask_cells)
        choice = self.decoder.choose(decoded, multimask=multimask)
        each = torch.arange(len(choice), device=self._device)
        logits = self.decoder.in_reading_order(decoded.masks[each, choice]).float()
        return logits - self._threshold, decoded.quality[each, choice].float()

    def _embed(self, rows: PromptRows) -> tuple[Tensor, Tensor | None]:
        """Prompt tokens ``(n, t, C)``, and ``(n, C, g, g)`` if masks are given, in float32."""
        boxes, points, labels, masks = (
            None if values is None else torch.from_numpy(values).to(self._device)[:, None]
            for values in (rows.boxes_xyxy, rows.points_xy, rows.point_labels, rows.mask_logits)
        )
        if boxes is None and points is None:  # the encoder needs something: a point to be ignored
            points = torch.zeros(len(rows), 1, 1, 2, device=self._device)
            labels = torch.full((len(rows), 1, 1), -1, device=self._device)
        tokens, cells = self._prompt_encoder(points, labels, boxes, masks)
        return tokens[:, 0], None if masks is None else cells
