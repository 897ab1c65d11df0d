"""The training pool of clips."""

from __future__ import annotations

import numpy as np

from embedded_training.clip_pool import CROWD, ClipPool, build_clip_pool, training_clip


def test_a_pool_holds_clips_of_equal_length(clip_pool):
    assert len(clip_pool) == 3
    assert clip_pool.frames == 9
    assert clip_pool.images.shape == (3, 9, 256, 256, 3)
    assert clip_pool.instances.shape == (3, 9, 256, 256)
    assert all(clip[0].max() >= 1 for clip in clip_pool.instances)


def test_another_pool_can_hold_the_clips_that_follow(clip_pool, tmp_path):
    build_clip_pool(tmp_path, count=1, frames=9, processes=1, skip=2)
    more = ClipPool.open(tmp_path)
    np.testing.assert_array_equal(more.images[0], clip_pool.images[2])
    np.testing.assert_array_equal(more.instances[0], clip_pool.instances[2])


def test_half_of_the_training_clips_are_crowded():
    clips = [training_clip(seed, frames=2) for seed in range(30)]
    crowded = [
        clip
        for clip in clips
        if len(clip.objects) >= CROWD[0] and len({each.color for each in clip.objects}) <= 2
    ]
    assert len(crowded) == 15
