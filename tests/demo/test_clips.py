"""Synthetic clips: the same seed gives the same frames, and the masks fit the pixels."""

from __future__ import annotations

import colorsys
import hashlib
from dataclasses import replace

import numpy as np
import pytest

from grounded_sam2.demo.clip_motion import Body, Camera
from grounded_sam2.demo.clips import MIN_VISIBLE_AREA, Clip, ClipObject, make_clip, make_clips
from grounded_sam2.demo.scenes import COLORS, SHAPES, make_scene

SMALL = (96, 120)


def body(**changes) -> Body:
    still = Body(
        center_xy=(0.5, 0.5),
        velocity_xy=(0.0, 0.0),
        angle=0.0,
        spin=0.0,
        size=0.2,
        size_change=0.0,
        size_phase=0.0,
        size_rate=0.0,
        speed=0.0,
        margin=0.5,
        delay=0,
    )
    return replace(still, **changes)


def clip_of(*bodies: Body, shape: str = "square", camera: Camera | None = None, frames=5) -> Clip:
    colors = list(COLORS)
    objects = tuple(ClipObject(i + 1, colors[i], shape) for i in range(len(bodies)))
    still = Camera(pan=0.0, rate_xy=(0.0, 0.0), phase_xy=(0.0, 0.0), shake=0.0)
    return Clip(5, frames, (100, 100), objects, bodies, camera or still)


def test_scenes_keep_the_pixels_that_the_models_were_trained_on():
    gray = make_scene(3, SMALL).image.mean(2)
    blocks = gray.reshape(3, 32, 4, 30).mean((1, 3))
    expected = [[93.9, 92.7, 94.6, 101.2], [102.4, 105.0, 96.4, 93.0], [103.5, 98.6, 94.3, 93.3]]
    np.testing.assert_allclose(blocks, expected, atol=0.2)


def test_the_same_seed_gives_the_same_pixels():
    clip = make_clip(4, 6, SMALL)
    digest = [hashlib.sha256(frame.image).hexdigest() for frame in clip]
    assert digest == [hashlib.sha256(frame.image).hexdigest() for frame in clip], "rendered twice"
    assert digest == [hashlib.sha256(f.image).hexdigest() for f in make_clip(4, 6, SMALL)]


def test_a_longer_clip_begins_with_the_shorter_one():
    for short, long in zip(make_clip(2, 4, SMALL), make_clip(2, 9, SMALL), strict=False):
        np.testing.assert_array_equal(short.image, long.image)


def test_another_seed_gives_another_clip():
    first, second = (next(iter(make_clip(seed, 1, SMALL))).image for seed in (1, 2))
    assert (first != second).any()


def test_different_base_seeds_have_no_clip_in_common():
    first = {clip.seed for clip in make_clips(5, seed=0)}
    assert not first & {clip.seed for clip in make_clips(5, seed=1)}


def test_frames_have_an_image_and_a_mask_per_object():
    clip = make_clip(0, 3, SMALL, objects=4)
    frames = list(clip)
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert len(clip) == 3
    for frame in frames:
        assert frame.image.shape == (*SMALL, 3)
        assert frame.image.dtype == np.uint8
        assert list(frame.masks) == [1, 2, 3, 4]
        assert all(m.shape == SMALL and m.dtype == np.bool_ for m in frame.masks.values())


def test_frames_are_rendered_on_iteration():
    assert next(iter(make_clip(1, 10**9, SMALL))).index == 0


@pytest.mark.parametrize("seed", range(12))
def test_masks_do_not_overlap_and_names_are_unique(seed):
    clip = make_clip(seed, 25, SMALL)
    least = MIN_VISIBLE_AREA * SMALL[0] * SMALL[1]
    assert 3 <= len(clip.objects) <= 6
    assert len({each.name for each in clip.objects}) == len(clip.objects)
    assert [each.track_id for each in clip.objects] == [*range(1, len(clip.objects) + 1)]
    for frame in clip:
        stacked = np.stack(list(frame.masks.values()))
        assert stacked.sum(0).max() <= 1, "masks show what is visible, so none overlap"
        assert all(mask.sum() >= least or not mask.any() for mask in stacked)


def test_twins_share_a_name():
    names = [each.name for each in make_clip(3, objects=5, twins=True).objects]
    assert len(set(names)) < 5


def test_objects_share_few_colors():
    objects = make_clip(3, objects=7, colors=2).objects
    assert len({each.color for each in objects}) == 2
    assert len({each.name for each in objects}) == 7
    chosen = {each.color for seed in range(20) for each in make_clip(seed, colors=1).objects}
    assert len(chosen) > 2, "not always the same ones"


