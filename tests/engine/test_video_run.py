"""Runs over videos: resuming after interruptions, failed videos, and refused replacements."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import pytest

from grounded_sam2 import CaptionOntology
from grounded_sam2.config import Config, ImageConfig
from grounded_sam2.engine.summaries import RunInterrupted, VideoRunSummary
from grounded_sam2.engine.video_run import label_videos
from grounded_sam2.errors import CheckpointError, SourceError, StoreError
from grounded_sam2.sources.video import VideoSource, open_video
from grounded_sam2.sources.video.frame_folder import FrameFolder
from grounded_sam2.sources.video.source import FrameSelection
from grounded_sam2.store import LabelStore, RunConfig
from grounded_sam2.store.connection import StoreConnection
from grounded_sam2.testing import FakeDetector, FakeTracker
from grounded_sam2.tracking import ClipState

RUN_CONFIG = RunConfig(models={"detector": "d", "tracker": "t"}, inference={})
ONTOLOGY = CaptionOntology({"red box": "warm", "blue box": "cold"})
CONFIG = Config().with_options({"tracking.detect_every": 4, "tracking.min_hits": 1})


@dataclass(frozen=True)
class FakeFoundVideo:
    """A found video that is opened by a given function."""

    name: str
    given: str
    opener: Callable[[], VideoSource]

    def open(self) -> VideoSource:
        return self.opener()


def found_video(path: Path, name: str | None = None) -> FakeFoundVideo:
    name = name or path.stem
    return FakeFoundVideo(name, str(path), lambda: open_video(path, name=name))


def track(store: LabelStore, *videos: FakeFoundVideo, tracker=None, **options) -> VideoRunSummary:
    return label_videos(
        videos,
        store,
        FakeDetector(),
        tracker or FakeTracker(),
        ONTOLOGY,
        CONFIG,
        run_config=RUN_CONFIG,
        **options,
    )


@pytest.fixture
def store(tmp_path) -> Iterator[LabelStore]:
    with LabelStore.create(tmp_path / "out") as store:
        yield store


@pytest.fixture
def images(frames_folder) -> list[np.ndarray]:
    return [frame.image for frame in open_video(frames_folder)]


def camera(images: list[np.ndarray], name: str = "camera-0") -> FakeFoundVideo:
    """A video without a file, such as a camera."""
    return FakeFoundVideo(name, name, lambda: open_video(iter(images), name=name))


class InterruptingTracker(FakeTracker):
    """Sends Ctrl-C at the frame of this number, counted from 1."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.remaining = number

    def encode(self, image):
        self.remaining -= 1
        if self.remaining == 0:
            signal.raise_signal(signal.SIGINT)
        return super().encode(image)


def labels(store: LabelStore) -> list:
    return list(store.labels())


def stored_content(store: LabelStore) -> tuple:
    [video] = store.videos()
    broken = store.broken_frames(store.run().id, video.record.name)
    return labels(store), broken, video.broken_frames


@pytest.fixture(params=["folder", "file"])
def damaged(request, frames_folder, tmp_path) -> Path:
    """A video with frames that cannot be decoded."""
    if request.param == "folder":
        for number in (0, 7, 8, 15, 23):
            (frames_folder / f"{number}.png").write_bytes(b"damaged")
        return frames_folder
    path = tmp_path / "damaged.avi"
    with av.open(path, "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuvj420p"
        for number, frame in enumerate(open_video(frames_folder)):
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame.image, "rgb24")):
                if number in (3, 10, 11, 23):
                    packet = av.Packet(bytes(packet)[:40])
                    packet.stream, packet.pts, packet.dts = stream, number, number
                container.mux(packet)
        container.mux(stream.encode())
    return path


