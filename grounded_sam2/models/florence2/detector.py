"""The Florence-2 detector: images and captions in, boxes with confidence out.

The vision tower sees each image once. Every (image, caption) pair is then one row: the
image's features and the caption's prompt go through the text encoder, and rows of any number
of images are decoded together.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Florence2ForConditionalGeneration, Florence2Processor

from grounded_sam2.config import Config
from grounded_sam2.errors import CheckpointError, PromptError
from grounded_sam2.models.adaptive_batcher import AdaptiveBatcher
from grounded_sam2.models.checkpoints import load_pretrained, load_processor
from grounded_sam2.models.devices import memory_errors, resolve_device, resolve_dtype
from grounded_sam2.models.florence2.confidence import confidence
from grounded_sam2.models.florence2.decoding import (
    DecodingRules,
    GeneratedOutput,
    TokenScorer,
    decode_beam_search,
    decode_greedy,
)
from grounded_sam2.models.florence2.output_parsing import (
    NUM_BINS,
    OutputVocabulary,
    ParsedBox,
    bins_to_boxes,
    parse_output,
)
from grounded_sam2.models.florence2.tasks import (
    CAPTION_TOKEN,
    TASK_TOKENS,
    Task,
    grounding_text,
    match_phrase,
)
from grounded_sam2.models.image_reduction import reduced
from grounded_sam2.results import DetectedBoxes, Image

__all__ = ["Florence2Detector"]


class Florence2Detector:
    """A `grounded_sam2.models.protocols.Detector` on Florence-2.

    Example:
        >>> detector = Florence2Detector.from_pretrained("demo")
        >>> detector.detect([image], [["red circle", "blue square"]])[0].boxes_xyxy.shape
        (3, 4)
    """

    def __init__(
        self,
        model: Florence2ForConditionalGeneration,
        processor: Florence2Processor,
        *,
        task: Task = "open_vocabulary_detection",
        num_beams: int = 1,
        max_new_tokens: int = 256,
        batch_size: int = 64,
    ) -> None:
        """Wrap a loaded model.

        Args:
            model: in evaluation mode, on its device.
            processor: the checkpoint's own.
            task: which question is asked; see `grounded_sam2.config.DetectorConfig`.
            num_beams: 1 is greedy.
            max_new_tokens: where an answer is cut off.
            batch_size: rows (an image and a caption each) that are decoded together.
        """
        self.model = model
        self.processor = processor
        self.task: Task = task
        self.num_beams = num_beams
        self.batcher = AdaptiveBatcher(batch_size)
        tokenizer = processor.tokenizer
        self._rules = DecodingRules.from_model(model, max_new_tokens)
        self.vocabulary, location_ids = _answer_vocabulary(processor)
        self._scorer = TokenScorer(
            location_ids, self._rules.end, model.config.text_config.vocab_size
        )
        self._added = frozenset(tokenizer.get_added_vocab())

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str | Path,
        *,
        task: Task = "open_vocabulary_detection",
        num_beams: int = 1,
        max_new_tokens: int = 256,
        batch_size: int = 64,
        device: str = "auto",
        dtype: str = "auto",
        local_files_only: bool = False,
    ) -> Florence2Detector:
        """Load a checkpoint.

        Args:
            checkpoint: hub id, local folder, short name (``base``, ``large`` …) or ``demo``.
            task: as for the class, and so on.
            num_beams: 1 is greedy.
            max_new_tokens: where an answer is cut off.
            batch_size: rows that are decoded together.
            device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` …
            dtype: ``auto`` (bfloat16 on CUDA, else float32), ``float32`` …
            local_files_only: never ask the network.

        Raises:
            CheckpointError: it cannot be found, fetched or loaded.
        """
        target = resolve_device(device)
        model = load_pretrained(
            Florence2ForConditionalGeneration,
            checkpoint,
            role="detector",
            dtype=resolve_dtype(dtype, target),
            device=target,
            local_files_only=local_files_only,
        )
        processor = load_processor(
            Florence2Processor, checkpoint, role="detector", local_files_only=local_files_only
        )
        return cls(
            model,
            processor,
            task=task,
            num_beams=num_beams,
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
        )

    @classmethod
    def from_config(cls, config: Config) -> Florence2Detector:
        """Load what a configuration names in its sections ``detector`` and ``runtime``."""
        detector, runtime = config.detector, config.runtime
        return cls.from_pretrained(
            detector.checkpoint,
            task=detector.task,
            num_beams=detector.num_beams,
            max_new_tokens=detector.max_new_tokens,
            batch_size=detector.batch_size,
            device=runtime.device,
            dtype=runtime.dtype,
            local_files_only=runtime.local_files_only,
        )

    @memory_errors("detector")
    @torch.inference_mode()
    def detect(
        self, images: Sequence[Image], captions: Sequence[Sequence[str]]
    ) -> list[DetectedBoxes]:
        """Find what the captions name, or for tasks without captions whatever is there.

        Args:
            images: upright RGB images, ``(h, w, 3)`` ``uint8``, sizes may differ.
            captions: for each image, the captions to ask of it. Ignored by
                ``object_detection``, ``dense_region_caption`` and ``caption_then_grounding``,
                which answer in the model's own words.

        Returns:
            One `DetectedBoxes` per image, in the order of the captions and, for each, of the
            answer. A box that an answer repeats is there once; a box without area is not there.

        Raises:
            PromptError: a caption is empty or has control tokens in it, or all together are
                longer than the model can read.
        """
        if len(images) != len(captions):
            raise PromptError(
                f"{len(captions)} lists of captions for {len(images)} images; give one for each"
            )
        for caption in {caption for asked in captions for caption in asked}:
            self._check(caption)
        if not images:
            return []
        asks_captions = self.task in ("open_vocabulary_detection", "phrase_grounding")
        wanted = [i for i, asked in enumerate(captions) if asked or not asks_captions]
        features = self.encode([images[i] for i in wanted])
        questions = self._questions(features, [captions[i] for i in wanted])
        answers = self.generate(features, [(picture, text) for picture, text, _ in questions])
        found: list[list[tuple[str, ParsedBox, float]]] = [[] for _ in images]
        for (picture, _, allowed), answer in zip(questions, answers, strict=True):
            found[wanted[picture]] += self._read(answer, allowed)
        return [
            _boxes(instances, image.shape[:2])
            for instances, image in zip(found, images, strict=True)
        ]

    @torch.inference_mode()
    def encode(self, images: Sequence[Image]) -> Tensor:
        """See each image once.

        Args:
            images: upright RGB images, ``(h, w, 3)`` ``uint8``, sizes may differ.

        Returns:
            ``(n, tokens, width)`` projected image features, on the model's device.
        """
        if not images:
            width = self.model.config.vision_config.projection_dim
            return torch.zeros(0, self.processor.num_image_tokens, width)
        processor = self.processor.image_processor
        inputs = processor(
            images=[reduced(image, processor.size["height"]) for image in images],
            input_data_format="channels_last",
            return_tensors="pt",
        )
        pixels = inputs["pixel_values"].to(self.model.device, self.model.dtype)
        features: Tensor = self.model.get_image_features(pixels).pooler_output
        return features

    @torch.inference_mode()
    def generate(
        self, features: Tensor, questions: Sequence[tuple[int, str]]
    ) -> list[GeneratedOutput]:
        """Answer questions about encoded images.

        Args:
            features: from `encode`.
            questions: index of the image in ``features``, and the prompt.

        Returns:
            One `GeneratedOutput` per question, in order.
        """

        def on(portion: slice) -> list[GeneratedOutput]:
            encoded, mask = self._encode_rows(features, questions[portion])
            if self.num_beams > 1:
                return decode_beam_search(
                    self.model, encoded, mask, self._rules, self._scorer, self.num_beams
                )
            return decode_greedy(self.model, encoded, mask, self._rules, self._scorer)

        return [answer for part in self.batcher.map(len(questions), on) for answer in part]

    def parse(self, answer: GeneratedOutput) -> list[ParsedBox]:
        """The boxes of a generated output: see `parse_output`."""
        return parse_output(answer.tokens, self.vocabulary)

    def prompt_text(self, token: str, text: str = "") -> str:
        """The words that stand for a task token, with the caption in its place."""
        if token in self.processor.task_prompts_without_inputs:
            return str(self.processor.task_prompts_without_inputs[token])
        return str(self.processor.task_prompts_with_input[token]).format(input=text)

    def _questions(
        self, features: Tensor, captions: Sequence[Sequence[str]]
    ) -> list[tuple[int, str, Sequence[str] | None]]:
        """Index of the image, prompt, and the captions that the answer can be about."""
        token = TASK_TOKENS[self.task]
        images = range(len(features))
        if self.task == "open_vocabulary_detection":
            return [
                (image, self.prompt_text(token, caption), (caption,))
                for image in images
                for caption in captions[image]
            ]
        if self.task == "phrase_grounding":
            return [
                (image, self.prompt_text(token, grounding_text(captions[image])), captions[image])
                for image in images
            ]
        if self.task == "caption_then_grounding":
            asked = self.prompt_text(CAPTION_TOKEN)
            said = self.generate(features, [(image, asked) for image in images])
            return [
                (image, self.prompt_text(token, self._text(answer)), None)
                for image, answer in zip(images, said, strict=True)
            ]
        return [(image, self.prompt_text(token), None) for image in images]

    def _encode_rows(
        self, features: Tensor, rows: Sequence[tuple[int, str]]
    ) -> tuple[Tensor, Tensor]:
        """Encoder states ``(r, s, width)`` and their mask ``(r, s)``."""
        tokenizer, model = self.processor.tokenizer, self.model
        wrapped = [f"{tokenizer.bos_token}{text}{tokenizer.eos_token}" for _, text in rows]
        text = tokenizer(
            wrapped,
            add_special_tokens=False,
            padding=True,
            padding_side="right",
            return_tensors="pt",
            verbose=False,  # what is too long is refused below
        ).to(model.device)
        length = features.shape[1] + text.input_ids.shape[1]
        limit = model.config.text_config.max_position_embeddings
        if length > limit:
            longest = max((prompt for _, prompt in rows), key=len)
            raise PromptError(
                f"prompt {longest[:60]!r}… takes {length} tokens with the image, the model reads "
                f"{limit}; shorten it or, for many captions, use task open_vocabulary_detection"
            )
        images = torch.tensor([image for image, _ in rows], device=model.device)
        seen = features[images]
        embeddings = torch.cat([seen, model.get_input_embeddings()(text.input_ids)], dim=1)
        mask = torch.cat([text.attention_mask.new_ones(seen.shape[:2]), text.attention_mask], dim=1)
        encoder = model.get_encoder()
        return encoder(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state, mask

    def _read(
        self, answer: GeneratedOutput, allowed: Sequence[str] | None
    ) -> list[tuple[str, ParsedBox, float]]:
        """Caption, instance and confidence of each box that an answer says."""
        found = []
        for instance in self.parse(answer):
            caption: str | None
            if allowed is None:
                caption = instance.phrase or None  # a box that the answer gave no name
            elif len(allowed) == 1:
                caption = allowed[0]
            else:
                caption = match_phrase(instance.phrase, allowed)
            if caption is not None:
                found.append((caption, instance, confidence(answer, instance)))
        return found

    def _text(self, answer: GeneratedOutput) -> str:
        return self.vocabulary.decode(
            [token for token in answer.tokens if token not in self.vocabulary.silent]
        ).strip()

    def _check(self, caption: str) -> None:
        if not caption.strip():
            raise PromptError(f"caption {caption!r} is empty; say what to look for")
        if "<" in caption and (tokens := [t for t in self._added if t in caption]):
            raise PromptError(
                f"caption {caption!r} contains the model's own token {min(tokens)!r}; remove it"
            )


def _answer_vocabulary(processor: Florence2Processor) -> tuple[OutputVocabulary, list[int]]:
    """What a checkpoint's tokens mean, and the ids of its location tokens in order."""
    tokenizer = processor.tokenizer
    names = [f"<loc_{i}>" for i in range(NUM_BINS)]
    added: dict[str, int] = tokenizer.get_added_vocab()
    if absent := [name for name in names if name not in added]:
        raise CheckpointError(
            f"tokenizer of {tokenizer.name_or_path!r} lacks {len(absent)} location tokens, first "
            f"{absent[0]!r}; use a Florence-2 checkpoint with its own processor"
        )
    location_ids = [added[name] for name in names]
    silent = (set(added.values()) | set(tokenizer.all_special_ids)) - set(location_ids)

    def decode(ids: Sequence[int]) -> str:
        return str(
            tokenizer.decode(
                list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
        )

    bins = {token: index for index, token in enumerate(location_ids)}
    return OutputVocabulary(bins, frozenset(silent), decode), location_ids


def _boxes(
    instances: Sequence[tuple[str, ParsedBox, float]], size_hw: tuple[int, int]
) -> DetectedBoxes:
    """Boxes of one image, each once, without those that have no area."""
    best: dict[tuple[str, tuple[int, int, int, int]], float] = {}
    for caption, instance, sure in instances:
        if instance.has_area:
            key = caption, instance.bins
            best[key] = max(sure, best.get(key, 0.0))
    bins = np.array([box for _, box in best], np.int64).reshape(-1, 4)
    sureness: NDArray[np.float32] = np.array(list(best.values()), np.float32)
    return DetectedBoxes(
        boxes_xyxy=bins_to_boxes(bins, size_hw),
        captions=tuple(caption for caption, _ in best),
        confidence=sureness,
    )
