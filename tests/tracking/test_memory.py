"""Memory of the tracker does not grow with the number of frames."""

from __future__ import annotations

import gc
import sys

import numpy as np
import pytest
from fixtures.tracking import ONTOLOGY, make_config

from grounded_sam2.results import VideoFrame
from grounded_sam2.testing import COLORS, FakeDetector, FakeTracker
from grounded_sam2.tracking import ClipTracker


def frames(count):
    """One object stays; another one comes, leaves, and is a new one each time."""
    for index in range(count):
        image = np.zeros((12, 20, 3), np.uint8)
        image[2:7, 2:7] = COLORS["red"]
        if index % 40 < 15:
            image[5:10, 12:17] = COLORS["blue"]
        yield VideoFrame(index, index / 25, image)


def container_bytes() -> int:
    """Bytes of all containers in the process: whatever is kept is an element of one. Much faster
    than tracemalloc: thousands of frames in the time of a hundred."""
    gc.collect()
    return sum(sys.getsizeof(each) for each in gc.get_objects())


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_frames():
    clip = ClipTracker(
        FakeDetector(), FakeTracker(), ONTOLOGY, make_config(max_age=5, detect_every=5)
    )
    used, saved, last_id = [], [], 0
    for frame in frames(1000):
        for tracked in clip.feed(frame):
            last_id = max(last_id, tracked.labels.objects[-1].track_id)
        if frame.index in (199, 999):  # at the same point of the cycle
            used.append(container_bytes())
            saved.append(len(clip.state().to_bytes()))
    assert last_id == 26  # and ended tracks are dropped
    assert len(clip.state().track_ids) < 4
    assert saved[1] - saved[0] < 200  # larger numbers have more digits
    assert used[1] - used[0] < 800 * 8