@pytest.mark.slow
def test_objects_enter_leave_and_return():
    visibility = {
        (clip.seed, number): "".join("x" if frame.masks[number].any() else "." for frame in frames)
        for clip in make_clips(30, seed=3, frames=60, size_hw=(64, 64))
        for frames in [list(clip)]
        for number in frames[0].masks
    }
    histories = list(visibility.values())
    assert any(".x" in history and history[0] == "." for history in histories), "enters"
    assert any(history[0] == "x" and history.endswith("..") for history in histories), "leaves"
    assert any("x." in h and "x" in h[h.index("x.") + 1 :] for h in histories), "returns"


def test_a_body_moves_along_its_velocity():
    clip = clip_of(body(velocity_xy=(0.05, 0.0), speed=0.0, center_xy=(0.3, 0.5)))
    first = clip.bodies[0]
    moved = first.step(np.random.default_rng(0), (1.0, 1.0))
    assert moved.center_xy[0] > first.center_xy[0]


def test_still_objects_keep_their_masks_and_fills():
    frames = list(clip_of(body(), body(center_xy=(0.6, 0.5)), frames=3))
    for frame in frames[1:]:
        for number, mask in frame.masks.items():
            np.testing.assert_array_equal(mask, frames[0].masks[number])
        difference = frame.image.astype(float) - frames[0].image
        assert np.abs(difference).max() > 0, "the noise is new in every frame"
        assert np.abs(difference.mean()) < 1


def test_the_object_in_front_occludes_the_other():
    behind, front = body(size=0.3), body(size=0.15)
    frame = next(iter(clip_of(behind, front)))
    alone = next(iter(clip_of(behind)))
    np.testing.assert_array_equal(frame.masks[1], alone.masks[1] & ~frame.masks[2])


def test_an_object_of_a_few_pixels_counts_as_hidden():
    frame = next(iter(clip_of(body(size=0.004), body(size=0.2, center_xy=(0.2, 0.2)))))
    assert not frame.masks[1].any()
    assert frame.masks[2].any()


def test_a_delayed_body_enters_the_image():
    rng = np.random.default_rng(1)
    for _ in range(30):
        first = Body.draw(rng, (1.2, 1.0), 0.15, delay=3)
        x, y = first.center_xy
        assert not (0 <= x <= 1.2 and 0 <= y <= 1.0)
        now = first
        for _ in range(3):
            now = now.step(rng, (1.2, 1.0))
        assert now.center_xy == first.center_xy, "it does not move yet"
        for _ in range(120):
            now = now.step(rng, (1.2, 1.0))
            if 0 <= now.center_xy[0] <= 1.2 and 0 <= now.center_xy[1] <= 1.0:
                break
        else:
            pytest.fail("it never entered")


def test_bodies_stay_within_their_margin():
    rng = np.random.default_rng(2)
    for _ in range(20):
        now = Body.draw(rng, (1.25, 1.0), 0.2, delay=0)
        for _ in range(300):
            now = now.step(rng, (1.25, 1.0))
            assert -now.margin - 1e-9 <= now.center_xy[0] <= 1.25 + now.margin + 1e-9
            assert -now.margin - 1e-9 <= now.center_xy[1] <= 1.0 + now.margin + 1e-9


def test_objects_move_against_a_panning_camera():
    panning = Camera(pan=0.2, rate_xy=(np.pi / 8, 0.0), phase_xy=(0.0, 0.0), shake=0.0)
    frames = list(clip_of(body(), camera=panning, frames=5))
    columns = [np.flatnonzero(frame.masks[1].any(0)).mean() for frame in frames]
    assert columns[4] == pytest.approx(columns[0] - 20, abs=1)
    rows = [np.flatnonzero(frame.masks[1].any(1)).mean() for frame in frames]
    assert max(rows) - min(rows) < 1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("angle", [0.0, 0.7, 2.5])
def test_the_fill_covers_the_whole_shape(shape, angle):
    """The hue is measured in the final image, in every part of the shape."""
    frame = next(iter(clip_of(body(angle=angle, size=0.35), shape=shape)))
    mask = frame.masks[1]
    pixels = frame.image[mask].astype(float) / 255
    for part in np.array_split(pixels, 4):
        measured = colorsys.rgb_to_hsv(*part.mean(0))[0] * 360
        assert abs((measured - COLORS["red"][0] + 180) % 360 - 180) < COLORS["red"][1] + 12
