"""Perceptual hashes of images, and the search for pairs of similar hashes.

The hash of an image holds the signs of the lowest frequencies of its discrete cosine transform
(DCT), 63 bits. Another size, compression or exposure changes few of the bits; for another image,
half of them differ. Images are near duplicates if the Hamming distance of their hashes is small.

To find near duplicates among n hashes without comparing all pairs, the bits are divided into one
band more than the number of bits that may differ. Two similar hashes then agree in all bits of at
least one band, so that only pairs with an equal band have to be compared.

Christoph Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010 (which
compares with the median instead of zero); Gurmeet Manku and others, "Detecting near-duplicates for
web crawling", 2007 (bands).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

from grounded_sam2.errors import GeometryError

__all__ = ["HASH_BITS", "hamming_distance", "near_pairs", "perceptual_hashes"]

HASH_BITS = 63
"""Bits of a hash: 8×8 frequencies without the first, which is the mean."""
_FREQUENCIES = 8
_ZERO_AMPLITUDE = 0.01
"""Amplitude, in gray values, up to which a coefficient counts as 0: more than rounding errors, less
than anything visible. It gives all images of a single color the same hash."""
_WORD_BITS = 64
_POPCOUNT = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)
"""Number of set bits of each byte."""


def perceptual_hashes(gray_images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Perceptual hashes of images that are scaled to small gray squares.

    Args:
        gray_images: ``(n, s, s)`` ``uint8``; s of 24 to 32 is enough, 8 is the minimum.

    Returns:
        ``(n,)`` ``uint64`` of which the lowest `HASH_BITS` are used; ``(0,)`` for no images.

    Raises:
        GeometryError: the images are not square, or smaller than 8 pixels.
    """
    if (
        gray_images.ndim != 3
        or gray_images.shape[1] != gray_images.shape[2]
        or gray_images.shape[1] < _FREQUENCIES
    ):
        raise GeometryError(
            f"gray images of shape {gray_images.shape}: expected (n, s, s) with s of at least "
            f"{_FREQUENCIES}"
        )
    coefficients = dctn(gray_images.astype(np.float32), axes=(1, 2), norm="ortho")
    lowest = coefficients[:, :_FREQUENCIES, :_FREQUENCIES].reshape(len(gray_images), _WORD_BITS)
    bits = lowest > _ZERO_AMPLITUDE
    bits[:, 0] = False
    packed = np.packbits(bits, axis=1)
    return packed.view(">u8").astype(np.uint64).reshape(-1)


def hamming_distance(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Number of bits in which hashes differ, element by element: ``(n,)``."""
    differing = np.ascontiguousarray(a ^ b).view(np.uint8)
    return _POPCOUNT[differing].reshape(-1, 8).sum(axis=1, dtype=np.int64)


def near_pairs(hashes: NDArray[np.uint64], max_distance: int) -> NDArray[np.intp]:
    """All pairs of hashes within a Hamming distance.

    Equal hashes form pairs, too, each with every other: pass unique hashes if many may be equal.

    Args:
        hashes: ``(n,)`` ``uint64``.
        max_distance: bits in which a pair may differ, 0 to 63.

    Returns:
        ``(k, 2)`` indices, sorted, the smaller one first; ``(0, 2)`` if there are no pairs.

    Raises:
        GeometryError: `max_distance` out of range.
    """
    if not 0 <= max_distance < _WORD_BITS:
        raise GeometryError(f"max_distance {max_distance}: must lie between 0 and {_WORD_BITS - 1}")
    found: list[NDArray[np.intp]] = [np.zeros((0, 2), np.intp)]
    for band in _bands(max_distance + 1):
        order = np.argsort(hashes & band, kind="stable")
        values = (hashes & band)[order]
        # Equal values are now adjacent: compare each with the next, the next but one, and so on,
        # until none are equal. Only pairs that are near take memory.
        step = 1
        while (same := np.flatnonzero(values[step:] == values[:-step])).size:
            first, second = order[same], order[same + step]
            near = hamming_distance(hashes[first], hashes[second]) <= max_distance
            found.append(np.sort(np.stack((first[near], second[near]), axis=1), axis=1))
            step += 1
    return np.unique(np.concatenate(found), axis=0).astype(np.intp)


def _bands(count: int) -> list[np.uint64]:
    """Bit masks of the bands; each bit belongs to one band.

    Neighboring frequencies belong to different bands. Otherwise the frequencies that are equal in
    all frames of a film, because a black bar determines them, would fill a band that distinguishes
    nothing.
    """
    return [
        np.uint64(sum(1 << bit for bit in range(band, _WORD_BITS, count))) for band in range(count)
    ]
