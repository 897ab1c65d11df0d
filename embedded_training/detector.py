"""The embedded detector: a small `Florence2ForConditionalGeneration` and its processor.

The same classes as the public checkpoints, with a tokenizer of some 1 400 tokens: bytes, the
words of `embedded_training.text_targets` and Florence-2's thousand location tokens. The saved
folder loads like any other checkpoint.
"""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BartConfig,
    CLIPImageProcessor,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
    PreTrainedTokenizerFast,
)
from transformers.models.florence2.configuration_florence2 import Florence2VisionConfig

from embedded_training.text_targets import CORPUS, NUM_BINS

__all__ = ["IMAGE_SIZE", "build_model", "build_processor"]

IMAGE_SIZE = 128
_GRID = 8
"""Cells per side: a cell is 16 pixels wide, about half of the smallest shape."""
_WIDTH = 192
_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]  # BART's ids 0 to 4
_PAIRS = ("od", "ocr", "cap", "ncap", "dcap", "grounding", "poly")
_MARKUP = [*(f"<{slash}{name}>" for name in _PAIRS for slash in ("", "/")), "<sep>"]


def build_processor() -> Florence2Processor:
    """Make the processor: 128 × 128 pixels, ImageNet statistics, byte-level BPE with locations."""
    bpe = Tokenizer(models.BPE(unk_token="<unk>"))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        min_frequency=2,
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(CORPUS, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=512,
        extra_special_tokens={"image_token": "<image>"},
    )
    tokenizer.add_tokens([f"<loc_{i}>" for i in range(NUM_BINS)])
    tokenizer.add_tokens(_MARKUP)
    image_processor = CLIPImageProcessor(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        do_center_crop=False,
        resample=3,  # bicubic, as in the public checkpoints
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    image_processor.image_seq_length = _GRID * _GRID + 1  # the cells and their mean
    tasks = ("pure_text", "description_with_bboxes", "phrase_grounding", "bboxes",
             "description_with_bboxes_or_polygons", "polygons", "ocr")  # fmt: skip
    return Florence2Processor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        post_processor_config={task: {} for task in tasks},
    )


def build_model(processor: Florence2Processor) -> Florence2ForConditionalGeneration:
    """Make the untrained model.

    Location embeddings are initialized with Fourier features of the bins instead of noise:
    neighboring bins are similar from the first step on, and since the output layer is tied to them,
    the model's first predicted distributions are smooth over the bins.
    """
    tokenizer = processor.tokenizer
    text = BartConfig(
        vocab_size=len(tokenizer),
        d_model=_WIDTH,
        encoder_layers=1,
        decoder_layers=3,
        encoder_attention_heads=6,
        decoder_attention_heads=6,
        encoder_ffn_dim=256,
        decoder_ffn_dim=384,
        max_position_embeddings=1024,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.eos_token_id,
    )
    vision = Florence2VisionConfig(
        depths=(1, 1, 2, 1),
        patch_stride=(4, 2, 2, 1),
        embed_dim=(32, 64, 128, 192),
        num_heads=(2, 2, 4, 6),
        num_groups=(2, 2, 4, 6),
        window_size=8,
        drop_path_rate=0.0,
        projection_dim=_WIDTH,
        max_position_embeddings=_GRID,
        max_temporal_embeddings=1,
    )
    model = Florence2ForConditionalGeneration(
        Florence2Config(
            text_config=text,
            vision_config=vision,
            image_token_id=processor.image_token_id,
            bos_token_id=tokenizer.bos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    model.generation_config.forced_bos_token_id = tokenizer.bos_token_id  # as BART's
    first = tokenizer.convert_tokens_to_ids("<loc_0>")
    with torch.no_grad():
        model.get_input_embeddings().weight[first : first + NUM_BINS] = _fourier_features(_WIDTH)
    return model


def _fourier_features(width: int) -> torch.Tensor:
    """Unit-norm Fourier features of the bins' positions, ``(1000, width)``."""
    position = torch.arange(NUM_BINS) / NUM_BINS
    frequencies = torch.logspace(-1, 6, width // 2, base=2.0)
    angles = 2 * torch.pi * position[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1) / (width // 2) ** 0.5
