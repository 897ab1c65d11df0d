"""Random symmetries of square training images, and random prompts for their objects."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "apply_symmetry",
    "apply_symmetry_to_boxes",
    "jitter_boxes",
    "normalized_pixels",
    "sample_points",
]

_Pixel = TypeVar("_Pixel", bound=np.generic)


def apply_symmetry(values: NDArray[_Pixel], symmetry: int) -> NDArray[_Pixel]:
    """Square images or label maps under one of the eight symmetries of the square.

    Args:
        values: ``(n, s, s, …)``.
        symmetry: from 0 to 7. Bit 0 mirrors the columns, bit 1 the rows, bit 2 transposes, in this
            order.

    Returns:
        A view.
    """
    if symmetry & 1:
        values = values[:, :, ::-1]
    if symmetry & 2:
        values = values[:, ::-1]
    if symmetry & 4:
        values = values.swapaxes(1, 2)
    return values


def apply_symmetry_to_boxes(boxes: NDArray[np.float32], symmetry: int) -> NDArray[np.float32]:
    """Boxes ``(…, 4)`` xyxy in [0, 1] under the same symmetry as `apply_symmetry`."""
    if symmetry & 1:
        boxes = np.stack([1 - boxes[..., 2], boxes[..., 1], 1 - boxes[..., 0], boxes[..., 3]], -1)
    if symmetry & 2:
        boxes = np.stack([boxes[..., 0], 1 - boxes[..., 3], boxes[..., 2], 1 - boxes[..., 1]], -1)
    if symmetry & 4:
        boxes = boxes[..., [1, 0, 3, 2]]
    return boxes


def normalized_pixels(
    images: NDArray[np.uint8], mean: NDArray[np.float32], std: NDArray[np.float32]
) -> Tensor:
    """Images ``(n, h, w, 3)`` as the models take them: ``(n, 3, h, w)`` normalized."""
    pixels = (images.astype(np.float32) / 255 - mean) / std
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))


def jitter_boxes(rng: np.random.Generator, boxes: Tensor, share: float, limit: int) -> Tensor:
    """Boxes ``(n, 4)`` xyxy with Gaussian noise on each side, clipped to ``[0, limit]``.

    Args:
        share: standard deviation as a share of the box's width or height.
    """
    size = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    noise = torch.from_numpy(rng.standard_normal(boxes.shape, dtype=np.float32))
    return (boxes + share * size * noise).clamp(0, limit)


def sample_points(rng: np.random.Generator, regions: Tensor) -> Tensor:
    """Center of a random cell of each region.

    Args:
        regions: ``(…, s, s)`` ``bool``, none empty.

    Returns:
        ``(…, 2)`` xy, in cells.
    """
    noise = torch.from_numpy(rng.random(tuple(regions.shape), dtype=np.float32))
    flat = (noise * regions.float()).flatten(-2).argmax(-1)
    side = regions.shape[-1]
    return torch.stack([flat % side + 0.5, flat // side + 0.5], -1)
