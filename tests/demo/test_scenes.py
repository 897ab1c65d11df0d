"""Synthetic scenes: the same seed gives the same image, and the masks fit the pixels."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from grounded_sam2.demo.scenes import (
    COLORS,
    MIN_VISIBLE,
    SHAPES,
    Sprite,
    make_scene,
    make_scenes,
    outline,
    place,
    render,
)


def sprite(shape: str, color: str = "red", angle: float = 0.3) -> Sprite:
    return Sprite(color, shape, (60.0, 50.0), 30.0, angle)


def test_the_same_seed_gives_the_same_pixels():
    first, second = make_scene(3), make_scene(3)
    np.testing.assert_array_equal(first.image, second.image)
    assert [o.name for o in first.objects] == [o.name for o in second.objects]


def test_another_seed_gives_another_image():
    small = (64, 64)
    assert (make_scene(1, small).image != make_scene(2, small).image).any()


def test_different_base_seeds_have_no_scene_in_common():
    first = {scene.image.tobytes() for scene in make_scenes(4, seed=0)}
    assert not first & {scene.image.tobytes() for scene in make_scenes(4, seed=1)}


def test_a_scene_has_the_given_size():
    assert make_scene(0, (100, 150)).image.shape == (100, 150, 3)


@pytest.mark.parametrize("seed", range(25))
def test_masks_do_not_overlap_and_fill_their_boxes(seed):
    scene = make_scene(seed)
    height, width = scene.image.shape[:2]
    assert 1 <= len(scene.objects) <= 6
    stacked = np.stack([each.mask for each in scene.objects])
    assert stacked.sum(0).max() <= 1, "masks show what is visible, so none overlap"
    for each in scene.objects:
        x1, y1, x2, y2 = (int(v) for v in each.box_xyxy)
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height
        inside = each.mask[y1:y2, x1:x2]
        assert inside.sum() == each.mask.sum()
        assert inside.any(0).all() or each.shape == "ring" or inside.any(0)[[0, -1]].all()


@pytest.mark.slow
def test_all_colors_and_shapes_are_drawn():
    objects = [each for scene in make_scenes(80, seed=5) for each in scene.objects]
    assert {each.color for each in objects} == set(COLORS)
    assert {each.shape for each in objects} == set(SHAPES)


@pytest.mark.parametrize("shape", SHAPES)
def test_occluded_pixels_are_not_in_the_mask(shape):
    rng = np.random.default_rng(0)
    above = Sprite("blue", "square", (80.0, 50.0), 30.0, 0.0)
    alone = render(rng, (100, 120), [sprite(shape)]).objects[0]
    below, upper = render(rng, (100, 120), [sprite(shape), above]).objects
    assert 0 < below.mask.sum() < alone.mask.sum()
    np.testing.assert_array_equal(below.mask, alone.mask & ~upper.mask)


@pytest.mark.slow
def test_every_shape_is_visible_enough():
    for seed in range(30):
        rng = np.random.default_rng(seed)
        sprites = place(rng, (240, 240), count=6)
        together = render(rng, (240, 240), sprites).objects
        for one, visible in zip(sprites, together, strict=True):
            whole = render(rng, (240, 240), [one]).objects[0].mask.sum()
            assert visible.mask.sum() >= (MIN_VISIBLE - 0.01) * whole


@pytest.mark.parametrize("shape", SHAPES)
def test_pixels_have_the_hue_of_their_color(shape):
    """The hue is measured in the final image, with its light and noise."""
    for color, (hue, jitter) in COLORS.items():
        scene = render(np.random.default_rng(7), (100, 120), [sprite(shape, color)])
        pixels = scene.image[scene.objects[0].mask].astype(float).mean(0) / 255
        measured = colorsys.rgb_to_hsv(*pixels)[0] * 360
        assert abs((measured - hue + 180) % 360 - 180) < jitter + 12


def test_a_ring_has_a_hole():
    mask = render(np.random.default_rng(0), (100, 120), [sprite("ring")]).objects[0].mask
    assert not mask[50, 60]
    assert mask[50, 60 - 24]


def test_outlines_reach_the_circumscribed_circle():
    for shape in SHAPES:
        rings = outline(sprite(shape))
        reach = np.linalg.norm(rings[0] - [60, 50], axis=1).max()
        assert 30 <= reach <= 32, shape
