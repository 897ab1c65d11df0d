"""Very large images are reduced to the resolution that image processors can use."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.models.image_reduction import reduce_image


@pytest.mark.parametrize(
    ("size_hw", "expected"),
    [((200, 300), (40, 40)), ((1, 20_000), (1, 40)), ((30, 1000), (30, 40)), ((41, 250), (40, 40))],
)
def test_large_images_are_reduced_to_four_times_the_input(
    size_hw: tuple[int, int], expected: tuple[int, int]
) -> None:
    image = np.zeros((*size_hw, 3), np.uint8)
    assert reduce_image(image, 10, max_pixels=10_000).shape == (*expected, 3)


def test_other_images_are_returned_unchanged() -> None:
    for size_hw in [(100, 100), (1, 9000)]:
        image = np.zeros((*size_hw, 3), np.uint8)
        assert reduce_image(image, 10, max_pixels=10_000) is image
    usable = np.zeros((120, 120, 3), np.uint8)
    assert reduce_image(usable, 30, max_pixels=10_000) is usable


def test_reduction_averages_areas() -> None:
    image = np.zeros((80, 160, 3), np.uint8)
    image[:, ::2] = 100
    assert (reduce_image(image, 10, max_pixels=10_000) == 50).all()


def test_images_longer_than_16_bits() -> None:
    assert reduce_image(np.zeros((1, 2**25 + 1, 3), np.uint8), 16).shape == (1, 64, 3)


def test_photographs_of_24_megapixels_are_not_reduced() -> None:
    image = np.broadcast_to(np.zeros(3, np.uint8), (4000, 6000, 3))
    assert reduce_image(image, 256) is image
