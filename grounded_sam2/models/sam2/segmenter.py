"""Pictures and prompts in, compact masks out.

    segmenter = Sam2Segmenter.from_pretrained("tiny")
    embeddings = segmenter.encode([image])
    [answer] = segmenter.segment(embeddings, [Prompts(boxes_xyxy=boxes)], return_logits=True)
    better = Prompts(points_xy=points, point_labels=labels, mask_logits=answer.low_res_logits)
    [answer] = segmenter.segment(embeddings, [better])

Any SAM 2, SAM 2.1 or EdgeTAM checkpoint will do. Those for video hold all that pictures need; the
model is loaded whole and `Sam2Segmenter.model` can be shared with a tracker.

Boxes and points are given to the model as they are, in the convention of its own processor:
stretched with the picture and half a pixel of the model's input added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from grounded_sam2.config import Config, SegmenterConfig
from grounded_sam2.errors import CheckpointError, PromptError
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.models.sam2.complement import inverted, is_complement
from grounded_sam2.models.sam2.decoder import CellFeatures, MaskDecoder
from grounded_sam2.models.sam2.loading import load_sam2
from grounded_sam2.models.sam2.masks import to_rles
from grounded_sam2.models.sam2.prompts import PromptRows, Prompts, rows_by_form
from grounded_sam2.results import Image, SegmentedMasks

__all__ = ["ImageEmbeddings", "Sam2Segmenter"]

_CACHED_ELEMENTS = 2**22
"""Largest intermediate of the decoder on a CPU: 16 MiB, which the allocator keeps for the next
step; larger ones are given back and paged in again each time, at twice the total cost."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageEmbeddings:
    """Encoded pictures, ready for any number of prompts."""

    features: CellFeatures | None
    """On the segmenter's device; ``None`` for no pictures."""
    sizes_hw: tuple[tuple[int, int], ...]
    """Heights and widths of the pictures."""

    def __len__(self) -> int:
        return len(self.sizes_hw)


