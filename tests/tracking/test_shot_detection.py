"""Shot boundaries by color difference."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.config import TrackingConfig
from grounded_sam2.tracking.shot_detection import color_difference, thumbnail

DEFAULT = TrackingConfig().shot_threshold


def scene(seed: int, *, size_hw: tuple[int, int] = (120, 160)) -> np.ndarray:
    """Random colored patches; their brightness depends on the seed too."""
    random = np.random.default_rng(seed)
    middle = random.integers(60, 196, 3)
    coarse = np.clip(random.normal(middle, 40, (6, 8, 3)), 0, 255).astype(np.uint8)
    return coarse.repeat(size_hw[0] // 6, 0).repeat(size_hw[1] // 8, 1)


def differ(before: np.ndarray, after: np.ndarray) -> float:
    return color_difference(thumbnail(before), thumbnail(after))


def test_the_difference_of_an_image_to_itself_is_0():
    assert differ(scene(1), scene(1)) == 0


def test_the_difference_of_black_and_white_is_1():
    black = np.zeros((50, 50, 3), np.uint8)
    assert differ(black, ~black) == 1


@pytest.mark.parametrize(
    "other",
    [scene(2), ~scene(1), scene(1) // 3, np.zeros((120, 160, 3), np.uint8)],
    ids=["another place", "negative", "at night", "black"],
)
def test_another_scene_is_a_cut(other):
    assert differ(scene(1), other) > DEFAULT


def test_the_same_colors_elsewhere_are_no_cut():
    assert differ(scene(1), scene(1)[::-1, ::-1]) < 0.05


def test_a_moving_object_or_camera_is_no_cut():
    before, after = scene(1), scene(1)
    before[20:60, 20:60] = after[40:80, 100:140] = (250, 10, 10)
    assert differ(before, after) < 0.1
    assert differ(scene(1), np.roll(scene(1), 20, axis=1)) < 0.05  # the camera pans


def test_an_entering_object_counts_with_its_share_of_the_image():
    after = scene(1)
    after[:60, :40] = (255, 0, 255)
    assert 0.05 < differ(scene(1), after) < 0.15


def test_noise_and_a_little_more_light_are_no_cut():
    noise = np.random.default_rng(0).normal(0, 12, scene(1).shape)
    assert differ(scene(1), np.clip(scene(1) + noise, 0, 255).astype(np.uint8)) < 0.05
    assert differ(scene(1), np.clip(scene(1).astype(int) + 6, 0, 255).astype(np.uint8)) < DEFAULT


@pytest.mark.parametrize("size_hw", [(1, 1), (7, 2000), (2000, 7), (32, 32)])
def test_thumbnails_of_images_of_any_size_have_one_size(size_hw):
    small = thumbnail(np.full((*size_hw, 3), 77, np.uint8))
    assert (small.shape, small.dtype) == ((32, 32, 3), np.uint8)
    assert (small == 77).all()
