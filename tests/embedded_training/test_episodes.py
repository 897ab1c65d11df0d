"""Episodes: shapes, alignment of images and masks, and the shares of the hard cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from embedded_training.clip_pool import ClipPool
from embedded_training.episodes import MIN_PROMPT_AREA


@pytest.mark.parametrize("seed", range(8))
def test_every_object_is_visible_on_the_first_frame(clip_pool, sampler_of, seed):
    episode = sampler_of(clip_pool).draw(np.random.default_rng(seed), clips=2, frames=4, objects=5)
    frames = len(episode.times)
    assert frames >= 4
    assert episode.pixels.shape == (frames, 2, 3, 64, 64)
    assert episode.masks.shape == (frames, 5, 64, 64)
    assert episode.clip_index.tolist() == sorted(episode.clip_index.tolist())
    shares = episode.masks[0].float().mean((1, 2))
    assert (shares > 0.5 * MIN_PROMPT_AREA).all()
    assert episode.times[0] == 0
    steps = np.diff(episode.times)
    assert steps[0] >= 1
    assert (steps[1:] == 1).all()


def test_images_and_masks_get_the_same_symmetry(sampler_of):
    instances = np.zeros((1, 6, 256, 256), np.uint8)
    for frame in range(6):
        instances[0, frame, 20:90, 10 + 9 * frame : 120 + 9 * frame] = 1
        instances[0, frame, 150 - 7 * frame : 230, 130:200] = 2
    images = np.stack([100 * instances] * 3, -1)
    sampler = sampler_of(ClipPool(images, instances))
    variants = set()
    for seed in range(12):
        episode = sampler.draw(np.random.default_rng(seed), clips=1, frames=3, objects=2)
        order = set()
        for masks, pixels in zip(episode.masks, episode.pixels, strict=True):
            gray = pixels[0].mean(0)
            values = [gray[mask].median().item() for mask in masks]
            background = gray[~masks.any(0)].median().item()
            assert background < min(values)
            order.add(values[0] < values[1])
        assert len(order) == 1, "the same object in every frame"
        variants.add(tuple(episode.masks[0].sum((1, 2)).tolist()))
        variants.add(tuple(episode.masks[0, 0].nonzero().float().mean(0).tolist()))
    assert len(variants) > 12, "more than one symmetry"


def share_of_episodes(sampler, has_event, *, objects: int) -> float:
    episodes = [sampler.draw(np.random.default_rng(seed), 1, 4, objects) for seed in range(60)]
    return float(np.mean([has_event(episode) for episode in episodes]))


def test_sequences_in_which_an_object_disappears_are_preferred(sampler_of):
    instances = np.zeros((1, 30, 256, 256), np.uint8)
    instances[:, :, 20:90, 20:90] = 1
    instances[:, :15, 120:200, 120:200] = 2
    pool = ClipPool(np.stack([instances] * 3, -1), instances)

    def disappears(episode):
        return bool((episode.masks.flatten(2).sum(2) == 0).any())

    preferred = share_of_episodes(sampler_of(pool), disappears, objects=1)
    random = share_of_episodes(sampler_of(pool, eventful_share=0), disappears, objects=1)
    assert preferred > random + 0.15


def test_sequences_in_which_objects_meet_are_preferred(sampler_of):
    instances = np.zeros((1, 30, 256, 256), np.uint8)
    for frame in range(30):
        left = 100 + 4 * max(frame - 20, 0)  # it reaches the other object at frame 25
        instances[0, frame, 20:90, left : left + 40] = 1
    instances[:, :, 20:90, 160:200] = 2
    pool = ClipPool(np.stack([instances] * 3, -1), instances)

    def meet(episode):
        grown = F.max_pool2d(episode.masks.float(), 3, stride=1, padding=1) > 0
        touching = (grown[:, 0] & grown[:, 1]).flatten(1).any(1)
        return bool(touching.any() and not touching.all())

    def share(**shares):
        sampler = sampler_of(pool, gap_share=0, lost_share=0, interrupted_share=0, **shares)
        return share_of_episodes(sampler, meet, objects=2)

    assert share() > share(eventful_share=0) + 0.15


def test_an_interrupted_episode_shows_another_clip_without_its_objects(clip_pool, sampler_of):
    sampler = sampler_of(
        clip_pool, gap_share=0, lost_share=0, interrupted_share=1, eventful_share=0
    )
    for seed in range(10):
        episode = sampler.draw(np.random.default_rng(seed), clips=2, frames=6, objects=4)
        gone = ~episode.masks.flatten(1).any(1)
        assert gone[1:5].any(), "at least one frame"
        assert not gone[0]


def test_frames_follow_a_loss(clip_pool, sampler_of):
    sampler = sampler_of(clip_pool, gap_share=0, lost_share=1)
    for seed in range(6):
        episode = sampler.draw(np.random.default_rng(seed), clips=2, frames=6, objects=4)
        assert episode.lost.start == 1
        assert len(episode.masks) - episode.lost.stop >= 3


def test_the_same_generator_state_draws_the_same_episode(clip_pool, sampler_of):
    sampler = sampler_of(clip_pool)
    first, second = (sampler.draw(np.random.default_rng(1), 2, 3, 4) for _ in range(2))
    assert torch.equal(first.pixels, second.pixels)
    assert torch.equal(first.masks, second.masks)