class TestTransactions:
    def test_after_every_transaction_a_video_is_finished_or_can_be_continued(
        self, tmp_path, frames_folder
    ):
        unsafe: list[Sequence] = []

        class WatchedConnection(StoreConnection):
            commits = 0

            @contextmanager
            def transaction(self):
                with super().transaction() as sql:
                    yield sql
                self.commits += 1
                store = LabelStore(self)
                unsafe.extend(
                    video
                    for video in store.videos()
                    if video.frames
                    and not video.finished
                    and store.tracker_state(store.run().id, video.record.name) is None
                )

        with closing(
            WatchedConnection.create(tmp_path / "out" / LabelStore.FILE_NAME)
        ) as connection:
            store = LabelStore(connection)
            track(store, found_video(frames_folder), commit_seconds=0)
            assert store.videos()[0].finished
            assert connection.commits > 3
        assert unsafe == []


class TestStreams:
    def test_labels_of_a_stream_are_not_replaced(self, store, images):
        track(store, camera(images))
        before = labels(store)
        assert len(before) == 24
        with pytest.raises(StoreError, match="holds 24 frames of an earlier reading of 'camera-0'"):
            track(store, camera(images[::-1]))
        assert labels(store) == before

    def test_a_file_does_not_replace_a_stream_of_its_name(self, store, images, frames_folder):
        track(store, camera(images, "walk"))
        with pytest.raises(StoreError, match="cannot be read again; label into another folder"):
            track(store, found_video(frames_folder))

    def test_ctrl_c_finishes_a_stream(self, store, images):
        with pytest.raises(RunInterrupted, match=r"after 10 frames; all of them are labeled"):
            track(store, camera(images), tracker=InterruptingTracker(10))
        [video] = store.videos()
        assert (video.frames, video.finished) == (10, True)


class TestResuming:
    def test_a_file_continues_after_ctrl_c(self, store, frames_folder):
        with pytest.raises(RunInterrupted, match="run the same command again to continue"):
            track(store, found_video(frames_folder), tracker=InterruptingTracker(10))
        assert not store.videos()[0].finished
        assert track(store, found_video(frames_folder)).videos[0].frames == 24

    @pytest.mark.parametrize("number", [1, 4, 8, 9, 14, 18])
    def test_broken_frames_are_counted_once_across_interruptions(self, tmp_path, damaged, number):
        with LabelStore.create(tmp_path / "whole") as store:
            track(store, found_video(damaged))
            whole = stored_content(store)
        assert whole[2] == len(whole[1]) > 3
        with LabelStore.create(tmp_path / "out") as store:
            for stop in (number, 3):
                with pytest.raises(RunInterrupted):
                    track(
                        store,
                        found_video(damaged),
                        tracker=InterruptingTracker(stop),
                        commit_seconds=0,
                    )
            track(store, found_video(damaged))
            assert stored_content(store) == whole

    def test_a_video_with_an_unchanged_stamp_is_not_hashed_to_continue(self, store, frames_folder):
        class UnhashedFolder(FrameFolder):
            def content_hash(self):
                raise AssertionError("the bytes of the video are read")

        def open_unhashed():
            return UnhashedFolder(
                frames_folder, name="walk", fps=25, selection=FrameSelection(), limits=ImageConfig()
            )

        with pytest.raises(RunInterrupted):
            track(store, found_video(frames_folder), tracker=InterruptingTracker(10))
        unhashed = FakeFoundVideo("walk", str(frames_folder), open_unhashed)
        assert track(store, unhashed).videos[0].frames == 24
        assert store.videos()[0].record.content_hash is not None

    @pytest.mark.parametrize("origin", ["another version", "another tracker"])
    def test_an_unreadable_tracker_state_restarts_the_video_with_a_warning(
        self, tmp_path, store, frames_folder, origin
    ):
        with LabelStore.create(tmp_path / "whole") as other:
            track(other, found_video(frames_folder))
            whole = stored_content(other)
        with pytest.raises(RunInterrupted):
            track(store, found_video(frames_folder), tracker=InterruptingTracker(15))
        run_id = store.run().id
        before = store.video(run_id, "walk").frames
        known = ClipState.from_bytes(store.tracker_state(run_id, "walk"))
        state = b"GS2TRK00" + bytes(20)
        if origin == "another tracker":
            state = replace(known, tracker_state=b"?").to_bytes()
        store.write_frames(run_id, "walk", [], state=state)

        class StrictTracker(FakeTracker):
            def load(self, saved):
                if saved == b"?":
                    raise CheckpointError("the tracker's state of 1 bytes cannot be read")
                return super().load(saved)

        [video] = track(store, found_video(frames_folder), tracker=StrictTracker()).videos
        assert (video.frames, video.frames_now) == (24, 24)
        assert video.warning.startswith(f"its {before} frames were labeled again: ")
        assert stored_content(store) == whole


