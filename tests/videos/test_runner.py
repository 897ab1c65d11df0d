"""What a run does with each video: once, in steps that may end anywhere, and never by mistake."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from grounded_sam2 import CaptionOntology
from grounded_sam2.config import Config
from grounded_sam2.sources.videos import VideoSource, open_video
from grounded_sam2.store import LabelStore, Recipe
from grounded_sam2.testing import FakeDetector, FakeTracker
from grounded_sam2.videos import TrackSummary, track_videos

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
