"""The Florence-2 detector: images and captions in, boxes with confidence out.

The vision tower encodes each image once. Every (image, caption) pair is then one row of a batch:
the image's features and the caption's prompt go through the text encoder, and the rows of any
number of images are decoded together.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import Florence2ForConditionalGeneration, Florence2Processor

from grounded_sam2.config import Config
from grounded_sam2.errors import ConfigError, PromptError
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
from grounded_sam2.models.florence2.model_type import FLORENCE2, Florence2Options, Task
from grounded_sam2.models.florence2.output_parsing import (
    OutputVocabulary,
    ParsedBox,
    match_phrase,
    parse_output,
    to_detected_boxes,
)
from grounded_sam2.models.image_reduction import reduce_image
from grounded_sam2.results import DetectedBoxes, Image

__all__ = ["Florence2Detector", "join_captions"]

_TASK_TOKENS: dict[Task, str] = {
    "open_vocabulary_detection": "<OPEN_VOCABULARY_DETECTION>",
    "phrase_grounding": "<CAPTION_TO_PHRASE_GROUNDING>",
    "object_detection": "<OD>",
    "dense_region_caption": "<DENSE_REGION_CAPTION>",
    "caption_then_grounding": "<CAPTION_TO_PHRASE_GROUNDING>",
}
_CAPTION_TOKEN = "<DETAILED_CAPTION>"
"""First step of ``caption_then_grounding``: a detailed caption names more objects than a plain one
and repeats itself less than a paragraph (``<MORE_DETAILED_CAPTION>``)."""


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
            task: the model's task; see `Florence2Options`.
            num_beams: beam width; 1 is greedy decoding.
            max_new_tokens: tokens after which an output is cut off.
            batch_size: rows (an image and a caption each) that are decoded together.
        """
        self.model = model
        self.processor = processor
        self.task: Task = task
        self.num_beams = num_beams
        self.batcher = AdaptiveBatcher(batch_size)
        self.vocabulary = OutputVocabulary.from_processor(processor)
        self._rules = DecodingRules.from_model(model, max_new_tokens)
        self._scorer = TokenScorer(
            list(self.vocabulary.bin_of_token), self._rules.end, model.config.text_config.vocab_size
        )
        self._added_tokens = frozenset(processor.tokenizer.get_added_vocab())

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
            task: as for the class; so are the next three.
            num_beams: beam width; 1 is greedy decoding.
            max_new_tokens: tokens after which an output is cut off.
            batch_size: rows that are decoded together.
            device: ``auto`` (CUDA if available), ``cpu``, ``cuda`` …
            dtype: ``auto`` (bfloat16 on CUDA, else float32), ``float32`` …
            local_files_only: never use the network.

        Raises:
            CheckpointError: it cannot be found, fetched or loaded.
        """
        target = resolve_device(device)
        model = load_pretrained(
            Florence2ForConditionalGeneration,
            checkpoint,
            model_type=FLORENCE2,
            dtype=resolve_dtype(dtype, target),
            device=target,
            local_files_only=local_files_only,
        )
        processor = load_processor(
            Florence2Processor, checkpoint, model_type=FLORENCE2, local_files_only=local_files_only
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
        """Load the detector of a configuration's sections ``detector`` and ``runtime``.

        Raises:
            ConfigError: ``detector.type`` is another one.
            CheckpointError: as `from_pretrained`.
        """
        detector, runtime = config.detector, config.runtime
        if not isinstance(detector, Florence2Options):
            raise ConfigError(
                f"detector.type is {detector.type!r}; Florence2Detector is that of 'florence2'"
            )
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
        """Detect the objects that captions name or, for tasks without captions, any objects.

        Args:
            images: upright RGB images, ``(h, w, 3)`` ``uint8``, sizes may differ.
            captions: for each image, the captions to detect. Ignored by ``object_detection``,
                ``dense_region_caption`` and ``caption_then_grounding``, whose captions are
                generated by the model.

        Returns:
            One `DetectedBoxes` per image, in the order of the captions and, within one, of the
            output. Repeated boxes are merged; boxes without area are dropped.

        Raises:
            PromptError: a caption is empty or contains control tokens, or a prompt is longer than
                the model's input.
        """
        if len(images) != len(captions):
            raise PromptError(
                f"{len(captions)} lists of captions for {len(images)} images; give one for each"
            )
        for caption in {caption for requested in captions for caption in requested}:
            self._check_caption(caption)
        if not images:
            return []
        needs_captions = self.task in ("open_vocabulary_detection", "phrase_grounding")
        selected = [i for i, requested in enumerate(captions) if requested or not needs_captions]
        features = self.encode([images[i] for i in selected])
        prompts = self._prompts(features, [captions[i] for i in selected])
        outputs = self.generate(features, [(index, text) for index, text, _ in prompts])
        found: list[list[tuple[str, ParsedBox, float]]] = [[] for _ in images]
        for (index, _, allowed), output in zip(prompts, outputs, strict=True):
            found[selected[index]] += self._captioned_boxes(output, allowed)
        return [
            to_detected_boxes(boxes, image.shape[:2])
            for boxes, image in zip(found, images, strict=True)
        ]

    @torch.inference_mode()
    def encode(self, images: Sequence[Image]) -> Tensor:
        """Run the vision tower, once per image.

        Args:
            images: upright RGB images, ``(h, w, 3)`` ``uint8``, sizes may differ; may be none.

        Returns:
            ``(n, tokens, width)`` projected image features, on the model's device.
        """
        if not images:
            width = self.model.config.vision_config.projection_dim
            return torch.zeros(0, self.processor.num_image_tokens, width)
        processor = self.processor.image_processor
        inputs = processor(
            images=[reduce_image(image, processor.size["height"]) for image in images],
            input_data_format="channels_last",
            return_tensors="pt",
        )
        pixels = inputs["pixel_values"].to(self.model.device, self.model.dtype)
        features: Tensor = self.model.get_image_features(pixels).pooler_output
        return features

    @torch.inference_mode()
    def generate(
        self, features: Tensor, prompts: Sequence[tuple[int, str]]
    ) -> list[GeneratedOutput]:
        """Generate the output of prompts on encoded images.

        Args:
            features: from `encode`.
            prompts: of each, the index of its image in ``features`` and its text, as from
                `prompt_text`.

        Returns:
            One `GeneratedOutput` per prompt, in order.
        """

        def decode(rows: slice) -> list[GeneratedOutput]:
            encoded, mask = self.encode_prompts(features, prompts[rows])
            if self.num_beams > 1:
                return decode_beam_search(
                    self.model, encoded, mask, self._rules, self._scorer, self.num_beams
                )
            return decode_greedy(self.model, encoded, mask, self._rules, self._scorer)

        batches = self.batcher.map(len(prompts), decode)
        return [output for batch in batches for output in batch]

    def parse(self, output: GeneratedOutput) -> list[ParsedBox]:
        """The boxes of a generated output: see `parse_output`."""
        return parse_output(output.tokens, self.vocabulary)

    def prompt_text(self, token: str, text: str = "") -> str:
        """The words that the checkpoint was trained with for a task token, with a caption in them.

        Args:
            token: such as ``<OD>``.
            text: the caption; ignored by tasks without one.
        """
        if token in self.processor.task_prompts_without_inputs:
            return str(self.processor.task_prompts_without_inputs[token])
        return str(self.processor.task_prompts_with_input[token]).format(input=text)

    @torch.inference_mode()
    def encode_prompts(
        self, features: Tensor, prompts: Sequence[tuple[int, str]]
    ) -> tuple[Tensor, Tensor]:
        """Run the text encoder on prompts, each behind the features of its image.

        Args:
            features: from `encode`.
            prompts: as for `generate`.

        Returns:
            Encoder states ``(r, s, width)``, and ``(r, s)`` 1 where a state is not padding.

        Raises:
            PromptError: a prompt is longer than the model's input.
        """
        tokenizer, model = self.processor.tokenizer, self.model
        wrapped = [f"{tokenizer.bos_token}{text}{tokenizer.eos_token}" for _, text in prompts]
        text = tokenizer(
            wrapped,
            add_special_tokens=False,
            padding=True,
            padding_side="right",
            return_tensors="pt",
            verbose=False,  # a prompt that is too long raises below
        ).to(model.device)
        length = features.shape[1] + text.input_ids.shape[1]
        limit = model.config.text_config.max_position_embeddings
        if length > limit:
            longest = max((prompt for _, prompt in prompts), key=len)
            raise PromptError(
                f"prompt {longest[:60]!r}… takes {length} tokens with the image, the model reads "
                f"{limit}; shorten it or, for many captions, use task open_vocabulary_detection"
            )
        image_features = features[torch.tensor([i for i, _ in prompts], device=model.device)]
        embeddings = model.get_input_embeddings()(text.input_ids)
        image_mask = text.attention_mask.new_ones(image_features.shape[:2])
        mask = torch.cat([image_mask, text.attention_mask], dim=1)
        states = model.get_encoder()(
            inputs_embeds=torch.cat([image_features, embeddings], dim=1), attention_mask=mask
        )
        return states.last_hidden_state, mask

    def _prompts(
        self, features: Tensor, captions: Sequence[Sequence[str]]
    ) -> list[tuple[int, str, Sequence[str] | None]]:
        """Of each prompt: index of its image, text, and the captions that its output can be about
        (``None``: the phrases of the output are the captions)."""
        token = _TASK_TOKENS[self.task]
        images = range(len(features))
        if self.task == "open_vocabulary_detection":
            return [
                (image, self.prompt_text(token, caption), (caption,))
                for image in images
                for caption in captions[image]
            ]
        if self.task == "phrase_grounding":
            return [
                (image, self.prompt_text(token, join_captions(captions[image])), captions[image])
                for image in images
            ]
        if self.task == "caption_then_grounding":
            caption_prompt = self.prompt_text(_CAPTION_TOKEN)
            outputs = self.generate(features, [(image, caption_prompt) for image in images])
            return [
                (image, self.prompt_text(token, self.vocabulary.text(output.tokens)), None)
                for image, output in zip(images, outputs, strict=True)
            ]
        return [(image, self.prompt_text(token), None) for image in images]

    def _captioned_boxes(
        self, output: GeneratedOutput, allowed: Sequence[str] | None
    ) -> list[tuple[str, ParsedBox, float]]:
        """Caption, box and confidence of each box of an output that belongs to a caption."""
        found = []
        for box in self.parse(output):
            caption: str | None
            if allowed is None:
                caption = box.phrase or None  # a box without a phrase has no class
            elif len(allowed) == 1:
                caption = allowed[0]
            else:
                caption = match_phrase(box.phrase, allowed)
            if caption is not None:
                found.append((caption, box, confidence(output, box)))
        return found

    def _check_caption(self, caption: str) -> None:
        if not caption.strip():
            raise PromptError(f"caption {caption!r} is empty; name an object to detect")
        if "<" in caption and (tokens := [t for t in self._added_tokens if t in caption]):
            raise PromptError(
                f"caption {caption!r} contains the model's own token {min(tokens)!r}; remove it"
            )


def join_captions(captions: Sequence[str]) -> str:
    """One text of all captions, a sentence each: ``red circle. blue square.``"""
    return " ".join(f"{caption.rstrip('. ')}." for caption in captions)
