"""Loading SAM 2 and EdgeTAM, for images and for video, from one kind of folder.

The public checkpoints are those for video. They are loaded whole, so that what segments images
and what tracks through video can be the same model in memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from grounded_sam2.errors import CheckpointError
from grounded_sam2.models.checkpoints import (
    load_pretrained,
    load_processor,
    locate_checkpoint,
    read_model_type,
)
from grounded_sam2.models.devices import resolve_device, resolve_dtype

__all__ = ["load_sam2"]

_MODELS = {
    "sam2": "Sam2Model",
    "sam2_video": "Sam2VideoModel",
    "edgetam": "EdgeTamModel",
    "edgetam_video": "EdgeTamVideoModel",
}
"""Classes by ``model_type``: all have the same prompt encoder and mask decoder."""


_IN_DTYPE = (
    "vision_encoder",
    "mask_decoder",
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
        local_files_only: never ask the network.

    Returns:
        The model, of the class that the checkpoint is of, ready for inference, and its
        ``Sam2ImageProcessor``.

    Raises:
        CheckpointError: cannot be found, fetched or used; or is another kind of model.
        ConfigError: no such device or dtype.
    """
    place = resolve_device(device) if isinstance(device, str) else device
    number = resolve_dtype(dtype, place) if isinstance(dtype, str) else dtype
    folder = locate_checkpoint(checkpoint, "segmenter", local_files_only=local_files_only)
    kind = read_model_type(folder)
    if kind not in _MODELS:
        raise CheckpointError(
            f"checkpoint {str(checkpoint)!r} is of type {kind!r}; segmenter.checkpoint needs one "
            f"of {', '.join(_MODELS)}: for example 'tiny', or 'demo' for the embedded model"
        )
    model: Any = load_pretrained(
        getattr(transformers, _MODELS[kind]), folder, role="segmenter", device=place
    )
    for part in _IN_DTYPE if kind == "sam2_video" else _IN_DTYPE[:2]:
        getattr(model, part).to(number)
    processor = load_processor(transformers.Sam2ImageProcessor, folder, role="segmenter")
    return model, processor
