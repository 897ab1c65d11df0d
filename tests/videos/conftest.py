"""A small video of coloured blocks, and models that need no weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from grounded_sam2 import CaptionOntology, GroundedSAM2
from grounded_sam2.testing import COLORS, FakeDetector, FakeSegmenter, FakeTracker
from grounded_sam2.video_file import VideoFile

SIZE_HW = (48, 64)


def blocks(frame: int) -> np.ndarray:
    """A red block moves right; a blue one enters from the left at frame 6."""
    image = np.zeros((*SIZE_HW, 3), np.uint8)
    image[8:24, 4 + frame : 20 + frame] = COLORS["red"]
    if frame >= 6:
        image[30:44, max(0, frame - 18) : frame - 4] = COLORS["blue"]
    return image


@pytest.fixture
def frames_folder(tmp_path: Path) -> Path:
    """24 frames as PNG: colours are exact, as they are in no compressed video."""
    from PIL import Image as PILImage

    folder = tmp_path / "walk"
    folder.mkdir()
    for frame in range(24):
        PILImage.fromarray(blocks(frame)).save(folder / f"{frame}.png")
    return folder


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """The same as a video that is compressed without loss that matters."""
    path = tmp_path / "clip.mp4"
    with VideoFile(path, size_hw=SIZE_HW, fps=10) as video:
        for frame in range(24):
            video.write(blocks(frame))
    return path


@pytest.fixture
def model() -> GroundedSAM2:
    return GroundedSAM2(
        CaptionOntology({"red box": "warm", "blue box": "cold"}),
        config={"tracking": {"detect_every": 4}},
        detector=FakeDetector(),
        segmenter=FakeSegmenter(),
        tracker=FakeTracker(),
    )
