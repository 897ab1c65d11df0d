"""Masks carried from frame to frame, all objects at once, in bounded memory.

    tracker = Sam2Tracker.from_pretrained("tiny")
    state = tracker.empty_state()
    for frame, image in enumerate(frames):
        encoded = tracker.encode(image)
        answers = tracker.propagate(encoded, state, frame)
        if frame == 0:
            answers = tracker.prompt(encoded, {1: TrackPrompt(box_xyxy=box)})
        state = tracker.update_state(encoded, state, frame, answers)
        masks = answers.to_rles()

Nothing is kept but the state, which is a value: it may be copied, thrown away, cut down to some
objects, written to a file. Frames are numbered as they are given; a number left out counts as time
that passed.

The results are those of ``Sam2VideoModel``, which takes one object at a time and keeps everything.
In two conventions `transformers` differs from the original SAM 2; `TrackerConfig.compat` says which
to follow.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grounded_sam2.config import Config, TrackerConfig
from grounded_sam2.errors import CheckpointError, PromptError
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.models.adaptive_batcher import AdaptiveBatcher
from grounded_sam2.models.devices import memory_errors
from grounded_sam2.models.image_reduction import reduce_image
from grounded_sam2.models.protocols import TrackPrompt
from grounded_sam2.models.sam2.decoder import Decoded, MaskDecoder
from grounded_sam2.models.sam2.loading import load_sam2
from grounded_sam2.models.sam2.memory import NO_OBJECT_LOGIT, MemoryModules, resized
from grounded_sam2.models.sam2.segmenter import Sam2Segmenter
from grounded_sam2.models.sam2.track_masks import Sam2FrameFeatures, Sam2FrameMasks
from grounded_sam2.models.sam2.track_prompts import PromptEncoding, points_of
from grounded_sam2.models.sam2.track_state import (
    Moment,
    ObjectMemory,
    Reach,
    Sam2TrackerState,
    batched,
)
from grounded_sam2.results import Image

__all__ = ["Sam2Tracker"]

_CACHED_ELEMENTS = 2**20
"""Keys of the memory attention at a time on a CPU: 4 MiB. It bounds the memory; of 16 objects, 1 to
16 at a time are equally fast."""


class Sam2Tracker:
    """SAM 2 for video; satisfies `grounded_sam2.models.protocols.Tracker`.

    Args:
        model: a loaded ``Sam2VideoModel``, on its device, in evaluation mode.
        image_processor: its ``Sam2ImageProcessor``.
        options: how to track.
        mask_threshold: logit above which a pixel belongs to the mask.

    Raises:
        CheckpointError: the model is none that can track.
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
        self._threshold = mask_threshold
        self.image_processor = image_processor
        self._prompts = PromptEncoding(model)
        self._decoder = MaskDecoder(model)
        with torch.inference_mode():
            self._memory = MemoryModules(model)
        config = model.config
        attended = config.max_cond_frame_num
        self.reach = Reach(
            maps=config.num_maskmem - 1,
            pointers=config.max_object_pointers_in_encoder - 1,
            prompted=self.options.max_prompted_frames,
            attended=None if attended == -1 else attended,
            corrections=self.options.correction_window,
        )
        self.batcher = AdaptiveBatcher(self._objects_per_step())

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
        """Load a checkpoint. Arguments and errors as of `Sam2Segmenter.from_pretrained`."""
        model, processor = load_sam2(
            checkpoint, device=device, dtype=dtype, local_files_only=local_files_only
        )
        return cls(model, processor, options)

    @classmethod
    def sharing(cls, segmenter: Sam2Segmenter, options: TrackerConfig | None = None) -> Sam2Tracker:
        """A tracker that uses the model of a segmenter: one model in memory for both.

        Raises:
            CheckpointError: the model is none that can track.
        """
        return cls(
            segmenter.model,
            segmenter.image_processor,
            options,
            mask_threshold=segmenter.options.mask_threshold,
        )

    @classmethod
    def from_config(cls, config: Config) -> Sam2Tracker:
        """Load what the sections ``segmenter``, ``tracker`` and ``runtime`` say."""
        return cls.sharing(Sam2Segmenter.from_config(config), config.tracker)

    @memory_errors("tracker")
    @torch.inference_mode()
    def encode(self, image: Image) -> Sam2FrameFeatures:
        """Run the vision encoder on a frame.

        Args:
            image: upright RGB, ``(h, w, 3)`` ``uint8``.
        """
        inputs = self.image_processor(
            images=[reduce_image(image, self._prompts.side)],
            input_data_format="channels_last",
            device=self.device,
            return_tensors="pt",
        )
        maps = self.model.get_image_features(inputs["pixel_values"].to(self.device))
        quarters, halves, coarse = maps.fpn_hidden_states  # (HW, 1, C) each
        cells = coarse.transpose(0, 1)
        grid = self._decoder.grid
        features = [
            flat.permute(1, 2, 0).unflatten(2, (side, side))
            for flat, side in (
                (quarters, 4 * grid),
                (halves, 2 * grid),
                (coarse + self.model.no_memory_embedding.to(coarse.dtype), grid),
            )
        ]
        return Sam2FrameFeatures(cells, self._decoder.prepare(features), image.shape[:2])

    def empty_state(self) -> Sam2TrackerState:
        """The state before any object."""
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
        """Find all objects of a state in a frame.

        Args:
            encoded: the frame.
            state: what is remembered of the frames before it; after it, if `reverse`.
            frame: its number.
            reverse: tracking goes back in time.

        Returns:
            Answers in the order of ``state.ids``; none for no objects.
        """
        return self._looked_for(encoded, state, state.ids, frame, reverse, None)

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
        """Answer prompts on a frame.

        Args:
            encoded: the frame.
            prompts: what is asked for each object.
            state: objects that it holds are corrected: they are looked for in the light of what is
                remembered, and of the prompt. Others are seen as on their first frame.
            frame: number of the frame; needed for corrections.
            reverse: tracking goes back in time; only matters for corrections.

        Returns:
            Answers in the order of the prompts.

        Raises:
            PromptError: a mask of another size than the frame; a correction without `frame`.
        """
        for number, asked in prompts.items():
            if asked.mask is not None and asked.mask.size_hw != encoded.size_hw:
                raise PromptError(
                    f"object {number}: its mask has size {asked.mask.size_hw}, the frame "
                    f"{encoded.size_hw}; give masks of the size of the upright frame"
                )
        known = state.objects if state is not None else {}
        groups: dict[tuple[int, bool], list[int]] = {}
        for number, asked in prompts.items():
            if asked.mask is None:
                groups.setdefault((points_of(asked), number in known), []).append(number)
        parts = [
            self._masks_given(encoded, number, asked.mask)
            for number, asked in prompts.items()
            if asked.mask is not None
        ]
        for (_, correction), numbers in groups.items():
            points, labels = self._prompts.points(
                [prompts[each] for each in numbers], encoded.size_hw
            )
            if not correction or state is None:
                parts.append(self._first_seen(encoded, numbers, points, labels))
                continue
            if frame is None:
                raise PromptError(
                    f"object {numbers[0]} is corrected: say which frame this is, as in propagate"
                )
            clicks = points, labels
            parts.append(self._looked_for(encoded, state, numbers, frame, reverse, clicks))
        if not parts:
            return self._none(encoded)
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
            state: before it.
            frame: its number.
            masks: objects that are new to the state join it; objects of the state that are not
                among them keep what they remember.
            prompted: objects to which this frame is an example, besides those that were prompted.

        Returns:
            Another state; the one given stays as it is.
        """
        if not masks.ids:
            return state
        as_transformers = self.options.compat == "transformers"
        examples = masks.prompted.union(prompted)
        sharp = [each in examples or (as_transformers and bool(examples)) for each in masks.ids]
        present = torch.from_numpy(masks.score > 0).to(self.device)
        as_given = torch.tensor(sharp, device=self.device)

        def on(portion: slice) -> Tensor:
            logits = self._large(masks, portion)
            return self._memory.encode(
                encoded.cells, logits, present[portion], as_given[portion]
            ).to(torch.bfloat16)

        maps = torch.cat(self.batcher.map(len(masks), on))
        pointers = self._memory.absent_pointers(masks.pointers, present)
        objects = dict(state.objects)
        for row, number in enumerate(masks.ids):
            # transformers remembers a correction as any other frame.
            as_any = as_transformers and number in masks.corrected
            # Views would keep the memories of all objects alive for as long as the longest.
            moment = Moment(frame, pointers[row].clone(), maps[row].clone())
            objects[number] = objects.get(number, ObjectMemory()).with_moment(
                moment, self.reach, prompted=number in examples and not as_any
            )
        return Sam2TrackerState(objects)

    def save(self, state: Sam2TrackerState) -> bytes:
        """All of a state, exactly."""
        return state.to_bytes()

    def load(self, data: bytes) -> Sam2TrackerState:
        """What `save` wrote.

        Raises:
            CheckpointError: it did not.
        """
        return Sam2TrackerState.from_bytes(data, self.device)

    def _looked_for(
        self,
        encoded: Sam2FrameFeatures,
        state: Sam2TrackerState,
        ids: Sequence[int],
        frame: int,
        reverse: bool,
        prompt: tuple[Tensor, Tensor] | None,
    ) -> Sam2FrameMasks:
        """Objects in the light of their memories, and of points for all of them if given."""
        if not ids:
            return self._none(encoded)
        parts: list[Sam2FrameMasks] = []
        for places, memories in batched(state, ids, frame, self.reach, reverse=reverse):

            def on(
                portion: slice, places: list[int] = places, memories: Any = memories
            ) -> Sam2FrameMasks:
                some = memories.rows(portion)
                features = self._decoder.seen_as(
                    encoded.first, self._memory.condition(encoded.cells, some)
                )
                rows = places[portion]
                points, labels = (
                    self._prompts.nothing(len(rows))
                    if prompt is None
                    else (prompt[0][rows], prompt[1][rows])
                )
                number = 0 if prompt is None else points.shape[1]
                numbers = [ids[row] for row in rows]
                decoded = self._decoder.decode(features, self._prompts.tokens(points, labels))
                corrected = frozenset(numbers if prompt is not None else ())
                return self._answers(
                    encoded,
                    numbers,
                    decoded,
                    self._prompts.takes_best_of_three(number, first=False),
                    corrected,
                    corrected,
                )

            parts += self.batcher.map(len(places), on)
        return Sam2FrameMasks.concatenate(parts).in_order(ids)

    def _first_seen(
        self, encoded: Sam2FrameFeatures, numbers: Sequence[int], points: Tensor, labels: Tensor
    ) -> Sam2FrameMasks:
        """Objects that are only prompted."""
        multimask = self._prompts.takes_best_of_three(points.shape[1], first=True)

        def on(portion: slice) -> Sam2FrameMasks:
            tokens = self._prompts.tokens(points[portion], labels[portion])
            some = numbers[portion]
            return self._answers(
                encoded,
                some,
                self._decoder.decode(encoded.first, tokens),
                multimask,
                frozenset(some),
                frozenset(),
            )

        return Sam2FrameMasks.concatenate(self.batcher.map(len(numbers), on))

    def _masks_given(self, encoded: Sam2FrameFeatures, number: int, mask: Rle) -> Sam2FrameMasks:
        """An object whose mask is known: the decoder only makes its pointer."""
        given, mask_cells = self._prompts.mask(mask)
        small = resized(given, 4 * self._decoder.grid)
        features = self._decoder.seen_as(encoded.first, encoded.cells)
        tokens = self._prompts.tokens(*self._prompts.nothing(1))
        decoded = self._decoder.decode(features, tokens, mask_cells)
        answer = self._answers(
            encoded,
            [number],
            decoded,
            self._prompts.takes_best_of_three(0, first=True),
            frozenset([number]),
            frozenset(),
        )
        there = torch.tensor([mask.area > 0], device=self.device)
        return replace(
            answer,
            score=np.full(1, self._prompts.score(mask), np.float32),
            logits=small[:, 0],
            pointers=self._memory.absent_pointers(answer.pointers, there),
            given={number: given[0, 0]},
        )

    def _answers(
        self,
        encoded: Sam2FrameFeatures,
        numbers: Sequence[int],
        decoded: Decoded,
        multimask: bool,
        prompted: frozenset[int],
        corrected: frozenset[int],
    ) -> Sam2FrameMasks:
        choice = self._decoder.choose(decoded, multimask=multimask)
        each = torch.arange(len(choice), device=self.device)
        score = self._decoder.score(decoded).float()
        present = score > 0
        logits = self._decoder.in_reading_order(decoded.masks[each, choice]).float()
        # A mask that is chosen for its stability leaves the token of the first.
        named = choice if multimask else torch.zeros_like(choice)
        return Sam2FrameMasks(
            tuple(numbers),
            decoded.quality[each, choice].float().cpu().numpy(),
            score.cpu().numpy(),
            torch.where(present[:, None, None], logits, NO_OBJECT_LOGIT),
            self._memory.pointers(decoded.mask_tokens(named), present),
            encoded.size_hw,
            self._threshold,
            prompted,
            corrected,
        )

    def _large(self, answers: Sam2FrameMasks, portion: slice) -> Tensor:
        """Mask logits at the size of the model's input, those given by hand as they are."""
        large = resized(answers.logits[portion][:, None], self._prompts.side)[:, 0]
        if answers.given:
            for row, number in enumerate(answers.ids[portion]):
                if number in answers.given:
                    large[row] = answers.given[number]
        return large

    def _none(self, encoded: Sam2FrameFeatures) -> Sam2FrameMasks:
        nothing = np.zeros(0, np.float32)
        side = 4 * self._decoder.grid
        return Sam2FrameMasks(
            (),
            nothing,
            nothing,
            torch.zeros(0, side, side, device=self.device),
            torch.zeros(0, self.model.hidden_dim, device=self.device),
            encoded.size_hw,
            self._threshold,
        )

    def _objects_per_step(self) -> int:
        """How many objects go through together: what a budget of memory allows."""
        if self.device.type == "cpu":
            keys = self._memory.grid**2 * (1 + self.reach.maps) * self.model.hidden_dim
            return max(1, _CACHED_ELEMENTS // keys)
        return self.options.objects_per_batch
