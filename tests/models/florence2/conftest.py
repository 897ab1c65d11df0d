"""Fixtures: the embedded detector's architecture with random weights, for output of all forms."""

from __future__ import annotations

import pytest
import torch

from embedded_training.detector import build_model, build_processor
from grounded_sam2.models.florence2 import Florence2Detector


@pytest.fixture(scope="session")
def processor():
    return build_processor()


@pytest.fixture(scope="session")
def random_model(processor):
    torch.manual_seed(0)
    model = build_model(processor).eval()
    # Scaled up, so that greedy choices are far from ties.
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(3)
    return model


@pytest.fixture
def random_detector(random_model, processor):
    return Florence2Detector(random_model, processor, max_new_tokens=24, batch_size=64)
