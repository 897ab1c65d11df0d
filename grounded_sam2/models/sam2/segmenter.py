"""Pictures and prompts in, compact masks out.

    segmenter = Sam2Segmenter.from_pretrained("tiny")
    embeddings = segmenter.encode([image])
    [answer] = segmenter.segment(embeddings, [Prompts(boxes_xyxy=boxes)], return_logits=True)
    better = Prompts(points_xy=points, point_labels=labels, mask_logits=answer.low_res_logits)
    [answer] = segmenter.segment(embeddings, [better])

Any SAM 2, SAM 2.1 or EdgeTAM checkpoint will do. Those for video hold all that images need; the
model is loaded whole and `Sam2Segmenter.model` can be shared with a tracker.

Boxes and points are given to the model as they are, in the convention of its own processor:
stretched with the image and half a pixel of the model's input added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from grounded_sam2.config import Config, SegmenterConfig
from grounded_sam2.errors import CheckpointError, PromptError
from grounded_sam2.models.adaptive_batcher import AdaptiveBatcher
from grounded_sam2.models.devices import memory_errors
from grounded_sam2.models.image_reduction import reduce_image
from grounded_sam2.models.sam2.decoder import CellFeatures
from grounded_sam2.models.sam2.loading import load_sam2
from grounded_sam2.models.sam2.mask_prediction import Answerer, RowAnswers
from grounded_sam2.models.sam2.masks import to_rles
from grounded_sam2.models.sam2.prompts import PromptRows, Prompts, rows_by_form
from grounded_sam2.results import Image, SegmentedMasks

__all__ = ["ImageEmbeddings", "Sam2Segmenter"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class ImageEmbeddings:
    """Encoded images, ready for any number of prompts."""

    features: CellFeatures | None
    """On the segmenter's device; ``None`` for no images."""
    sizes_hw: tuple[tuple[int, int], ...]
    """Heights and widths of the images."""

    def __len__(self) -> int:
        return len(self.sizes_hw)


