"""Tiny checkpoints with random weights: all modules of the real ones, in a few hundred kB.

Newly initialized models of `transformers` hide errors: biases, positional encodings and the
embedding of "no memory" are zeros, and the mask logits are near zero. So every parameter is drawn
again, at a scale that gives masks with an inside and an outside.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    EdgeTamConfig,
    EdgeTamModel,
    EdgeTamVideoConfig,
    EdgeTamVideoModel,
    PreTrainedModel,
    Sam2Config,
    Sam2ImageProcessor,
    Sam2Model,
    Sam2VideoConfig,
    Sam2VideoModel,
)
from transformers.utils import logging

SIDE = 64
"""Input side of the tiny models; they predict masks of 16×16 on a grid of 4×4 cells."""
GRID = SIDE // 16
WIDTH = 32

PROMPTS = {"hidden_size": WIDTH, "image_size": SIDE, "patch_size": 16}
DECODER = {
    "hidden_size": WIDTH,
    "mlp_dim": 2 * WIDTH,
    "num_attention_heads": 4,
    "iou_head_hidden_dim": WIDTH,
}
FEATURE_SIZES = [[4 * GRID] * 2, [2 * GRID] * 2, [GRID] * 2]
HIERA = {
    "model_type": "sam2_vision_model",
    "backbone_config": {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "num_attention_heads": 1,
        "image_size": [SIDE, SIDE],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "window_size_per_stage": [8, 4, 4, 4],
        "global_attention_blocks": [3],
        "window_positional_embedding_background_size": [4, 4],
    },
    "backbone_channel_list": [64, 32, 16, 8],
    "backbone_feature_sizes": FEATURE_SIZES,
    "fpn_hidden_size": WIDTH,
}
REPVIT = {
    "model_type": "edgetam_vision_model",
    "backbone_config": {
        "model_type": "timm_wrapper",
        "architecture": "repvit_m0_9",
        "num_classes": 2,
        "model_args": {
            "in_chans": 3,
            "features_only": True,
            "out_indices": [0, 1, 2, 3],
            "embed_dim": [8, 16, 24, 32],
            "depth": [1, 1, 1, 1],
        },
    },
    "backbone_channel_list": [32, 24, 16, 8],
    "backbone_feature_sizes": FEATURE_SIZES,
    "fpn_hidden_size": WIDTH,
}
MEMORY: dict[str, Any] = {
    "image_size": SIDE,
    "memory_attention_hidden_size": WIDTH,
    "memory_attention_num_layers": 1,
    "memory_attention_rope_feat_sizes": [GRID, GRID],
    "memory_encoder_hidden_size": WIDTH,
    "memory_encoder_output_channels": 16,
    "mask_downsampler_embed_dim": WIDTH,
    "memory_fuser_embed_dim": WIDTH,
    "memory_fuser_intermediate_dim": WIDTH,
    "memory_fuser_num_layers": 1,
}


def sam2() -> Sam2Model:
    return Sam2Model(Sam2Config(**_image_parts(HIERA)))


def sam2_video() -> Sam2VideoModel:
    config = Sam2VideoConfig(
        **_image_parts(HIERA), **MEMORY, memory_attention_feed_forward_hidden_size=WIDTH
    )
    return Sam2VideoModel(config)


def sam2_tracking() -> Sam2VideoModel:
    """As `sam2_video`, wide enough for its memory attention, which requires 64 channels."""
    width = 128
    wide = {"hidden_size": width}
    config = Sam2VideoConfig(
        vision_config={**HIERA, "fpn_hidden_size": width},
        prompt_encoder_config={**PROMPTS, **wide},
        mask_decoder_config={**DECODER, **wide},
        image_size=SIDE,
        memory_attention_hidden_size=width,
        memory_attention_num_layers=2,
        memory_attention_rope_feat_sizes=[GRID, GRID],
        memory_attention_feed_forward_hidden_size=width,
        memory_encoder_hidden_size=width,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=width,
        memory_fuser_embed_dim=width,
        memory_fuser_intermediate_dim=width,
    )
    return Sam2VideoModel(config)


def edgetam() -> EdgeTamModel:
    return EdgeTamModel(EdgeTamConfig(**_image_parts(REPVIT)))


def edgetam_video() -> EdgeTamVideoModel:
    config = EdgeTamVideoConfig(
        **_image_parts(REPVIT),
        **MEMORY,
        memory_attention_mlp_hidden_size=WIDTH,
        perceiver_resampler_hidden_size=16,
        perceiver_resampler_mlp_intermediate_size=16,
        perceiver_resampler_attention_head_dim=16,
        perceiver_resampler_num_latents=16,
        perceiver_resampler_num_latents_2d=16,
        perceiver_resampler_num_layers=1,
    )
    return EdgeTamVideoModel(config)


MODELS = {
    "sam2": sam2,
    "sam2_video": sam2_video,
    "sam2_tracking": sam2_tracking,
    "edgetam": edgetam,
    "edgetam_video": edgetam_video,
}
SEEDS = {"sam2": 0, "sam2_video": 3, "sam2_tracking": 24, "edgetam": 3, "edgetam_video": 3}
"""Seeds with which the masks on the tests' images are neither empty nor full."""


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder per model type, with weights and image processor in the layout of public ones."""
    logging.disable_progress_bar()
    folders = {}
    for name, build in MODELS.items():
        folders[name] = tmp_path_factory.mktemp(name)
        with torch.random.fork_rng():
            torch.manual_seed(SEEDS[name])  # for buffers: the positional frequencies
            model = build()
        randomize(model, SEEDS[name])
        model.save_pretrained(folders[name])
        Sam2ImageProcessor(
            size={"height": SIDE, "width": SIDE}, mask_size={"height": 16, "width": 16}
        ).save_pretrained(folders[name])
    logging.enable_progress_bar()
    return folders


@torch.no_grad()
def randomize(model: PreTrainedModel, seed: int) -> None:
    """Draw all parameters again: weights that keep the scale of activations, others near 0.2."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() > 1 and "embed" not in name:
            gain = 0.6 if "timm_model" in name else 1.5  # RepViT adds up three branches
            parameter.copy_(noise * (gain / parameter[0].numel() ** 0.5))
        else:
            is_scale = parameter.dim() == 1 and name.endswith("weight")
            parameter.copy_(noise * 0.2 + (1.0 if is_scale else 0.0))


def _image_parts(vision: dict[str, Any]) -> dict[str, Any]:
    return {
        "vision_config": vision,
        "prompt_encoder_config": PROMPTS,
        "mask_decoder_config": DECODER,
    }
