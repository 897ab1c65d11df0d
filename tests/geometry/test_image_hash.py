from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry.image_hash import (
    HASH_BITS,
    hamming_distance,
    near_pairs,
    perceptual_hashes,
)


def smooth(count: int, seed: int = 0) -> NDArray[np.float64]:
    """Images of 8×8 random patches, with all frequencies of the hash: ``(n, 24, 24)``."""
    coarse = np.random.default_rng(seed).uniform(50, 200, (count, 8, 8))
    return coarse.repeat(3, axis=1).repeat(3, axis=2)


def gray(images: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


def brute_force(hashes: NDArray[np.uint64], distance: int) -> list[list[int]]:
    bits = (hashes[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    differing = (bits[:, None] != bits[None]).sum(axis=2)
    first, second = np.nonzero(np.triu(differing <= distance, k=1))
    return np.stack((first, second), axis=1).tolist()


class TestHashes:
    def test_exposure_and_noise_change_few_bits(self) -> None:
        images = smooth(50)
        noise = np.random.default_rng(1).normal(0, 3, images.shape)
        before = perceptual_hashes(gray(images))
        assert (before == perceptual_hashes(gray(images * 0.7 + 20))).mean() > 0.5
        assert hamming_distance(before, perceptual_hashes(gray(images * 0.7 + 20))).max() <= 6
        assert hamming_distance(before, perceptual_hashes(gray(images + noise))).max() <= 8

    def test_half_of_the_bits_differ_between_images(self) -> None:
        distances = hamming_distance(
            perceptual_hashes(gray(smooth(200))), perceptual_hashes(gray(smooth(200, 1)))
        )
        assert distances.min() > 12
        assert abs(distances.mean() - HASH_BITS / 2) < 2

    def test_the_inverse_of_an_image_changes_all_bits(self) -> None:
        images = gray(smooth(20))
        assert (
            hamming_distance(perceptual_hashes(images), perceptual_hashes(255 - images)).min()
            == HASH_BITS
        )

    def test_all_images_of_a_single_color_have_one_hash(self) -> None:
        flat = np.full((3, 24, 24), [[[0]], [[77]], [[255]]], np.uint8)
        assert perceptual_hashes(flat).tolist() == [0, 0, 0]

    def test_no_images_have_no_hashes(self) -> None:
        assert perceptual_hashes(np.zeros((0, 24, 24), np.uint8)).shape == (0,)

    @pytest.mark.parametrize("shape", [(24, 24), (1, 24, 25), (1, 7, 7), (1, 24, 24, 3)])
    def test_images_that_are_not_square_or_too_small_are_an_error(
        self, shape: tuple[int, ...]
    ) -> None:
        with pytest.raises(GeometryError, match="expected"):
            perceptual_hashes(np.zeros(shape, np.uint8))


class TestNearPairs:
    @pytest.mark.parametrize("distance", [0, 1, 4, 6, 12, 63])
    def test_pairs_equal_those_of_a_brute_force_search(self, distance: int) -> None:
        rng = np.random.default_rng(distance)
        hashes = rng.integers(0, 2**63, 60, dtype=np.uint64)
        flips = [sum(1 << int(bit) for bit in rng.choice(64, i % 9, False)) for i in range(60)]
        hashes = np.concatenate((hashes, hashes ^ np.array(flips, np.uint64)))
        assert near_pairs(hashes, distance).tolist() == brute_force(hashes, distance)

    def test_hashes_that_differ_only_in_neighboring_bits(self) -> None:
        # With bands of adjacent bits, all differing bits would fall into one band.
        hashes = np.arange(256, dtype=np.uint64) << np.uint64(20)
        assert near_pairs(hashes, 2).tolist() == brute_force(hashes, 2)

    def test_equal_hashes_are_a_pair_at_distance_zero(self) -> None:
        assert near_pairs(np.array([5, 9, 5], np.uint64), 0).tolist() == [[0, 2]]

    @pytest.mark.parametrize("count", [0, 1])
    def test_fewer_than_two_hashes_have_no_pairs(self, count: int) -> None:
        assert near_pairs(np.zeros(count, np.uint64), 6).shape == (0, 2)

    @pytest.mark.parametrize("distance", [-1, 64])
    def test_a_distance_out_of_range_is_an_error(self, distance: int) -> None:
        with pytest.raises(GeometryError, match="between 0 and 63"):
            near_pairs(np.zeros(2, np.uint64), distance)
