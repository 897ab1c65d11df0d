"""The models of the benchmarks: the embedded pair, or full-size ones with random weights."""

from __future__ import annotations

import argparse

import torch
from transformers import (
    BartConfig,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Sam2ImageProcessor,
    Sam2VideoConfig,
    Sam2VideoModel,
)
from transformers.models.florence2.configuration_florence2 import Florence2VisionConfig
from transformers.models.sam2.configuration_sam2 import Sam2HieraDetConfig, Sam2VisionConfig

from embedded_training.detector import build_processor
from grounded_sam2.config import TrackerConfig
from grounded_sam2.models.florence2 import Florence2Detector
from grounded_sam2.models.sam2 import Sam2Segmenter, Sam2Tracker

__all__ = ["add_model_options", "detector", "segmenter", "tracker"]

FORCED_TOKENS = 24
"""Output length of the full-size detector with random weights: four boxes and a phrase."""


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that select the models."""
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--full-size", action="store_true", help="random weights, public sizes")
    parser.add_argument("--sam2", choices=["tiny", "large"], default="tiny")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())


def detector(arguments: argparse.Namespace) -> Florence2Detector:
    """The detector that the options select."""
    if not arguments.full_size:
        return Florence2Detector.from_pretrained("demo", device=arguments.device)
    torch.manual_seed(0)
    processor = build_processor()
    processor.image_processor.size = {"height": 768, "width": 768}
    processor.num_image_tokens = processor.image_processor.image_seq_length = 577
    tokenizer = processor.tokenizer
    text = BartConfig(
        vocab_size=51290,
        d_model=768,
        encoder_layers=6,
        decoder_layers=6,
        encoder_attention_heads=12,
        decoder_attention_heads=12,
        encoder_ffn_dim=3072,
        decoder_ffn_dim=3072,
        max_position_embeddings=1024,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.eos_token_id,
    )
    config = Florence2Config(
        text_config=text,
        vision_config=Florence2VisionConfig(projection_dim=768),
        image_token_id=processor.image_token_id,
    )
    model = _on_device(Florence2ForConditionalGeneration(config), arguments.device)
    # An end token that the model cannot generate: every output has the maximum length.
    model.generation_config.eos_token_id = model.config.text_config.eos_token_id = 51289
    with torch.no_grad():
        model.get_input_embeddings().weight[51289] = 0
    return Florence2Detector(model, processor, max_new_tokens=FORCED_TOKENS)


def segmenter(arguments: argparse.Namespace) -> Sam2Segmenter:
    """The segmenter that the options select."""
    if not arguments.full_size:
        return Sam2Segmenter.from_pretrained("demo", device=arguments.device)
    torch.manual_seed(0)
    # Source: configuration of facebook/sam2.1-hiera-large; the defaults are those of tiny.
    backbone = (
        Sam2HieraDetConfig()
        if arguments.sam2 == "tiny"
        else Sam2HieraDetConfig(
            hidden_size=144,
            num_attention_heads=2,
            blocks_per_stage=[2, 6, 36, 4],
            embed_dim_per_stage=[144, 288, 576, 1152],
            num_attention_heads_per_stage=[2, 4, 8, 16],
            window_size_per_stage=[8, 4, 16, 8],
            global_attention_blocks=[23, 33, 43],
            window_positional_embedding_background_size=[7, 7],
        )
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=backbone.embed_dim_per_stage[::-1]
    )
    model = Sam2VideoModel(Sam2VideoConfig(vision_config=vision)).eval()
    model.to(arguments.device)
    if torch.device(arguments.device).type == "cuda":
        model.vision_encoder.bfloat16()
        model.mask_decoder.bfloat16()
    return Sam2Segmenter(model, Sam2ImageProcessor())


def tracker(arguments: argparse.Namespace) -> Sam2Tracker:
    """The tracker that the options select, in the convention of the peer."""
    shared = segmenter(arguments)
    if arguments.full_size and torch.device(arguments.device).type == "cuda":
        for part in ("memory_attention", "memory_encoder", "object_pointer_proj"):
            getattr(shared.model, part).bfloat16()
        shared.model.temporal_positional_encoding_projection_layer.bfloat16()
    return Sam2Tracker.sharing(shared, TrackerConfig(compat="transformers"))


def _on_device(
    model: Florence2ForConditionalGeneration, device: str
) -> Florence2ForConditionalGeneration:
    on_gpu = torch.device(device).type == "cuda"
    return model.eval().to(device, torch.bfloat16 if on_gpu else torch.float32)