class Sam2Segmenter:
    """SAM 2 or EdgeTAM for images; satisfies
    `grounded_sam2.models.protocols.DeferredMaskSegmenter`.

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
        self.image_processor = image_processor
        self._answerer = Answerer(
            model,
            mask_threshold=self.options.mask_threshold,
            complement=self.options.complement,
        )
        self.batcher = AdaptiveBatcher(self._answerer.rows_per_step(self.options.prompts_per_batch))
        self._side: int = model.prompt_encoder.input_image_size
        size = (image_processor.size["height"], image_processor.size["width"])
        if size != (self._side, self._side):
            raise CheckpointError(
                f"the image processor makes images of {size[0]}×{size[1]}, the model takes "
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
                `grounded_sam2.models.checkpoints.resolve_checkpoint`.
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
        return 4 * self._answerer.decoder.grid

    @torch.inference_mode()
    def encode(self, images: Sequence[Image]) -> ImageEmbeddings:
        """Run the vision encoder, once, on a batch of images.

        Args:
            images: upright RGB, ``(h, w, 3)`` ``uint8``, sizes may differ; may be none.
        """
        sizes = tuple((image.shape[0], image.shape[1]) for image in images)
        if not images:
            return ImageEmbeddings(None, sizes)
        inputs = self.image_processor(
            images=[reduce_image(image, self._side) for image in images],
            input_data_format="channels_last",
            device=self.device,
            return_tensors="pt",
        )
        features = self.model.get_image_embeddings(inputs["pixel_values"].to(self.device))
        return ImageEmbeddings(self._answerer.decoder.prepare(features), sizes)

    @torch.inference_mode()
    def segment(
        self,
        embeddings: ImageEmbeddings,
        prompts: Sequence[Prompts],
        *,
        multimask: bool | None = None,
        return_logits: bool = False,
    ) -> list[SegmentedMasks]:
        """Answer prompts on encoded images.

        Args:
            embeddings: from `encode`.
            prompts: one per image; numbers and forms may differ, also be nothing.
            multimask: choose the best of three readings by predicted IoU; for single points.
                ``None`` is what the options say.
            return_logits: also give the low-resolution logits, to be refined.

        Returns:
            One `SegmentedMasks` per image, one mask per prompt. ``complement`` is true where the
            mask is the inverse of what the box asked for; with ``options.complement == "repair"``,
            where asking again did not help.

        Raises:
            PromptError: not one `Prompts` per image, or mask logits of another size.
        """
        threshold = self.options.mask_threshold if return_logits else None

        def compact(image: int, answers: RowAnswers) -> SegmentedMasks:
            return _compact(answers, embeddings.sizes_hw[image], threshold)

        parts: list[list[SegmentedMasks]] = [[] for _ in prompts]
        for image, part in self._answers(embeddings, prompts, compact, multimask):
            parts[image].append(part)
        logits_side = self.logits_side if return_logits else None
        return [_joined(of_image, logits_side) for of_image in parts]

    def segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[NDArray[np.float32]]
    ) -> list[SegmentedMasks]:
        """Segment what stands in each box; images without boxes are not even encoded.

        Args:
            images: upright RGB, ``(h, w, 3)`` ``uint8``, sizes may differ.
            boxes_xyxy: for each image ``(n_i, 4)`` in its pixels; numbers may differ, also be 0.

        Returns:
            One `SegmentedMasks` per image, in order, with one mask per box.

        Raises:
            PromptError: not one array of boxes per image, or boxes of a wrong form.
        """
        return self.start_segment_boxes(images, boxes_xyxy)()

    @memory_errors("segmenter")
    @torch.inference_mode()
    def start_segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[NDArray[np.float32]]
    ) -> Callable[[], list[SegmentedMasks]]:
        """`segment_boxes` in two steps: see `grounded_sam2.models.protocols.DeferredMaskSegmenter`.

        Between them, the small logits of all masks are held: 256 KiB each.
        """
        if len(images) != len(boxes_xyxy):
            raise PromptError(f"{len(images)} images and boxes for {len(boxes_xyxy)}")
        sizes_hw = [(image.shape[0], image.shape[1]) for image in images]
        prompts = [Prompts(boxes_xyxy=boxes) for boxes in boxes_xyxy]
        asked = [index for index, prompt in enumerate(prompts) if len(prompt)]
        embeddings = self.encode([images[index] for index in asked])
        answers = self._answers(
            embeddings, [prompts[index] for index in asked], lambda _, of_some: of_some
        )

        @memory_errors("segmenter")
        @torch.inference_mode()
        def finish() -> list[SegmentedMasks]:
            parts: list[list[SegmentedMasks]] = [[] for _ in sizes_hw]
            while answers:  # let go of what is done
                place, of_some = answers.pop(0)
                picture = asked[place]
                parts[picture].append(_compact(of_some, sizes_hw[picture], None))
            return [_joined(of_image, None) for of_image in parts]

        return finish

    def _answers(
        self,
        embeddings: ImageEmbeddings,
        prompts: Sequence[Prompts],
        keep: Callable[[int, RowAnswers], T],
        multimask: bool | None = None,
    ) -> list[tuple[int, T]]:
        """Picture, and what is kept of the answers to some of its prompts, in their order."""
        self._check(embeddings, prompts)
        best_of_three = self.options.multimask if multimask is None else multimask
        kept: list[tuple[int, T]] = []
        for rows in rows_by_form(prompts, embeddings.sizes_hw, self._side):
            features = embeddings.features
            assert features is not None, "rows come only from images"

            def on(
                portion: slice, rows: PromptRows = rows, features: CellFeatures = features
            ) -> list[tuple[int, T]]:
                some = rows.take(portion)
                answers = self._answerer.answer(features, some, multimask=best_of_three)
                return [
                    (image, keep(image, answers.take(index))) for image, index in some.by_image()
                ]

            for part in self.batcher.map(len(rows), on):
                kept += part
        return kept

    def _check(self, embeddings: ImageEmbeddings, prompts: Sequence[Prompts]) -> None:
        if len(embeddings) != len(prompts):
            raise PromptError(f"{len(embeddings)} encoded images and prompts for {len(prompts)}")
        for asked in prompts:
            expected = (self.logits_side, self.logits_side)
            if asked.mask_logits is not None and asked.mask_logits.shape[1:] != expected:
                raise PromptError(
                    f"mask_logits has shape {asked.mask_logits.shape}; this model takes "
                    f"(n, {expected[0]}, {expected[1]}), as it gives them with return_logits"
                )


def _compact(
    answers: RowAnswers, size_hw: tuple[int, int], threshold: float | None
) -> SegmentedMasks:
    """Answers of one image, off the device; with logits if their threshold is given."""
    logits = None if threshold is None else (answers.margins + threshold).cpu().numpy()
    return SegmentedMasks(
        tuple(to_rles(answers.margins, size_hw)),
        answers.quality.cpu().numpy(),
        answers.complement.cpu().numpy(),
        logits,
    )


def _joined(parts: Sequence[SegmentedMasks], logits_side: int | None) -> SegmentedMasks:
    """The answers of one image, step after step; with logits if their side is given."""
    logits = None
    if logits_side is not None:
        none = np.zeros((0, logits_side, logits_side), np.float32)
        given = (part.low_res_logits for part in parts)
        logits = np.concatenate([none, *(values for values in given if values is not None)])
    return SegmentedMasks(
        tuple(mask for part in parts for mask in part.masks),
        np.concatenate([np.zeros(0, np.float32), *(part.quality for part in parts)]),
        np.concatenate([np.zeros(0, np.bool_), *(part.complement for part in parts)]),
        logits,
    )
