"""A small pool of clips, an episode of it, and an untrained model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embedded_training.clip_pool import ClipPool, build_clip_pool
from embedded_training.episodes import Episode, EpisodeSampler
from embedded_training.segmenter import build_model, build_processor

SIDE = 64


@pytest.fixture(scope="session")
def clip_pool(tmp_path_factory) -> ClipPool:
    """Three clips of nine frames."""
    folder = tmp_path_factory.mktemp("clips")
    build_clip_pool(folder, count=3, frames=9, processes=1)
    return ClipPool.open(folder)


@pytest.fixture(scope="session")
def sampler_of():
    """``sampler_of(pool, **shares)``: a sampler of 64 × 64 images."""
    processor = build_processor()
    return lambda pool, **shares: EpisodeSampler(pool, processor, SIDE, **shares)


@pytest.fixture(scope="session")
def episode(clip_pool, sampler_of) -> Episode:
    return sampler_of(clip_pool).draw(np.random.default_rng(2), clips=2, frames=4, objects=5)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = build_model(SIDE)
    with torch.no_grad():
        # The output of an untrained model hardly depends on its inputs; larger weights change that.
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3)
    return model
