"""Pictures on their way into a model's image processor."""

from __future__ import annotations

import cv2

from grounded_sam2.results import Image

__all__ = ["reduced"]

_LARGE = 2**25
"""Pixels from which on images are reduced, 100 MB as RGB. Processors copy an image twice before
they make it smaller, on some devices as ``float32``, which is eight times its size."""
_REACH = 4
"""How much finer a reduced image still is than the model's input. What is averaged away before
would be averaged away by the processor."""


def reduced(image: Image, side: int) -> Image:
    """A very large image, no finer than a processor can use; others as they are.

    Args:
        image: ``(h, w, 3)`` ``uint8``.
        side: of the square that the processor makes of it, in pixels.

    Returns:
        ``(min(h, 4 · side), min(w, 4 · side), 3)`` ``uint8`` if the image has more than 2²⁵
        pixels.
    """
    height, width = image.shape[:2]
    smaller = min(height, _REACH * side), min(width, _REACH * side)
    if height * width <= _LARGE or smaller == (height, width):
        return image
    averaged: Image = cv2.resize(image, smaller[::-1], interpolation=cv2.INTER_AREA)
    return averaged
