"""Very large images reach the image processors no finer than they can use them."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.models import image_reduction as images
from grounded_sam2.models.image_reduction import reduced


@pytest.fixture
def _from_10_000_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_LARGE", 10_000)


@pytest.mark.usefixtures("_from_10_000_pixels")
@pytest.mark.parametrize(
    ("size_hw", "expected"),
    [((200, 300), (40, 40)), ((1, 20_000), (1, 40)), ((30, 1000), (30, 40)), ((41, 250), (40, 40))],
)
def test_large_images_become_four_times_the_input(
    size_hw: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert reduced(np.zeros((*size_hw, 3), np.uint8), 10).shape == (*expected, 3)


@pytest.mark.usefixtures("_from_10_000_pixels")
def test_other_images_stay_themselves() -> None:
    for size_hw in [(100, 100), (1, 9000)]:
        image = np.zeros((*size_hw, 3), np.uint8)
        assert reduced(image, 10) is image
    within_reach = np.zeros((120, 120, 3), np.uint8)
    assert reduced(within_reach, 30) is within_reach


@pytest.mark.usefixtures("_from_10_000_pixels")
def test_what_is_reduced_is_averaged() -> None:
    image = np.zeros((80, 160, 3), np.uint8)
    image[:, ::2] = 100
    assert (reduced(image, 10) == 50).all()


def test_longer_than_opencv_counts_in_16_bits() -> None:
    assert reduced(np.zeros((1, 2**25 + 1, 3), np.uint8), 16).shape == (1, 64, 3)


def test_photographs_of_cameras_are_not_large() -> None:
    image = np.broadcast_to(np.zeros(3, np.uint8), (4000, 6000, 3))
    assert reduced(image, 256) is image