class Sam2Segmenter:
    """SAM 2 or EdgeTAM for pictures; satisfies `grounded_sam2.models.protocols.Segmenter`.

    Args:
        model: a loaded ``Sam2Model``, ``Sam2VideoModel``, ``EdgeTamModel`` or
            ``EdgeTamVideoModel``, on its device, in evaluation mode.
        image_processor: its ``Sam2ImageProcessor``.
        options: what to do with it; the ``checkpoint`` named there is not read.

    Raises:
        CheckpointError: model and processor disagree about the size of the input.
    """

    def __init__(
        self, model: Any, image_processor: Any, options: SegmenterConfig | None = None
    ) -> None:
        self.model = model
        self.device: torch.device = model.device
        self.options = options or SegmenterConfig()
        self._processor = image_processor
        self._decoder = MaskDecoder(model)
        self._side: int = model.prompt_encoder.input_image_size
        size = (image_processor.size["height"], image_processor.size["width"])
        if size != (self._side, self._side):
            raise CheckpointError(
                f"the image processor makes pictures of {size[0]}×{size[1]}, the model takes "
                f"{self._side}×{self._side}; correct 'size' in preprocessor_config.json"
            )

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str | Path,
        *,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        local_files_only: bool = False,
        options: SegmenterConfig | None = None,
    ) -> Sam2Segmenter:
        """Load a checkpoint.

        Args:
            checkpoint: short name, hub id, local folder or ``demo``: see
                `grounded_sam2.models.checkpoints.resolve`.
            device: see `grounded_sam2.models.devices.resolve_device`.
            dtype: see `grounded_sam2.models.devices.resolve_dtype`.
            local_files_only: never ask the network.
            options: see `SegmenterConfig`; its ``checkpoint`` is not read.

        Raises:
            CheckpointError: cannot be found, fetched or used; or of another kind of model.
            ConfigError: no such device or dtype.
        """
        model, processor = load_sam2(
            checkpoint, device=device, dtype=dtype, local_files_only=local_files_only
        )
        return cls(model, processor, options)

    @classmethod
    def from_config(cls, config: Config) -> Sam2Segmenter:
        """Load what the sections ``segmenter`` and ``runtime`` say.

        Raises:
            CheckpointError, ConfigError: as `from_pretrained`.
        """
        return cls.from_pretrained(
            config.segmenter.checkpoint,
            device=config.runtime.device,
            dtype=config.runtime.dtype,
            local_files_only=config.runtime.local_files_only,
            options=config.segmenter,
        )

    @property
    def logits_side(self) -> int:
        """Height and width of low-resolution mask logits: a quarter of the model's input."""
        return 4 * self._decoder.grid

    @torch.inference_mode()
    def encode(self, images: Sequence[Image]) -> ImageEmbeddings:
        """Run the vision encoder, once, on a batch of pictures.

        Args:
            images: upright RGB, ``(h, w, 3)`` ``uint8``, sizes may differ; may be none.
        """
        sizes = tuple((image.shape[0], image.shape[1]) for image in images)
        if not images:
            return ImageEmbeddings(None, sizes)
        inputs = self._processor(
            images=list(images),
            input_data_format="channels_last",
            device=self.device,
            return_tensors="pt",
        )
        features = self.model.get_image_embeddings(inputs["pixel_values"].to(self.device))
        return ImageEmbeddings(self._decoder.prepare(features), sizes)

    @torch.inference_mode()
    def segment(
        self,
        embeddings: ImageEmbeddings,
        prompts: Sequence[Prompts],
        *,
        multimask: bool | None = None,
        return_logits: bool = False,
    ) -> list[SegmentedMasks]:
        """Answer prompts on encoded pictures.

        Args:
            embeddings: from `encode`.
            prompts: one per picture; numbers and forms may differ, also be nothing.
            multimask: choose the best of three readings by predicted IoU; for single points.
                ``None`` is what the options say.
            return_logits: also give the low-resolution logits, to be refined.

        Returns:
            One `SegmentedMasks` per picture, one mask per prompt. ``complement`` is true where the
            mask is the inverse of what the box asked for; with ``options.complement == "repair"``,
            where asking again did not help.

        Raises:
            PromptError: not one `Prompts` per picture, or mask logits of another size.
        """
        self._check(embeddings, prompts)
        side = self.logits_side
        answers = [_Answers.of(len(asked), side if return_logits else None) for asked in prompts]
        best_of_three = self.options.multimask if multimask is None else multimask
        for rows in rows_by_form(prompts, embeddings.sizes_hw, self._side):
            step = self._rows_per_step()
            for begin in range(0, len(rows), step):
                some = rows.take(slice(begin, begin + step))
                margins, quality, complement = self._answer(embeddings, some, best_of_three)
                quality_host, complement_host = quality.cpu().numpy(), complement.cpu().numpy()
                for picture in np.unique(some.picture).tolist():
                    of_picture = np.flatnonzero(some.picture == picture)
                    part = slice(int(of_picture[0]), int(of_picture[-1]) + 1)
                    answers[picture].put(
                        some.position[part],
                        to_rles(margins[part], embeddings.sizes_hw[picture]),
                        quality_host[part],
                        complement_host[part],
                        margins[part] + self.options.mask_threshold if return_logits else None,
                    )
        return [answer.freeze() for answer in answers]

    def segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[NDArray[np.float32]]
    ) -> list[SegmentedMasks]:
        """Segment what stands in each box; pictures without boxes are not even encoded.

        Args:
            images: upright RGB, ``(h, w, 3)`` ``uint8``, sizes may differ.
            boxes_xyxy: for each picture ``(n_i, 4)`` in its pixels; numbers may differ, also be 0.

        Returns:
            One `SegmentedMasks` per picture, in order, with one mask per box.

        Raises:
            PromptError: not one array of boxes per picture, or boxes of a wrong form.
        """
        if len(images) != len(boxes_xyxy):
            raise PromptError(f"{len(images)} pictures and boxes for {len(boxes_xyxy)}")
        prompts = [Prompts(boxes_xyxy=boxes) for boxes in boxes_xyxy]
        asked = [index for index, prompt in enumerate(prompts) if len(prompt)]
        answers = [_Answers.of(0, None).freeze() for _ in images]
        embeddings = self.encode([images[index] for index in asked])
        found = self.segment(embeddings, [prompts[index] for index in asked])
        for index, answer in zip(asked, found, strict=True):
            answers[index] = answer
        return answers

    def _check(self, embeddings: ImageEmbeddings, prompts: Sequence[Prompts]) -> None:
        if len(embeddings) != len(prompts):
            raise PromptError(f"{len(embeddings)} encoded pictures and prompts for {len(prompts)}")
        for asked in prompts:
            expected = (self.logits_side, self.logits_side)
            if asked.mask_logits is not None and asked.mask_logits.shape[1:] != expected:
                raise PromptError(
                    f"mask_logits has shape {asked.mask_logits.shape}; this model takes "
                    f"(n, {expected[0]}, {expected[1]}), as it gives them with return_logits"
                )

    def _rows_per_step(self) -> int:
        """How many prompts to decode together."""
        if self.device.type != "cpu":
            return self.options.prompts_per_batch
        elements = self._decoder.elements_per_row
        return min(self.options.prompts_per_batch, max(1, _CACHED_ELEMENTS // elements))

    def _answer(
        self, embeddings: ImageEmbeddings, rows: PromptRows, multimask: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Margins ``(n, s, s)`` (logits above the threshold), quality, and what is inverted."""
        margins, quality = self._decode(embeddings, rows, multimask)
        if rows.boxes_xyxy is None:
            return margins, quality, torch.zeros_like(quality, dtype=torch.bool)
        boxes = torch.from_numpy(rows.boxes_xyxy).to(self.device) * (self.logits_side / self._side)
        complement = is_complement(margins, boxes)
        if self.options.complement == "repair" and complement.any():
            wrong = complement.nonzero()[:, 0]
            hints = inverted(margins[wrong], boxes[wrong]).cpu().numpy()
            again = replace(rows.take(wrong.cpu().numpy()), mask_logits=hints)
            margins_again, quality_again = self._decode(embeddings, again, multimask)
            better = (margins_again > 0).any(dim=(1, 2)) & ~is_complement(
                margins_again, boxes[wrong]
            )
            repaired = wrong[better]
            margins[repaired], quality[repaired] = margins_again[better], quality_again[better]
            complement[repaired] = False
        return margins, quality, complement

    def _decode(
        self, embeddings: ImageEmbeddings, rows: PromptRows, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """One pass through the decoder: the chosen margins and their quality."""
        assert embeddings.features is not None  # there are rows only where there are pictures
        tokens, mask_cells = self._embed(rows)
        features = embeddings.features.rows(rows.picture.tolist())
        masks, quality = self._decoder.decode(features, tokens, mask_cells)
        choice = self._decoder.choose(masks, quality, multimask=multimask)
        each = torch.arange(len(choice), device=self.device)
        margins = self._decoder.in_reading_order(masks[each, choice]).float()
        return margins - self.options.mask_threshold, quality[each, choice].float()

    def _embed(self, rows: PromptRows) -> tuple[Tensor, Tensor | None]:
        """Prompt tokens ``(n, t, C)``, and ``(n, C, g, g)`` if masks are given, in float32."""
        boxes, points, labels, masks = (
            None if values is None else torch.from_numpy(values).to(self.device)[:, None]
            for values in (rows.boxes_xyxy, rows.points_xy, rows.point_labels, rows.mask_logits)
        )
        if boxes is None and points is None:  # the prompt encoder needs something: ignored points
            points = torch.zeros(len(rows), 1, 1, 2, device=self.device)
            labels = torch.full((len(rows), 1, 1), -1, device=self.device)
        tokens, cells = self.model.prompt_encoder(points, labels, boxes, masks)
        return tokens[:, 0], None if masks is None else cells


@dataclass(frozen=True, slots=True, eq=False)
class _Answers:
    """The answers of one picture while they come in, in whatever order."""

    masks: dict[int, Rle]
    quality: NDArray[np.float32]
    complement: NDArray[np.bool_]
    logits: NDArray[np.float32] | None

    @classmethod
    def of(cls, count: int, logits_side: int | None) -> _Answers:
        shape = None if logits_side is None else (count, logits_side, logits_side)
        return cls(
            {},
            np.zeros(count, np.float32),
            np.zeros(count, np.bool_),
            None if shape is None else np.zeros(shape, np.float32),
        )

    def put(
        self,
        position: NDArray[np.int64],
        masks: list[Rle],
        quality: NDArray[np.float32],
        complement: NDArray[np.bool_],
        logits: Tensor | None,
    ) -> None:
        self.masks.update(zip(position.tolist(), masks, strict=True))
        self.quality[position] = quality
        self.complement[position] = complement
        if self.logits is not None and logits is not None:
            self.logits[position] = logits.cpu().numpy()

    def freeze(self) -> SegmentedMasks:
        masks = tuple(self.masks[index] for index in range(len(self.quality)))
        return SegmentedMasks(masks, self.quality, self.complement, self.logits)