class TestFailures:
    def test_a_file_that_vanishes_before_it_begins_fails_alone(self, store, frames_folder, clip):
        class VanishingVideo(type(open_video(clip))):
            def stamp(self):
                raise FileNotFoundError(self.path)

        def open_vanishing():
            source = open_video(clip)
            source.__class__ = VanishingVideo
            return source

        done = track(
            store, FakeFoundVideo("clip", str(clip), open_vanishing), found_video(frames_folder)
        )
        assert [video.frames for video in done.videos] == [0, 24]
        assert "video 'clip': cannot be read" in done.failed[0].error

    def test_a_repaired_video_is_labeled_and_its_failure_deleted(
        self, store, clip, frames_folder, tmp_path
    ):
        bytes_of_clip = clip.read_bytes()
        clip.write_bytes(bytes_of_clip[:200])
        [failed] = track(store, found_video(clip), found_video(frames_folder)).failed
        assert (failed.name, failed.frames_now) == ("clip", 0)
        assert store.summary().failed == 1
        clip.write_bytes(bytes_of_clip)
        assert track(store, found_video(clip), found_video(frames_folder)).failed == ()
        assert store.summary().failed == 0

    def test_a_video_that_fails_midway_reports_its_labeled_frames_and_continues(
        self, store, frames_folder, clip
    ):
        class FailingTracker(FakeTracker):
            remaining = 15

            def encode(self, image):
                self.remaining -= 1
                if self.remaining == 0:
                    raise SourceError("video 'walk': the disk is gone")
                return super().encode(image)

        done = track(
            store,
            found_video(frames_folder),
            found_video(clip),
            tracker=FailingTracker(),
            commit_seconds=0,
        ).videos[0]
        assert done.error == "video 'walk': the disk is gone"
        assert 0 < done.frames == done.frames_now < 15
        assert done.seconds > 0
        again = track(store, found_video(frames_folder), found_video(clip)).videos[0]
        assert (again.frames, again.frames_now) == (24, 24 - done.frames)

    def test_a_model_that_cannot_be_loaded_deletes_no_labels(self, store, frames_folder):
        with pytest.raises(RunInterrupted):
            track(store, found_video(frames_folder), tracker=InterruptingTracker(15))
        before = labels(store)

        class MissingTracker(FakeTracker):
            def empty_state(self):
                raise CheckpointError("no such checkpoint")

        with pytest.raises(CheckpointError):
            track(store, found_video(frames_folder), tracker=MissingTracker())
        assert before
        assert labels(store) == before


class TestDuplicates:
    def test_a_duplicate_or_renamed_video_is_refused(self, store, clip):
        track(store, found_video(clip))
        with pytest.raises(
            StoreError, match=r"the same one as 'clip' .*; leave out one of the two"
        ):
            track(store, found_video(clip, "other"))
        moved = clip.rename(clip.with_name("moved.mp4"))
        with pytest.raises(StoreError, match=r"give the file its name 'clip' again"):
            track(store, found_video(moved))
        assert [video.record.name for video in store.videos()] == ["clip"]

    def test_a_duplicate_among_several_videos_fails_alone(self, store, clip, frames_folder):
        copy = clip.with_name("copy.mp4")
        copy.write_bytes(clip.read_bytes())
        first, second, third = track(
            store, found_video(clip), found_video(copy), found_video(frames_folder)
        ).videos
        assert (first.frames, third.frames) == (24, 24)
        assert second.frames == 0
        assert "the same one as 'clip'" in second.error
        assert [(item.item_id, error) for item, error in store.failures(store.run().id)] == [
            ("copy", second.error)
        ]
        again = track(
            store, found_video(clip), found_video(copy), found_video(frames_folder)
        ).videos
        assert [video.frames_now for video in again] == [0, 0, 0]
