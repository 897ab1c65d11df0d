"""The embedded segmenter: a small `Sam2VideoModel` and its processor.

The same classes as the public checkpoints, for images of a sixteenth of their pixels. The memory
modules for tracking are sized to match.
"""

from __future__ import annotations

from transformers import (
    Sam2ImageProcessor,
    Sam2Processor,
    Sam2VideoConfig,
    Sam2VideoModel,
)
from transformers.models.sam2.configuration_sam2 import Sam2HieraDetConfig, Sam2VisionConfig
from transformers.models.sam2_video.configuration_sam2_video import (
    Sam2VideoMaskDecoderConfig,
    Sam2VideoPromptEncoderConfig,
)

__all__ = ["IMAGE_SIZE", "build_model", "build_processor", "with_image_size"]

IMAGE_SIZE = 256
_WIDTH = 128
_WAVE_SCALE = 0.4
"""Frequency scale of the random Fourier features that encode positions, in periods per half image.
Lower than in the public checkpoints (1): on a coarse grid, "to the right of" is then nearly linear,
and quickly learned."""


def build_processor() -> Sam2Processor:
    """Make the processor: 256 × 256 pixels, ImageNet statistics, as in the public checkpoints."""
    image_processor = Sam2ImageProcessor(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        mask_size={"height": IMAGE_SIZE // 4, "width": IMAGE_SIZE // 4},
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    return Sam2Processor(image_processor=image_processor, target_size=IMAGE_SIZE)


def build_model(image_size: int = IMAGE_SIZE) -> Sam2VideoModel:
    """Make the untrained model; its weights have the same shapes at every size of image."""
    grid = image_size // 16
    channels = [32, 64, 128, 256]
    backbone = Sam2HieraDetConfig(
        hidden_size=channels[0],
        image_size=[image_size, image_size],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=channels,
        num_attention_heads_per_stage=[1, 2, 4, 8],
        window_size_per_stage=[8, 4, 8, 4],
        global_attention_blocks=[3],
        window_positional_embedding_background_size=[8, 8],
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=channels[::-1],
        backbone_feature_sizes=[[4 * grid] * 2, [2 * grid] * 2, [grid] * 2],
        fpn_hidden_size=_WIDTH,
    )
    prompts = Sam2VideoPromptEncoderConfig(
        hidden_size=_WIDTH, image_size=image_size, mask_input_channels=16
    )
    masks = Sam2VideoMaskDecoderConfig(
        hidden_size=_WIDTH, mlp_dim=256, num_attention_heads=4, iou_head_hidden_dim=_WIDTH
    )
    model = Sam2VideoModel(
        Sam2VideoConfig(
            vision_config=vision,
            prompt_encoder_config=prompts,
            mask_decoder_config=masks,
            image_size=image_size,
            memory_attention_hidden_size=_WIDTH,
            memory_attention_num_layers=2,
            memory_attention_feed_forward_hidden_size=256,
            memory_attention_rope_feat_sizes=[grid, grid],
            memory_attention_dropout=0.0,
            memory_attention_rope_dropout=0.0,
            memory_encoder_hidden_size=_WIDTH,
            memory_encoder_output_channels=64,  # the memory attention takes no other number
            mask_downsampler_embed_dim=_WIDTH,
            memory_fuser_embed_dim=_WIDTH,
            memory_fuser_intermediate_dim=256,
            memory_fuser_layer_scale_init_value=0.1,  # from 1e-6, training would take long
        )
    )
    # Prompts and pixels share one random, untrained positional encoding. Public checkpoints store
    # it twice, equal; a new model draws it twice, different.
    waves = model.shared_image_embedding.positional_embedding.mul_(_WAVE_SCALE)
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(waves)
    return model


def with_image_size(model: Sam2VideoModel, size: int) -> Sam2VideoModel:
    """A model for images of another size, with the weights of ``model``."""
    other = build_model(size)
    weights = other.state_dict()
    weights |= {k: v for k, v in model.state_dict().items() if v.shape == weights[k].shape}
    other.load_state_dict(weights)
    return other
