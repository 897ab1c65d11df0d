"""The SAM 2 segmenter: images and prompts in, run-length encoded masks out.

    segmenter = Sam2Segmenter.from_pretrained("tiny")
    embeddings = segmenter.encode([image])
    [masks] = segmenter.segment(embeddings, [Prompts(boxes_xyxy=boxes)], return_logits=True)
    refined = Prompts(points_xy=points, point_labels=labels, mask_logits=masks.low_res_logits)
    [masks] = segmenter.segment(embeddings, [refined])

Works with any SAM 2, SAM 2.1 or EdgeTAM checkpoint. Checkpoints for video contain all that images
need; the model is loaded whole, and a tracker can share `Sam2Segmenter.model`.

Coordinates of boxes and points follow the convention of the model's own processor: stretched with
the image, plus half a pixel of the model's input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from grounded_sam2.config import Config
from grounded_sam2.errors import CheckpointError, ConfigError, PromptError
from grounded_sam2.models.adaptive_batcher import AdaptiveBatcher
from grounded_sam2.models.devices import memory_errors
from grounded_sam2.models.image_reduction import reduce_image
from grounded_sam2.models.sam2.decoder import DecoderFeatures
from grounded_sam2.models.sam2.loading import load_sam2
from grounded_sam2.models.sam2.mask_prediction import MaskPredictions, MaskPredictor
from grounded_sam2.models.sam2.masks import to_rles
from grounded_sam2.models.sam2.model_type import Sam2Options
from grounded_sam2.models.sam2.prompts import PromptRows, Prompts, rows_by_form
from grounded_sam2.results import Image, SegmentedMasks

__all__ = ["ImageEmbeddings", "Sam2Segmenter"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class ImageEmbeddings:
    """Encoded images, ready for any number of prompts."""

    features: DecoderFeatures | None
    """Inputs of the mask decoder, on the segmenter's device; ``None`` for no images."""
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
        options: settings; their ``checkpoint`` is not read.

    Raises:
        CheckpointError: model and processor have different input sizes.
    """

    def __init__(
        self, model: Any, image_processor: Any, options: Sam2Options | None = None
    ) -> None:
        self.model = model
        self.device: torch.device = model.device
        self.options = options or Sam2Options()
        self.image_processor = image_processor
        self.predictor = MaskPredictor(
            model,
            mask_threshold=self.options.mask_threshold,
            complement=self.options.complement,
        )
        self.batcher = AdaptiveBatcher(self.predictor.batch_size(self.options.prompts_per_batch))
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
        options: Sam2Options | None = None,
    ) -> Sam2Segmenter:
        """Load a checkpoint.

        Args:
            checkpoint: short name, hub id, local folder or ``demo``: see
                `grounded_sam2.models.checkpoints.resolve_checkpoint`.
            device: see `grounded_sam2.models.devices.resolve_device`.
            dtype: see `grounded_sam2.models.devices.resolve_dtype`.
            local_files_only: never use the network.
            options: settings; their ``checkpoint`` is not read.

        Raises:
            CheckpointError: it cannot be found, fetched or loaded, or is of another model type.
            ConfigError: no such device or dtype.
        """
        model, processor = load_sam2(
            checkpoint, device=device, dtype=dtype, local_files_only=local_files_only
        )
        return cls(model, processor, options)

    @classmethod
    def from_config(cls, config: Config) -> Sam2Segmenter:
        """Load the segmenter of a configuration's sections ``segmenter`` and ``runtime``.

        Raises:
            ConfigError: ``segmenter.type`` is another one.
            CheckpointError, ConfigError: as `from_pretrained`.
        """
        options = config.segmenter
        if not isinstance(options, Sam2Options):
            raise ConfigError(
                f"segmenter.type is {options.type!r}; Sam2Segmenter is that of 'sam2'"
            )
        return cls.from_pretrained(
            options.checkpoint,
            device=config.runtime.device,
            dtype=config.runtime.dtype,
            local_files_only=config.runtime.local_files_only,
            options=options,
        )

    @property
    def logits_side(self) -> int:
        """Height and width of low-resolution mask logits: a quarter of the model's input."""
        return 4 * self.predictor.decoder.grid

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
        return ImageEmbeddings(self.predictor.decoder.prepare(features), sizes)

    @torch.inference_mode()
    def segment(
        self,
        embeddings: ImageEmbeddings,
        prompts: Sequence[Prompts],
        *,
        multimask: bool | None = None,
        return_logits: bool = False,
    ) -> list[SegmentedMasks]:
        """Predict a mask for each prompt on encoded images.

        Args:
            embeddings: from `encode`.
            prompts: one `Prompts` per image; their numbers and forms may differ, also be empty.
            multimask: take the best of three alternative masks by predicted IoU; for single points.
                By default as in the options.
            return_logits: also return the low-resolution logits, which a later prompt can refine.

        Returns:
            One `SegmentedMasks` per image, one mask per prompt. ``complement`` is true where the
            mask is the inverse of the object in the box; with ``options.complement == "repair"``,
            where the repair failed.

        Raises:
            PromptError: not one `Prompts` per image, or mask logits of the wrong size.
        """
        threshold = self.options.mask_threshold if return_logits else None

        def encode(image: int, predictions: MaskPredictions) -> SegmentedMasks:
            return _encode(predictions, embeddings.sizes_hw[image], threshold)

        batches: list[list[SegmentedMasks]] = [[] for _ in prompts]
        for image, masks in self._predict(embeddings, prompts, encode, multimask):
            batches[image].append(masks)
        logits_side = self.logits_side if return_logits else None
        return [_concatenate(of_image, logits_side) for of_image in batches]

    def segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[NDArray[np.float32]]
    ) -> list[SegmentedMasks]:
        """Segment the object in each box; images without boxes are not encoded.

        Args:
            images: upright RGB, ``(h, w, 3)`` ``uint8``, sizes may differ.
            boxes_xyxy: for each image ``(n_i, 4)`` in its pixels; numbers may differ, also be 0.

        Returns:
            One `SegmentedMasks` per image, in order, with one mask per box.

        Raises:
            PromptError: not one array of boxes per image, or boxes of a wrong shape.
        """
        return self.start_segment_boxes(images, boxes_xyxy)()

    @memory_errors("segmenter")
    @torch.inference_mode()
    def start_segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[NDArray[np.float32]]
    ) -> Callable[[], list[SegmentedMasks]]:
        """`segment_boxes` in two steps: see `grounded_sam2.models.protocols.DeferredMaskSegmenter`.

        Between the two steps the low-resolution logits of all masks are held: 256 KiB each.
        """
        if len(images) != len(boxes_xyxy):
            raise PromptError(f"{len(images)} images and boxes for {len(boxes_xyxy)}")
        sizes_hw = [(image.shape[0], image.shape[1]) for image in images]
        prompts = [Prompts(boxes_xyxy=boxes) for boxes in boxes_xyxy]
        prompted = [index for index, of_image in enumerate(prompts) if len(of_image)]
        embeddings = self.encode([images[index] for index in prompted])
        predicted = self._predict(
            embeddings, [prompts[index] for index in prompted], lambda _, predictions: predictions
        )

        @memory_errors("segmenter")
        @torch.inference_mode()
        def finish() -> list[SegmentedMasks]:
            batches: list[list[SegmentedMasks]] = [[] for _ in sizes_hw]
            while predicted:  # frees the logits of each batch once it is encoded
                place, predictions = predicted.pop(0)
                image = prompted[place]
                batches[image].append(_encode(predictions, sizes_hw[image], None))
            return [_concatenate(of_image, None) for of_image in batches]

        return finish

    def _predict(
        self,
        embeddings: ImageEmbeddings,
        prompts: Sequence[Prompts],
        convert: Callable[[int, MaskPredictions], T],
        multimask: bool | None = None,
    ) -> list[tuple[int, T]]:
        """Index of an image and the converted predictions of some of its prompts, which keep their
        order, batch by batch."""
        self._check(embeddings, prompts)
        best_of_three = self.options.multimask if multimask is None else multimask
        converted: list[tuple[int, T]] = []
        for rows in rows_by_form(prompts, embeddings.sizes_hw, self._side):
            features = embeddings.features
            assert features is not None, "rows come only from images"

            def predict(
                index: slice, rows: PromptRows = rows, features: DecoderFeatures = features
            ) -> list[tuple[int, T]]:
                batch = rows.take(index)
                predictions = self.predictor.predict(features, batch, multimask=best_of_three)
                return [
                    (image, convert(image, predictions.take(of_image)))
                    for image, of_image in batch.by_image()
                ]

            for batch in self.batcher.map(len(rows), predict):
                converted += batch
        return converted

    def _check(self, embeddings: ImageEmbeddings, prompts: Sequence[Prompts]) -> None:
        if len(embeddings) != len(prompts):
            raise PromptError(f"{len(embeddings)} encoded images and prompts for {len(prompts)}")
        expected = (self.logits_side, self.logits_side)
        for of_image in prompts:
            logits = of_image.mask_logits
            if logits is not None and logits.shape[1:] != expected:
                raise PromptError(
                    f"mask_logits has shape {logits.shape}; this model takes "
                    f"(n, {expected[0]}, {expected[1]}), as returned with return_logits"
                )


def _encode(
    predictions: MaskPredictions, size_hw: tuple[int, int], threshold: float | None
) -> SegmentedMasks:
    """Predictions of one image on the host, encoded; with logits if the threshold is given."""
    logits = None if threshold is None else (predictions.margins + threshold).cpu().numpy()
    return SegmentedMasks(
        tuple(to_rles(predictions.margins, size_hw)),
        predictions.quality.cpu().numpy(),
        predictions.complement.cpu().numpy(),
        logits,
    )


def _concatenate(batches: Sequence[SegmentedMasks], logits_side: int | None) -> SegmentedMasks:
    """The masks of all batches of one image; with logits if their side is given."""
    logits = None
    if logits_side is not None:
        none = np.zeros((0, logits_side, logits_side), np.float32)
        given = (batch.low_res_logits for batch in batches)
        logits = np.concatenate([none, *(values for values in given if values is not None)])
    return SegmentedMasks(
        tuple(mask for batch in batches for mask in batch.masks),
        np.concatenate([np.zeros(0, np.float32), *(batch.quality for batch in batches)]),
        np.concatenate([np.zeros(0, np.bool_), *(batch.complement for batch in batches)]),
        logits,
    )
