"""Groups of images that look alike.

Each group has a leader, the first of it in the order of the store, and all others are near to that
leader. So a long film taken apart into images does not become one group by drifting: when its
images are no longer like the leader, the next group begins. Frames that are known to be of one
video are not to be given at all but for one of them: they look alike by nature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from grounded_sam2.geometry.image_hash import hamming_distance, near_pairs, perceptual_hashes
from grounded_sam2.results import Image

__all__ = ["Duplicates", "ImageSignature", "find_duplicates", "image_signature"]

_GREY_SIDE = 24
_COLOR_SIDE = 8
_LEAST_CONTRAST = 4.0
"""Standard deviation, of 255, that an image is taken to have at least: what an image of one
color has is noise, and must not be blown up."""
_ROUNDS = 8
"""How often images that turned out not to be like their leader are looked at again. Each round
finds the leaders among them; more than two or three are never needed but for made-up images."""

Duplicates = NDArray[np.void]
"""``(k,)``, a structured array: `image`, its `leader` (numbers of images), and the `bits` that
their hashes differ in; 0 bits do not mean the same file."""

_ROW = np.dtype([("image", np.int32), ("leader", np.int32), ("bits", np.int32)])


@dataclass(frozen=True, slots=True, eq=False)
class ImageSignature:
    """What is kept of an image, to tell which others look like it: 200 bytes."""

    hash: np.uint64
    colors: NDArray[np.uint8]
    """``(8, 8, 3)``, the image shrunk to that."""


def image_signature(image: Image) -> ImageSignature:
    """The signature of an image, ``(h, w, 3)``; it may have been shrunk to 72 pixels before."""
    grey = cv2.cvtColor(_means(image, _GREY_SIDE), cv2.COLOR_RGB2GRAY)
    return ImageSignature(
        perceptual_hashes(np.asarray(grey, np.uint8)[None])[0], _means(image, _COLOR_SIDE)
    )


def find_duplicates(
    signatures: Sequence[ImageSignature],
    images: Sequence[int],
    *,
    max_bits: int,
    max_difference: float,
) -> Duplicates:
    """Find images that look like an earlier one.

    Args:
        signatures: of the images.
        images: their numbers, rising.
        max_bits: how many bits of the hashes may differ.
        max_difference: mean difference of the colors, in units of the images' own contrast.

    Returns:
        A row for each image that has an earlier one like it, in order; ``(0,)`` for none.
    """
    hashes = np.array([one.hash for one in signatures], np.uint64)
    colors = np.array([one.colors for one in signatures], np.float32)
    colors = _standardized(colors.reshape(-1, _COLOR_SIDE, _COLOR_SIDE, 3))
    leader_of = np.arange(len(hashes))
    open_ones = np.arange(len(hashes))
    for _ in range(_ROUNDS):
        leaders = open_ones[_leaders(hashes[open_ones], max_bits)]
        difference = np.abs(colors[open_ones] - colors[leaders]).mean(axis=(1, 2, 3))
        alike = difference <= max_difference
        leader_of[open_ones[alike]] = leaders[alike]
        open_ones = open_ones[~alike]
        if not open_ones.size:
            break
    found = np.flatnonzero(leader_of != np.arange(len(hashes)))
    numbers = np.array(images, np.int32)
    rows = np.zeros(len(found), _ROW)
    rows["image"], rows["leader"] = numbers[found], numbers[leader_of[found]]
    rows["bits"] = hamming_distance(hashes[found], hashes[leader_of[found]])
    return rows


def _leaders(hashes: NDArray[np.uint64], max_bits: int) -> NDArray[np.intp]:
    """For each hash the first one near it that has no earlier one near itself: ``(n,)`` indices."""
    unique, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    order = np.argsort(first)  # of first appearance
    unique, first = unique[order], first[order]
    leader = np.arange(len(unique))
    pairs = near_pairs(unique, max_bits)
    for earlier, later in pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))].tolist():
        if leader[later] == later and leader[earlier] == earlier:
            leader[later] = earlier
    rank = np.argsort(order)  # the inverse of the permutation
    result: NDArray[np.intp] = first[leader[rank[which.reshape(-1)]]]
    return result


def _standardized(colors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Colours without the image's mean, in units of its contrast: an exposure changes nothing."""
    colors = colors - colors.mean(axis=(1, 2), keepdims=True)
    contrast = np.maximum(colors.std(axis=(1, 2, 3), keepdims=True), _LEAST_CONTRAST)
    standardized: NDArray[np.float32] = colors / contrast
    return standardized


def _means(image: Image, side: int) -> NDArray[np.uint8]:
    """An image shrunk to a square of means: ``(side, side, 3)``."""
    # INTER_AREA takes means only when it shrinks: first make what is too small large enough.
    height, width = (-(-side // length) for length in image.shape[:2])
    large = image.repeat(height, axis=0).repeat(width, axis=1)
    return np.asarray(cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
