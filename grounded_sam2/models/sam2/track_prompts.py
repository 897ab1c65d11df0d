"""What shows an object to the tracker, as SAM 2 takes it.

In videos a box is two points with labels of their own, its corners, before any other points: it
goes the way of a prompt that leaves no doubt. A mask is taken for the answer itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grounded_sam2.geometry.rle import Rle
from grounded_sam2.models.protocols import TrackPrompt
from grounded_sam2.models.sam2.memory import resized

__all__ = ["PromptEncoding", "points_of"]

_MASK_SCALE, _MASK_BIAS = 20.0, -10.0
"""Logits that stand for a mask given by hand, and for its object being there or not."""
_CORNERS = (2, 3)
"""Labels of the corners of a box."""


class PromptEncoding:
    """The way from prompts to a model's tokens.

    Args:
        model: a ``Sam2VideoModel``.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._device: torch.device = model.device
        self.side: int = model.prompt_encoder.input_image_size
        """Of the model's input, in pixels."""

    def points(
        self, asked: Sequence[TrackPrompt], size_hw: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Prompts of equally many points, boxes as their two corners: ``(n, p, 2)``, ``(n, p)``."""
        scale = np.array([self.side / size_hw[1], self.side / size_hw[0]], np.float32)
        points, labels = [], []
        for each in asked:
            corners = [] if each.box_xyxy is None else [each.box_xyxy.reshape(2, 2)]
            clicks = [] if each.points_xy is None else [each.points_xy]
            points.append(np.concatenate(corners + clicks) * scale)
            of_clicks = [] if each.point_labels is None else each.point_labels.tolist()
            labels.append([*_CORNERS[: 2 * len(corners)], *of_clicks])
        return (
            torch.from_numpy(np.stack(points)).to(self._device),
            torch.tensor(labels, device=self._device),
        )

    def nothing(self, count: int) -> tuple[Tensor, Tensor]:
        """The encoder needs something: a point to be ignored."""
        return (
            torch.zeros(count, 1, 2, device=self._device),
            torch.full((count, 1), -1, device=self._device),
        )

    def tokens(self, points: Tensor, labels: Tensor) -> Tensor:
        """``(n, p, 2)``, ``(n, p)`` → ``(n, t, C)``."""
        tokens, _ = self._model.prompt_encoder(points[:, None], labels[:, None], None, None)
        embedded: Tensor = tokens[:, 0]
        return embedded

    def mask(self, mask: Rle) -> tuple[Tensor, Tensor]:
        """A mask as logits ``(1, 1, S, S)`` of the answer, and as a hint ``(1, C, g, g)`` from
        which the decoder makes the pointer of its object."""
        whole = torch.from_numpy(mask.decode()).to(self._device)[None, None].float()
        large = resized(whole, self.side)
        if large.shape != whole.shape:
            large = (large >= 0.5).float()
        model = self._model
        hint = model.mask_downsample(large.to(model.mask_downsample.weight.dtype))
        cells: Tensor = model.prompt_encoder.mask_embed(hint)
        return large * _MASK_SCALE + _MASK_BIAS, cells

    @staticmethod
    def score(mask: Rle) -> float:
        """The logit of the object of a mask being there."""
        return _MASK_SCALE * (mask.area > 0) + _MASK_BIAS

    def takes_best_of_three(self, points: int, *, first: bool) -> bool:
        """Whether a prompt of so many points leaves a doubt which whole is meant.

        Args:
            points: a box counted as two.
            first: the object is seen for the first time.
        """
        config = self._model.config
        return bool(
            config.multimask_output_in_sam
            and (first or config.multimask_output_for_tracking)
            and config.multimask_min_pt_num <= points <= config.multimask_max_pt_num
        )


def points_of(asked: TrackPrompt) -> int:
    """Points of a prompt, a box counted as two."""
    clicks = 0 if asked.points_xy is None else len(asked.points_xy)
    return clicks + 2 * (asked.box_xyxy is not None)
