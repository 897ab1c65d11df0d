"""The SAM 2 video tracker: all objects of a frame in one batch, in bounded memory.

    tracker = Sam2Tracker.from_pretrained("tiny")
    state = tracker.empty_state()
    for frame, image in enumerate(frames):
        encoded = tracker.encode(image)
        masks = tracker.propagate(encoded, state, frame)
        if frame == 0:
            masks = tracker.prompt(encoded, {1: TrackPrompt(box_xyxy=box)})
        state = tracker.update_state(encoded, state, frame, masks)
        rles = masks.to_rles()

The tracker keeps nothing between calls. The state is an immutable value: it can be kept,
discarded, restricted to some objects or saved. Frame numbers are the caller's; a number that is
left out counts as a frame of elapsed time.

The results are those of ``Sam2VideoModel``, which tracks one object at a time and keeps the memory
of every frame. `transformers` differs from the original SAM 2 in two conventions;
`TrackerConfig.compat` selects which to follow.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grounded_sam2.config import Config, TrackerConfig
from grounded_sam2.errors import CheckpointError, PromptError
from grounded_sam2.models.adaptive_batcher import AdaptiveBatcher
from grounded_sam2.models.devices import memory_errors
from grounded_sam2.models.image_reduction import reduce_image
from grounded_sam2.models.protocols import TrackPrompt
from grounded_sam2.models.sam2.loading import load_sam2
from grounded_sam2.models.sam2.memory import MemoryBatch, MemoryModules
from grounded_sam2.models.sam2.segmenter import Sam2Segmenter
from grounded_sam2.models.sam2.track_mask_prediction import TrackMaskPredictor, count_points
from grounded_sam2.models.sam2.track_masks import Sam2FrameFeatures, Sam2FrameMasks
from grounded_sam2.models.sam2.track_state import (
    FrameMemory,
    MemoryLimits,
    ObjectMemory,
    Sam2TrackerState,
    batch_memories,
)
from grounded_sam2.results import Image

__all__ = ["Sam2Tracker"]

_CACHED_ELEMENTS = 2**20
"""Keys of the memory attention at a time on a CPU: 4 MiB. Bounds the memory; with 16 objects, 1 to
16 at a time are equally fast."""


class Sam2Tracker:
    """A `grounded_sam2.models.protocols.Tracker` on SAM 2 for video.

    Args:
        model: a loaded ``Sam2VideoModel``, on its device, in evaluation mode.
        image_processor: its ``Sam2ImageProcessor``.
        options: tracking settings.
        mask_threshold: logit above which a pixel belongs to the mask.

    Raises:
        CheckpointError: the model is not a SAM 2 model for video.
    """

    def __init__(
        self,
        model: Any,
        image_processor: Any,
        options: TrackerConfig | None = None,
        *,
        mask_threshold: float = 0.0,
    ) -> None:
        if getattr(model.config, "model_type", None) != "sam2_video":
            raise CheckpointError(
                f"the model is of type {getattr(model.config, 'model_type', type(model))!r}; "
                "tracking needs a SAM 2 checkpoint for video, such as 'tiny'"
            )
        self.model = model
        self.device: torch.device = model.device
        self.options = options or TrackerConfig()
        self.image_processor = image_processor
        with torch.inference_mode():
            self._memory = MemoryModules(model)
        self._predictor = TrackMaskPredictor(model, self._memory, mask_threshold=mask_threshold)
        config = model.config
        attended = config.max_cond_frame_num
        self.limits = MemoryLimits(
            map_distance=config.num_maskmem - 1,
            pointer_distance=config.max_object_pointers_in_encoder - 1,
            prompted_frames=self.options.max_prompted_frames,
            attended_prompted_frames=None if attended == -1 else attended,
            correction_window=self.options.correction_window,
        )
        self.batcher = AdaptiveBatcher(self._objects_per_batch())

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str | Path,
        *,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        local_files_only: bool = False,
        options: TrackerConfig | None = None,
    ) -> Sam2Tracker:
        """Load a checkpoint. Arguments and errors as for `Sam2Segmenter.from_pretrained`."""
        model, processor = load_sam2(
            checkpoint, device=device, dtype=dtype, local_files_only=local_files_only
        )
        return cls(model, processor, options)

    @classmethod
    def sharing(cls, segmenter: Sam2Segmenter, options: TrackerConfig | None = None) -> Sam2Tracker:
        """A tracker on the model of a segmenter: one model in memory for both.

        Raises:
            CheckpointError: the model is not a SAM 2 model for video.
        """
        return cls(
            segmenter.model,
            segmenter.image_processor,
            options,
            mask_threshold=segmenter.options.mask_threshold,
        )

    @classmethod
    def from_config(cls, config: Config) -> Sam2Tracker:
        """Load the tracker of a configuration's ``segmenter``, ``tracker`` and ``runtime``."""
        return cls.for_segmenter(config, None)

    @classmethod
    def for_segmenter(cls, config: Config, segmenter: object) -> Sam2Tracker:
        """The tracker of a configuration, on the model of its segmenter if that is a
        `Sam2Segmenter`; otherwise on a model of its own."""
        if not isinstance(segmenter, Sam2Segmenter):
            segmenter = Sam2Segmenter.from_config(config)
        return cls.sharing(segmenter, config.tracker)

    @memory_errors("tracker")
    @torch.inference_mode()
    def encode(self, image: Image) -> Sam2FrameFeatures:
        """Run the vision encoder on a frame.

        Args:
            image: upright RGB, ``(h, w, 3)`` ``uint8``.
        """
        inputs = self.image_processor(
            images=[reduce_image(image, self._predictor.side)],
            input_data_format="channels_last",
            device=self.device,
            return_tensors="pt",
        )
        maps = self.model.get_image_features(inputs["pixel_values"].to(self.device))
        fine_4x, fine_2x, coarse = maps.fpn_hidden_states  # (HW, 1, C) each
        cells = coarse.transpose(0, 1)
        decoder = self._predictor.decoder
        features = [
            flat.permute(1, 2, 0).unflatten(2, (side, side))
            for flat, side in (
                (fine_4x, 4 * decoder.grid),
                (fine_2x, 2 * decoder.grid),
                (coarse + self.model.no_memory_embedding.to(coarse.dtype), decoder.grid),
            )
        ]
        return Sam2FrameFeatures(cells, decoder.prepare(features), image.shape[:2])

    def empty_state(self) -> Sam2TrackerState:
        """The state of no objects."""
        return Sam2TrackerState()

    @memory_errors("tracker")
    @torch.inference_mode()
    def propagate(
        self,
        encoded: Sam2FrameFeatures,
        state: Sam2TrackerState,
        frame: int,
        *,
        reverse: bool = False,
    ) -> Sam2FrameMasks:
        """Predict the masks of all objects of a state on a frame.

        Args:
            encoded: the frame.
            state: memory of the frames before it; with ``reverse``, after it.
            frame: its number.
            reverse: tracking goes backward in time.

        Returns:
            Masks in the order of ``state.ids``; none for no objects.
        """
        return self._from_memories(encoded, state, state.ids, frame, reverse, None)

    @memory_errors("tracker")
    @torch.inference_mode()
    def prompt(
        self,
        encoded: Sam2FrameFeatures,
        prompts: Mapping[int, TrackPrompt],
        state: Sam2TrackerState | None = None,
        frame: int | None = None,
        *,
        reverse: bool = False,
    ) -> Sam2FrameMasks:
        """Predict the masks of prompted objects on a frame.

        Args:
            encoded: the frame.
            prompts: by object id.
            state: objects that it contains are corrected: their memory counts as well as the
                prompt. Others are new on this frame.
            frame: number of the frame; required for corrections.
            reverse: tracking goes backward in time; used for corrections only.

        Returns:
            Masks in the order of the prompts.

        Raises:
            PromptError: a mask of another size than the frame; a correction without ``frame``.
        """
        for number, prompt in prompts.items():
            if prompt.mask is not None and prompt.mask.size_hw != encoded.size_hw:
                raise PromptError(
                    f"object {number}: its mask has size {prompt.mask.size_hw}, the frame "
                    f"{encoded.size_hw}; give masks of the size of the upright frame"
                )
        known = state.objects if state is not None else {}
        parts = [
            self._predictor.from_mask(encoded, number, prompt.mask)
            for number, prompt in prompts.items()
            if prompt.mask is not None
        ]
        groups: dict[tuple[int, bool], list[int]] = {}
        for number, prompt in prompts.items():
            if prompt.mask is None:
                groups.setdefault((count_points(prompt), number in known), []).append(number)
        for (_, is_correction), ids in groups.items():
            points, labels = self._predictor.embed_points(
                [prompts[number] for number in ids], encoded.size_hw
            )
            if not is_correction or state is None:
                parts.append(self._from_points(encoded, ids, points, labels))
                continue
            if frame is None:
                raise PromptError(
                    f"object {ids[0]} is corrected without a frame number; give 'frame', as for "
                    "propagate"
                )
            parts.append(self._from_memories(encoded, state, ids, frame, reverse, (points, labels)))
        if not parts:
            return self._predictor.none(encoded)
        return Sam2FrameMasks.concatenate(parts).in_order(list(prompts))

    @memory_errors("tracker")
    @torch.inference_mode()
    def update_state(
        self,
        encoded: Sam2FrameFeatures,
        state: Sam2TrackerState,
        frame: int,
        masks: Sam2FrameMasks,
        *,
        prompted: Collection[int] = (),
    ) -> Sam2TrackerState:
        """The state after a frame.

        Args:
            encoded: the frame.
            state: the state before it; not changed.
            frame: its number.
            masks: masks to add to the memory. Objects that are new to the state join it; objects
                of the state without a mask here keep their memory.
            prompted: objects for which the frame is kept like a prompted one, in addition to those
                that were prompted on it.
        """
        if not masks.ids:
            return state
        as_transformers = self.options.compat == "transformers"
        prompted_ids = masks.prompted.union(prompted)
        # The original SAM 2 binarizes the masks of prompted objects; transformers those of all
        # objects of a frame on which any was prompted.
        binarized = torch.tensor(
            [
                number in prompted_ids or (as_transformers and bool(prompted_ids))
                for number in masks.ids
            ],
            device=self.device,
        )
        present = torch.from_numpy(masks.score > 0).to(self.device)

        def encode(index: slice) -> Tensor:
            logits = self._predictor.logits_at_input_size(masks, index)
            return self._memory.encode(encoded.cells, logits, present[index], binarized[index]).to(
                torch.bfloat16
            )

        maps = torch.cat(self.batcher.map(len(masks), encode))
        pointers = self._memory.replace_absent(masks.pointers, present)
        objects = dict(state.objects)
        for row, number in enumerate(masks.ids):
            # transformers stores a correction like an unprompted frame.
            as_unprompted = as_transformers and number in masks.corrected
            # Cloned: a view would keep the memories of all objects alive as long as the last one.
            memory = FrameMemory(frame, pointers[row].clone(), maps[row].clone())
            objects[number] = objects.get(number, ObjectMemory()).add(
                memory, self.limits, prompted=number in prompted_ids and not as_unprompted
            )
        return Sam2TrackerState(objects)

    def save(self, state: Sam2TrackerState) -> bytes:
        """A state as bytes, losslessly."""
        return state.to_bytes()

    def load(self, data: bytes) -> Sam2TrackerState:
        """The inverse of `save`.

        Raises:
            CheckpointError: the bytes are not a state.
        """
        return Sam2TrackerState.from_bytes(data, self.device)

    def _from_points(
        self, encoded: Sam2FrameFeatures, ids: Sequence[int], points: Tensor, labels: Tensor
    ) -> Sam2FrameMasks:
        """Masks of new objects, in batches that fit into memory."""

        def predict(index: slice) -> Sam2FrameMasks:
            return self._predictor.from_points(encoded, ids[index], points[index], labels[index])

        return Sam2FrameMasks.concatenate(self.batcher.map(len(ids), predict))

    def _from_memories(
        self,
        encoded: Sam2FrameFeatures,
        state: Sam2TrackerState,
        ids: Sequence[int],
        frame: int,
        reverse: bool,
        prompt: tuple[Tensor, Tensor] | None,
    ) -> Sam2FrameMasks:
        """Masks of known objects, in batches that fit into memory; with points, corrected."""
        if not ids:
            return self._predictor.none(encoded)
        parts: list[Sam2FrameMasks] = []
        for indices, memories in batch_memories(state, ids, frame, self.limits, reverse=reverse):

            def predict(
                batch: slice, indices: list[int] = indices, memories: MemoryBatch = memories
            ) -> Sam2FrameMasks:
                rows = indices[batch]
                return self._predictor.from_memories(
                    encoded,
                    [ids[row] for row in rows],
                    memories.rows(batch),
                    None if prompt is None else (prompt[0][rows], prompt[1][rows]),
                )

            parts += self.batcher.map(len(indices), predict)
        return Sam2FrameMasks.concatenate(parts).in_order(ids)

    def _objects_per_batch(self) -> int:
        """Objects to begin with in a batch: on a CPU, as many as `_CACHED_ELEMENTS` allows."""
        if self.device.type == "cpu":
            maps = 1 + self.limits.map_distance
            keys = self._memory.grid**2 * maps * self.model.hidden_dim
            return max(1, _CACHED_ELEMENTS // keys)
        return self.options.objects_per_batch
