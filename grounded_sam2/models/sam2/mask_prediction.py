"""Masks from prompts on encoded images, with repair of inverted masks.

Prompted with a box, SAM 2 sometimes predicts the background: a mask of everything but the object
in the box. This happens to SAM 2 models of all sizes, and the predicted quality does not reveal
it. The box does: such a mask lies mostly outside it, fills most of the area outside, and covers
less of the inside than of the outside. The last condition excludes masks that are merely larger
than their box, such as the wall behind a poster.

The inverse of such a mask is close to the object, but its edge was not drawn for the object. It is
therefore not taken as the mask but given back to the model as a mask prompt beside the same box:
the result is again a prediction of the model, with a quality that the model predicted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from grounded_sam2.models.sam2.decoder import DecoderFeatures, MaskDecoder
from grounded_sam2.models.sam2.prompts import PromptRows

__all__ = ["MaskPredictions", "MaskPredictor", "invert_in_box", "is_complement"]

_CACHED_ELEMENTS = 2**21
"""Largest intermediate of the decoder on a CPU: 8 MiB, which the cache holds and the allocator
keeps for the next batch. With 32 MiB a prompt costs a sixth more; all of many prompts at once, as
in the models' own forward pass, costs twice as much."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskPredictions:
    """Masks of ``n`` prompts, on the model's device."""

    margins: Tensor
    """``(n, s, s)`` ``float32``: mask logits minus the threshold, positive inside the mask."""
    quality: Tensor
    """``(n,)`` ``float32``: predicted IoU."""
    complement: Tensor
    """``(n,)`` ``bool``: the mask is the inverse of the object in the box."""

    def take(self, index: slice) -> MaskPredictions:
        """The predictions of a slice of the prompts."""
        return MaskPredictions(self.margins[index], self.quality[index], self.complement[index])


class MaskPredictor:
    """The prompt encoder and the mask decoder of a model.

    Args:
        model: as for `MaskDecoder`.
        mask_threshold: logit above which a pixel belongs to the mask.
        complement: ``repair`` prompts again where a mask is a complement, ``flag`` only flags it.
    """

    def __init__(
        self,
        model: Any,
        *,
        mask_threshold: float,
        complement: Literal["repair", "flag"],
    ) -> None:
        self.decoder = MaskDecoder(model)
        self._prompt_encoder = model.prompt_encoder
        self._device: torch.device = model.device
        self._threshold = mask_threshold
        self._repairs = complement == "repair"
        self._grid_per_pixel = 4 * self.decoder.grid / model.prompt_encoder.input_image_size

    def batch_size(self, limit: int) -> int:
        """Prompts to decode together: ``limit``, or on a CPU at most what its cache holds."""
        if self._device.type != "cpu":
            return limit
        return min(limit, max(1, _CACHED_ELEMENTS // self.decoder.elements_per_row))

    def predict(
        self, features: DecoderFeatures, rows: PromptRows, *, multimask: bool
    ) -> MaskPredictions:
        """Predict one mask per prompt.

        Args:
            features: of all images that ``rows.image`` refers to.
            rows: prompts of one form; see `rows_by_form`.
            multimask: take the best of the three ambiguity masks instead of the single mask.
        """
        margins, quality = self._decode(features, rows, multimask)
        if rows.boxes_xyxy is None:
            return MaskPredictions(margins, quality, torch.zeros_like(quality, dtype=torch.bool))
        boxes = torch.from_numpy(rows.boxes_xyxy).to(self._device) * self._grid_per_pixel
        complement = is_complement(margins, boxes)
        if self._repairs and complement.any():
            wrong = complement.nonzero()[:, 0]
            hints = invert_in_box(margins[wrong], boxes[wrong])
            second_rows = replace(rows.take(wrong.cpu().numpy()), mask_logits=hints.cpu().numpy())
            second, second_quality = self._decode(features, second_rows, multimask)
            valid = (second > 0).any(dim=(1, 2)) & ~is_complement(second, boxes[wrong])
            repaired = wrong[valid]
            margins[repaired], quality[repaired] = second[valid], second_quality[valid]
            complement[repaired] = False
        return MaskPredictions(margins, quality, complement)

    def _decode(
        self, features: DecoderFeatures, rows: PromptRows, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """One pass of the decoder: margins and quality of the chosen masks."""
        tokens, mask_cells = self._embed(rows)
        output = self.decoder.decode(features.gather(rows.image.tolist()), tokens, mask_cells)
        choice = self.decoder.choose(output, multimask=multimask)
        each = torch.arange(len(choice), device=self._device)
        logits = self.decoder.to_raster_order(output.masks[each, choice]).float()
        return logits - self._threshold, output.quality[each, choice].float()

    def _embed(self, rows: PromptRows) -> tuple[Tensor, Tensor | None]:
        """Prompt tokens ``(n, t, C)``, and ``(n, C, g, g)`` for mask prompts, in float32."""
        boxes, points, labels, masks = (
            None if values is None else torch.from_numpy(values).to(self._device)[:, None]
            for values in (rows.boxes_xyxy, rows.points_xy, rows.point_labels, rows.mask_logits)
        )
        if boxes is None and points is None:  # the encoder needs a point: one that is ignored
            points = torch.zeros(len(rows), 1, 1, 2, device=self._device)
            labels = torch.full((len(rows), 1, 1), -1, device=self._device)
        tokens, cells = self._prompt_encoder(points, labels, boxes, masks)
        return tokens[:, 0], None if masks is None else cells


def is_complement(margins: Tensor, boxes_xyxy: Tensor) -> Tensor:
    """Which masks are the inverse of the object in their box.

    Args:
        margins: ``(n, h, w)`` mask logits, positive inside the mask.
        boxes_xyxy: ``(n, 4)`` in pixels of these masks.

    Returns:
        ``(n,)`` ``bool``. Never true for an empty mask or a box around the whole image.
    """
    inside = _inside(boxes_xyxy, margins.shape[1:])
    masks = margins > 0
    set_inside = (masks & inside).sum(dim=(1, 2)).float()
    set_outside = (masks & ~inside).sum(dim=(1, 2)).float()
    size_inside = inside.sum(dim=(1, 2)).float()
    size_outside = inside[0].numel() - size_inside if len(inside) else size_inside
    filled_inside = set_inside / size_inside.clamp(min=1)
    filled_outside = set_outside / size_outside.clamp(min=1)
    return (set_outside > set_inside) & (filled_outside > 0.5) & (filled_outside > filled_inside)


def invert_in_box(margins: Tensor, boxes_xyxy: Tensor) -> Tensor:
    """Masks inverted inside their boxes and empty outside: ``(n, h, w)``."""
    inside = _inside(boxes_xyxy, margins.shape[1:])
    return torch.where(inside, -margins, -margins.abs())


def _inside(boxes_xyxy: Tensor, size_hw: torch.Size) -> Tensor:
    """Pixels whose center lies in the box: ``(n, h, w)`` ``bool``."""
    height, width = size_hw
    x = torch.arange(width, device=boxes_xyxy.device) + 0.5
    y = torch.arange(height, device=boxes_xyxy.device) + 0.5
    x1, y1, x2, y2 = boxes_xyxy[:, :, None].unbind(dim=1)
    columns = (x >= x1) & (x < x2)
    rows = (y >= y1) & (y < y2)
    return rows[:, :, None] & columns[:, None, :]
