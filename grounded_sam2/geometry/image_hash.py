"""Which images look alike, from 63 bits of each.

A cosine hash keeps the signs of the lowest frequencies of an image: the waves that it is made of,
light or dark where. Another size, compression or exposure changes few of them; another image
changes half. Images are near when few bits differ.

To find the near ones among n hashes without comparing all pairs, the bits are dealt into one band
more than the bits that may differ: two near hashes then agree in at least one band altogether, so
that only pairs which share a band have to be compared.

Christoph Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010 (there
with the median in the place of zero); Gurmeet Manku and others, "Detecting near-duplicates for web
crawling", 2007 (bands).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

from grounded_sam2.errors import GeometryError

__all__ = ["HASH_BITS", "hamming_distance", "near_pairs", "perceptual_hashes"]

HASH_BITS = 63
"""Bits of a hash: 8×8 frequencies but for the first, which is the mean."""
_FREQUENCIES = 8
_NOTHING = 0.01
"""Size, in grey values, of a wave that is not there: more than rounding errors, less than any that
can be seen. It makes images of one color have one hash."""
_WORD = 64
_ONES = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)
"""Number of set bits of each byte."""


def perceptual_hashes(greys: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Hash images that were shrunk to a square of grey values.

    Args:
        greys: ``(n, s, s)`` ``uint8``; 24 to 32 a side is enough, 8 the least.

    Returns:
        ``(n,)`` ``uint64`` with `HASH_BITS` low bits in use; ``(0,)`` for no images.

    Raises:
        GeometryError: not squares, or smaller ones.
    """
    if greys.ndim != 3 or greys.shape[1] != greys.shape[2] or greys.shape[1] < _FREQUENCIES:
        raise GeometryError(
            f"grey values of shape {greys.shape}: expected (n, s, s) with s of {_FREQUENCIES} or "
            "more"
        )
    waves = dctn(greys.astype(np.float32), axes=(1, 2), norm="ortho")
    bits = waves[:, :_FREQUENCIES, :_FREQUENCIES].reshape(len(greys), _WORD) > _NOTHING
    bits[:, 0] = False
    packed = np.packbits(bits, axis=1)
    return packed.view(">u8").astype(np.uint64).reshape(-1)


def hamming_distance(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Number of bits in which two hashes differ, element by element: ``(n,)``."""
    differing = np.ascontiguousarray(a ^ b).view(np.uint8)
    return _ONES[differing].reshape(-1, 8).sum(axis=1, dtype=np.int64)


def near_pairs(hashes: NDArray[np.uint64], max_distance: int) -> NDArray[np.intp]:
    """All pairs of hashes that differ in few bits.

    Equal hashes are pairs too, all with all: give each hash once where many may be equal.

    Args:
        hashes: ``(n,)`` ``uint64``.
        max_distance: bits in which a pair may differ, 0 to 63.

    Returns:
        ``(k, 2)`` indices, the smaller one first, in order; ``(0, 2)`` if there are none.

    Raises:
        GeometryError: `max_distance` out of range.
    """
    if not 0 <= max_distance < _WORD:
        raise GeometryError(f"max_distance {max_distance}: must lie between 0 and {_WORD - 1}")
    found: list[NDArray[np.intp]] = [np.zeros((0, 2), np.intp)]
    for band in _bands(max_distance + 1):
        order = np.argsort(hashes & band, kind="stable")
        values = (hashes & band)[order]
        # Equal values now stand together: compare each with the next, the next but one, and so on,
        # until no two at that distance are equal. So only pairs that are near take memory.
        step = 1
        while (same := np.flatnonzero(values[step:] == values[:-step])).size:
            first, second = order[same], order[same + step]
            near = hamming_distance(hashes[first], hashes[second]) <= max_distance
            found.append(np.sort(np.stack((first[near], second[near]), axis=1), axis=1))
            step += 1
    return np.unique(np.concatenate(found), axis=0).astype(np.intp)


def _bands(count: int) -> list[np.uint64]:
    """Masks that deal the bits out, each bit to one band.

    Neighboring frequencies go to different bands: those that say nothing of the images of one
    film, because a black bar decides them, would else fill a band that tells nothing apart.
    """
    return [np.uint64(sum(1 << bit for bit in range(band, _WORD, count))) for band in range(count)]
