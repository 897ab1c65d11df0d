"""Symmetries of images and boxes, and random prompts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embedded_training.augmentation import (
    apply_symmetry,
    apply_symmetry_to_boxes,
    jitter_boxes,
    normalized_pixels,
    sample_points,
)


def test_the_eight_symmetries_are_different():
    image = np.arange(9).reshape(1, 3, 3)
    assert len({apply_symmetry(image, symmetry).tobytes() for symmetry in range(8)}) == 8


@pytest.mark.parametrize("symmetry", range(8))
def test_boxes_follow_their_objects(symmetry):
    image = np.zeros((1, 10, 10), np.uint8)
    image[0, 2:5, 1:9] = 1
    (turned,) = apply_symmetry(image, symmetry)
    rows, columns = np.flatnonzero(turned.any(1)), np.flatnonzero(turned.any(0))
    extent = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    box = np.array([[0.1, 0.2, 0.9, 0.5]], np.float32)
    np.testing.assert_allclose(10 * apply_symmetry_to_boxes(box, symmetry), [extent], atol=1e-5)


def test_pixels_are_normalized_channels_first():
    images = np.full((2, 4, 5, 3), 255, np.uint8)
    mean, std = np.float32([0.5, 0, 1]), np.float32([0.5, 2, 1])
    pixels = normalized_pixels(images, mean, std)
    assert pixels.shape == (2, 3, 4, 5)
    assert pixels[0, :, 0, 0].tolist() == [1, 0.5, 0]


def test_jittered_boxes_stay_inside_the_image():
    boxes = torch.tensor([[0.0, 0.0, 64.0, 64.0]]).repeat(50, 1)
    jittered = jitter_boxes(np.random.default_rng(0), boxes, 0.1, 64)
    assert (jittered >= 0).all()
    assert (jittered <= 64).all()
    assert (jittered != boxes).any()


def test_sampled_points_lie_in_their_regions():
    regions = torch.zeros(3, 2, 8, 8, dtype=torch.bool)
    regions[0, :, 2, 5] = regions[1, :, :4] = regions[2, :, 6:, 6:] = True
    for seed in range(10):
        points = sample_points(np.random.default_rng(seed), regions)
        x, y = points.long().unbind(-1)
        assert points.shape == (3, 2, 2)
        assert all(regions[i, j, y[i, j], x[i, j]] for i in range(3) for j in range(2))
    assert points[0].tolist() == [[5.5, 2.5], [5.5, 2.5]]
