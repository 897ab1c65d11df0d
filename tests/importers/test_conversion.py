"""Conversion of labels of the stored image to labels of the upright image."""

from __future__ import annotations

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from grounded_sam2.geometry.rle import encode
from grounded_sam2.importers.conversion import orient_mask, orient_points, swaps_axes

STORED_HW = (4, 7)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return the image as Pillow orients it for this EXIF tag."""
    image = PIL.Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    return np.asarray(PIL.ImageOps.exif_transpose(image))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_is_oriented_like_its_image(orientation: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 2, STORED_HW, np.uint8)
    oriented = orient_mask(encode(pixels.astype(bool))[0], orientation)
    np.testing.assert_array_equal(oriented.decode(), upright(pixels, orientation))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_empty_mask_stays_empty_in_the_upright_size(orientation: int) -> None:
    oriented = orient_mask(encode(np.zeros(STORED_HW, bool))[0], orientation)
    assert oriented.area == 0
    assert oriented.size_hw == (STORED_HW[::-1] if swaps_axes(orientation) else STORED_HW)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_point_is_oriented_like_its_pixel(orientation: int) -> None:
    pixels = np.zeros(STORED_HW, np.uint8)
    pixels[1, 5] = 1
    oriented = orient_points(np.array([[5.5, 1.5]]), orientation, STORED_HW)
    ((row, column),) = np.argwhere(upright(pixels, orientation))
    np.testing.assert_array_equal(oriented, [[column + 0.5, row + 0.5]])


def test_no_points_give_no_points() -> None:
    assert orient_points(np.zeros((0, 2)), 6, STORED_HW).shape == (0, 2)
