"""What a run does with each video: once, in steps that may end anywhere, and never by mistake."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from grounded_sam2 import CaptionOntology
from grounded_sam2.config import Config
from grounded_sam2.errors import StoreError
from grounded_sam2.sources.videos import VideoSource, open_video
from grounded_sam2.store import LabelStore, Recipe
from grounded_sam2.testing import FakeDetector, FakeTracker
from grounded_sam2.videos import TrackSummary, track_videos
from grounded_sam2.videos.summaries import VideosInterrupted

RECIPE = Recipe(models={"detector": "d", "tracker": "t"}, config={})
ONTOLOGY = CaptionOntology({"red box": "warm", "blue box": "cold"})
CONFIG = Config().with_options({"tracking.detect_every": 4, "tracking.min_hits": 1})


@dataclass(frozen=True)
class Given:
    """A video to be opened, by whatever makes it."""

    name: str
    given: str
    make: Callable[[], VideoSource]

    def open(self) -> VideoSource:
        return self.make()


def given(path: Path, name: str | None = None) -> Given:
    name = name or path.stem
    return Given(name, str(path), lambda: open_video(path, name=name))


def track(store: LabelStore, *videos: Given, tracker=None, **options) -> TrackSummary:
    return track_videos(
        videos,
        store,
        FakeDetector(),
        tracker or FakeTracker(),
        ONTOLOGY,
        CONFIG,
        recipe=RECIPE,
        **options,
    )


@pytest.fixture
def store(tmp_path) -> Iterator[LabelStore]:
    with LabelStore.create(tmp_path / "out") as store:
        yield store


@pytest.fixture
def pictures(frames_folder) -> list[np.ndarray]:
    return [frame.image for frame in open_video(frames_folder)]


def camera(pictures: list[np.ndarray], name: str = "camera-0") -> Given:
    """What has neither a file nor an end."""
    return Given(name, name, lambda: open_video(iter(pictures), name=name))


class Stopping(FakeTracker):
    """Presses Ctrl-C at a frame of this number, counted from 1."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.left = number

    def encode(self, image):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)
        return super().encode(image)


def labels(store: LabelStore) -> list:
    return list(store.labels())


def test_a_video_is_finished_or_can_be_continued_after_every_transaction(tmp_path, frames_folder):
    unsafe: list[Sequence] = []

    class Watched(LabelStore):
        @contextmanager
        def _transaction(self):
            with super()._transaction():
                yield
            unsafe.extend(
                video
                for video in self.videos()
                if video.frames
                and not video.finished
                and self.tracker_state(self.run().id, video.record.name) is None
            )

    with Watched.create(tmp_path / "out") as store:
        track(store, given(frames_folder), commit_seconds=0)
        assert store.videos()[0].finished
    assert unsafe == []


def test_what_cannot_be_read_again_is_not_forgotten(store, pictures):
    track(store, camera(pictures))
    before = labels(store)
    assert len(before) == 24
    with pytest.raises(StoreError, match="holds 24 frames of an earlier reading of 'camera-0'"):
        track(store, camera(pictures[::-1]))
    assert labels(store) == before


def test_a_file_does_not_replace_a_camera_of_its_name(store, pictures, frames_folder):
    track(store, camera(pictures, "walk"))
    with pytest.raises(StoreError, match="cannot be read again; label into another folder"):
        track(store, given(frames_folder))


def test_ctrl_c_ends_what_cannot_be_read_again(store, pictures):
    with pytest.raises(VideosInterrupted, match=r"after 10 frames; all of them are labeled"):
        track(store, camera(pictures), tracker=Stopping(10))
    [video] = store.videos()
    assert (video.frames, video.finished) == (10, True)


def test_ctrl_c_leaves_a_file_to_be_continued(store, frames_folder):
    with pytest.raises(VideosInterrupted, match="run the same command again to continue"):
        track(store, given(frames_folder), tracker=Stopping(10))
    assert not store.videos()[0].finished
    assert track(store, given(frames_folder)).videos[0].frames == 24


def test_a_file_that_is_gone_when_it_begins_is_the_end_of_one_video(store, frames_folder, clip):
    class Vanishing(type(open_video(clip))):
        def stamp(self):
            raise FileNotFoundError(self.path)

    def make():
        source = open_video(clip)
        source.__class__ = Vanishing
        return source

    done = track(store, Given("clip", str(clip), make), given(frames_folder))
    assert [video.frames for video in done.videos] == [0, 24]
    assert "video 'clip': cannot be read" in done.failed[0].error
