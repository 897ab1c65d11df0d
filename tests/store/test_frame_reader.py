"""Frames of videos, decoded in order and each at most once."""

from __future__ import annotations

import pytest

from grounded_sam2.errors import UnavailableImageError
from grounded_sam2.sources.video import VideoSource
from grounded_sam2.store.frame_reader import FrameReader

LABELED = (0, 1, 2, 5, 6, 11)


@pytest.fixture
def clip(tracked):
    """A video file with gaps among its labeled frames."""
    tracked.add(tracked.movie("sub/a.mp4", 12), {index: [] for index in LABELED}, name="sub/a")
    return tracked


def gray_level(image) -> int:
    """The number that `Tracked` encodes in a frame."""
    return round((float(image.mean()) - 20) / 15)


def test_a_reader_can_go_back_to_an_earlier_frame(clip) -> None:
    reader = FrameReader(clip.store.videos())
    items = list(clip.store.done_items())
    seen = [gray_level(reader.image(items[position])) for position in (4, 1, 1, 3)]
    assert seen == [6, 1, 1, 5]
    reader.close()
    clip.movie("sub/a.mp4", 3)
    with pytest.raises(UnavailableImageError, match="has changed"):
        reader.image(items[0])


def test_only_the_announced_frames_are_converted(clip, monkeypatch) -> None:
    made, whole = [], VideoSource.frames

    def counted(self, start_index=0, **options):
        for frame in whole(self, start_index, **options):
            made.append(frame.index)
            yield frame

    monkeypatch.setattr(VideoSource, "frames", counted)
    items = {item.frame_index: item for item in clip.store.done_items()}
    reader = FrameReader(clip.store.videos(), None, {"sub/a": {1, 6}})
    seen = [gray_level(reader.image(items[index])) for index in (1, 6)]
    reader.close()
    assert seen == made == [1, 6]
