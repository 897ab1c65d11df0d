"""Nothing grows with the number of frames."""

from __future__ import annotations

import gc
import sys

import numpy as np

from grounded_sam2.results import VideoFrame
from grounded_sam2.testing import COLORS, FakeDetector, FakeTracker
from grounded_sam2.tracking import ClipTracker


def frames(count):
    """One thing stays; another comes, goes, and is a new one each time."""
    for index in range(count):
        image = np.zeros((12, 20, 3), np.uint8)
        image[2:7, 2:7] = COLORS["red"]
        if index % 40 < 15:
            image[5:10, 12:17] = COLORS["blue"]
        yield VideoFrame(index, index / 25, image)


def containers() -> int:
    """Bytes of all containers in the process: whatever is kept is kept in one, and takes a place
    there. Thousands of frames are counted so in the time in which tracemalloc follows a hundred."""
    gc.collect()
    return sum(sys.getsizeof(each) for each in gc.get_objects())


def test_memory_does_not_grow_with_the_number_of_frames(studio):
    clip = ClipTracker(
        FakeDetector(), FakeTracker(), studio.ontology, studio.options(max_gone=5, detect_every=5)
    )
    used, saved, last_id = [], [], 0
    for frame in frames(1000):
        for tracked in clip.feed(frame):
            last_id = max(last_id, tracked.labels.objects[-1].track_id)
        if frame.index in (199, 999):  # at the same place of the story
            used.append(containers())
            saved.append(len(clip.state().to_bytes()))
    assert last_id == 26  # and those that ended are forgotten
    assert len(clip.state().track_ids) < 4
    assert saved[1] - saved[0] < 200  # larger numbers have more digits
    assert used[1] - used[0] < 800 * 8
