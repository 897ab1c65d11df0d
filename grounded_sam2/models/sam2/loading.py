"""Loading of SAM 2 and EdgeTAM checkpoints, for images and for video.

The public checkpoints are those for video. They are loaded whole, so that the segmenter of images
and the tracker of videos can share one model in memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from grounded_sam2.models.checkpoints import (
    check_checkpoint_type,
    load_pretrained,
    load_processor,
    locate_checkpoint,
)
from grounded_sam2.models.devices import resolve_device, resolve_dtype
from grounded_sam2.models.sam2.model_type import SAM2

__all__ = ["load_sam2"]

_MODELS = {
    "sam2": "Sam2Model",
    "sam2_video": "Sam2VideoModel",
    "edgetam": "EdgeTamModel",
    "edgetam_video": "EdgeTamVideoModel",
}
"""Classes by ``model_type``: all have the same prompt encoder and mask decoder."""
_IMAGE_PARTS = ("vision_encoder", "mask_decoder")
_VIDEO_PARTS = (
    *_IMAGE_PARTS,
    "memory_attention",
    "memory_encoder",
    "object_pointer_proj",
    "temporal_positional_encoding_projection_layer",
)


def load_sam2(
    checkpoint: str | Path,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    local_files_only: bool = False,
) -> tuple[Any, Any]:
    """Load a model and its image processor.

    Args:
        checkpoint: short name, hub id, local folder or ``demo``.
        device: a device, or a name for `resolve_device`.
        dtype: of the vision encoder, the mask decoder and the memory, which do nearly all of the
            work; a dtype, or a name for `resolve_dtype`. The rest stays in float32: positions of
            boxes and points on an input of 1024 pixels need more than the 8 bits of bfloat16.
        local_files_only: never use the network.

    Returns:
        The model, of the checkpoint's own class, ready for inference, and its
        ``Sam2ImageProcessor``.

    Raises:
        CheckpointError: it cannot be found, fetched or loaded, or is of another model type.
        ConfigError: no such device or dtype.
    """
    target = resolve_device(device) if isinstance(device, str) else device
    number_format = resolve_dtype(dtype, target) if isinstance(dtype, str) else dtype
    folder = locate_checkpoint(checkpoint, SAM2, local_files_only=local_files_only)
    name = check_checkpoint_type(checkpoint, folder, SAM2)
    model: Any = load_pretrained(
        getattr(transformers, _MODELS[name]), folder, model_type=SAM2, device=target
    )
    for part in _VIDEO_PARTS if name == "sam2_video" else _IMAGE_PARTS:
        getattr(model, part).to(number_format)
    processor = load_processor(transformers.Sam2ImageProcessor, folder, model_type=SAM2)
    return model, processor
