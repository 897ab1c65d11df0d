"""Near-duplicate detection: groups of images that look alike.

The first image of each group in the order of the store is its leader, and all others are close to
the leader. A long sequence of frames therefore does not become one group by drift: when images are
no longer close to the leader, a new group begins. Of a video, only one frame should be passed in:
its frames look alike by nature.
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

_GRAY_SIDE = 24
_COLOR_SIDE = 8
_LEAST_CONTRAST = 4.0
"""Lower bound of an image's standard deviation, of 255: the contrast of an image of one color is
noise, which must not be amplified."""
_ROUNDS = 8
"""Maximum number of rounds. Each round finds the leaders among the images that did not match their
leader; more than two or three are needed for artificial images only."""

Duplicates = NDArray[np.void]
"""``(k,)``, a structured array: `image` and its `leader` (image numbers), and the number of `bits`
in which their hashes differ; 0 bits do not mean identical files."""

_ROW = np.dtype([("image", np.int32), ("leader", np.int32), ("bits", np.int32)])


@dataclass(frozen=True, slots=True, eq=False)
class ImageSignature:
    """Signature of an image for comparing it with others: 200 bytes."""

    hash: np.uint64
    colors: NDArray[np.uint8]
    """``(8, 8, 3)``: the image, shrunk."""


def image_signature(image: Image) -> ImageSignature:
    """Return the signature of an image, ``(h, w, 3)``; it may have been shrunk to 72 pixels."""
    gray = cv2.cvtColor(_area_averages(image, _GRAY_SIDE), cv2.COLOR_RGB2GRAY)
    return ImageSignature(
        perceptual_hashes(np.asarray(gray, np.uint8)[None])[0], _area_averages(image, _COLOR_SIDE)
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
        signatures: signatures of the images.
        images: their numbers, ascending.
        max_bits: maximum number of differing bits of the hashes.
        max_difference: maximum mean difference of the colors, in units of the images' contrast.

    Returns:
        A row for each image that has an earlier one like it, in order; ``(0,)`` for none.
    """
    hashes = np.array([each.hash for each in signatures], np.uint64)
    colors = np.array([each.colors for each in signatures], np.float32)
    colors = _standardized(colors.reshape(-1, _COLOR_SIDE, _COLOR_SIDE, 3))
    leader_of = np.arange(len(hashes))
    unmatched = np.arange(len(hashes))
    for _ in range(_ROUNDS):
        leaders = unmatched[_leaders(hashes[unmatched], max_bits)]
        difference = np.abs(colors[unmatched] - colors[leaders]).mean(axis=(1, 2, 3))
        matched = difference <= max_difference
        leader_of[unmatched[matched]] = leaders[matched]
        unmatched = unmatched[~matched]
        if not unmatched.size:
            break
    found = np.flatnonzero(leader_of != np.arange(len(hashes)))
    numbers = np.array(images, np.int32)
    rows = np.zeros(len(found), _ROW)
    rows["image"], rows["leader"] = numbers[found], numbers[leader_of[found]]
    rows["bits"] = hamming_distance(hashes[found], hashes[leader_of[found]])
    return rows


def _leaders(hashes: NDArray[np.uint64], max_bits: int) -> NDArray[np.intp]:
    """Leader of each hash: the first close one that has no earlier close one; ``(n,)`` indices."""
    unique, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    order = np.argsort(first)  # by first occurrence
    unique, first = unique[order], first[order]
    leader = np.arange(len(unique))
    pairs = near_pairs(unique, max_bits)
    for earlier, later in pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))].tolist():
        if leader[later] == later and leader[earlier] == earlier:
            leader[later] = earlier
    rank = np.argsort(order)  # the inverse of the permutation
    result: NDArray[np.intp] = first[leader[rank[inverse.reshape(-1)]]]
    return result


def _standardized(colors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Colors minus the image's mean, in units of its contrast: independent of the exposure."""
    colors = colors - colors.mean(axis=(1, 2), keepdims=True)
    contrast = np.maximum(colors.std(axis=(1, 2, 3), keepdims=True), _LEAST_CONTRAST)
    standardized: NDArray[np.float32] = colors / contrast
    return standardized


def _area_averages(image: Image, side: int) -> NDArray[np.uint8]:
    """The image shrunk to a square by averaging: ``(side, side, 3)``."""
    # INTER_AREA averages only when it shrinks, so smaller images are enlarged first.
    height, width = (-(-side // length) for length in image.shape[:2])
    large = image.repeat(height, axis=0).repeat(width, axis=1)
    return np.asarray(cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
