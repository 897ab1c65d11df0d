"""Reduction of very large images before a model's image processor."""

from __future__ import annotations

import cv2

from grounded_sam2.results import Image

__all__ = ["MAX_PIXELS", "reduce_image"]

MAX_PIXELS = 2**25
"""Pixels above which images are reduced, 100 MB as RGB. Image processors copy an image twice before
they resize it, on some devices as ``float32``, which is eight times its size."""
_OVERSAMPLING = 4
"""Sides of a reduced image in multiples of the model's input: detail that averaging removes here
would be averaged away by the processor."""


def reduce_image(image: Image, side: int, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Reduce a very large image to the resolution that an image processor can use.

    Args:
        image: ``(h, w, 3)`` ``uint8``.
        side: side in pixels of the square that the processor resizes it to.
        max_pixels: larger images are reduced.

    Returns:
        ``(min(h, 4 · side), min(w, 4 · side), 3)`` ``uint8``, averaged over pixel areas, if the
        image has more than ``max_pixels`` pixels; else the image itself.
    """
    height, width = image.shape[:2]
    reduced_hw = min(height, _OVERSAMPLING * side), min(width, _OVERSAMPLING * side)
    if height * width <= max_pixels or reduced_hw == (height, width):
        return image
    averaged: Image = cv2.resize(image, reduced_hw[::-1], interpolation=cv2.INTER_AREA)
    return averaged
