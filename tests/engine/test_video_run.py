"""What a run does with each video: once, in steps that may end anywhere, and never by mistake."""

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
from grounded_sam2.config import Config
from grounded_sam2.engine.summaries import RunInterrupted, VideoRunSummary
from grounded_sam2.engine.video_run import label_videos
from grounded_sam2.errors import CheckpointError, SourceError, StoreError
from grounded_sam2.sources.video import VideoSource, open_video
from grounded_sam2.sources.video.frame_folder import FrameFolder
from grounded_sam2.store import LabelStore, RunConfig
from grounded_sam2.store.connection import StoreConnection
from grounded_sam2.testing import FakeDetector, FakeTracker
from grounded_sam2.tracking import ClipState

RUN_CONFIG = RunConfig(models={"detector": "d", "tracker": "t"}, inference={})
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


def track(store: LabelStore, *videos: Given, tracker=None, **options) -> VideoRunSummary:
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


def camera(images: list[np.ndarray], name: str = "camera-0") -> Given:
    """What has neither a file nor an end."""
    return Given(name, name, lambda: open_video(iter(images), name=name))


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

    class Watched(StoreConnection):
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

    with closing(Watched.create(tmp_path / "out" / LabelStore.FILE_NAME)) as connection:
        store = LabelStore(connection)
        track(store, given(frames_folder), commit_seconds=0)
        assert store.videos()[0].finished
        assert connection.commits > 3
    assert unsafe == []


def test_what_cannot_be_read_again_is_not_forgotten(store, images):
    track(store, camera(images))
    before = labels(store)
    assert len(before) == 24
    with pytest.raises(StoreError, match="holds 24 frames of an earlier reading of 'camera-0'"):
        track(store, camera(images[::-1]))
    assert labels(store) == before


def test_a_file_does_not_replace_a_camera_of_its_name(store, images, frames_folder):
    track(store, camera(images, "walk"))
    with pytest.raises(StoreError, match="cannot be read again; label into another folder"):
        track(store, given(frames_folder))


def test_ctrl_c_ends_what_cannot_be_read_again(store, images):
    with pytest.raises(RunInterrupted, match=r"after 10 frames; all of them are labeled"):
        track(store, camera(images), tracker=Stopping(10))
    [video] = store.videos()
    assert (video.frames, video.finished) == (10, True)


def test_ctrl_c_leaves_a_file_to_be_continued(store, frames_folder):
    with pytest.raises(RunInterrupted, match="run the same command again to continue"):
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


def everything(store: LabelStore) -> tuple:
    [video] = store.videos()
    broken = store.broken_frames(store.run().id, video.record.name)
    return labels(store), broken, video.broken_frames


@pytest.fixture(params=["folder", "file"])
def torn(request, frames_folder, tmp_path) -> Path:
    """A video some frames of which cannot be read."""
    if request.param == "folder":
        for number in (0, 7, 8, 15, 23):
            (frames_folder / f"{number}.png").write_bytes(b"torn")
        return frames_folder
    path = tmp_path / "torn.avi"
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


@pytest.mark.parametrize("number", [1, 4, 8, 9, 14, 18])
def test_what_is_broken_is_counted_once_however_a_run_is_continued(tmp_path, torn, number):
    with LabelStore.create(tmp_path / "whole") as store:
        track(store, given(torn))
        whole = everything(store)
    assert whole[2] == len(whole[1]) > 3
    with LabelStore.create(tmp_path / "out") as store:
        for stop in (number, 3):
            with pytest.raises(RunInterrupted):
                track(store, given(torn), tracker=Stopping(stop), commit_seconds=0)
        track(store, given(torn))
        assert everything(store) == whole


def test_a_video_that_failed_once_is_as_if_it_never_had(store, clip, frames_folder, tmp_path):
    bytes_of_clip = clip.read_bytes()
    clip.write_bytes(bytes_of_clip[:200])
    [failed] = track(store, given(clip), given(frames_folder)).failed
    assert (failed.name, failed.frames_now) == ("clip", 0)
    assert store.summary().failed == 1
    clip.write_bytes(bytes_of_clip)
    assert track(store, given(clip), given(frames_folder)).failed == ()
    assert store.summary().failed == 0


def test_a_video_that_fails_on_the_way_tells_what_was_done(store, frames_folder, clip):
    class Breaking(FakeTracker):
        left = 15

        def encode(self, image):
            self.left -= 1
            if self.left == 0:
                raise SourceError("video 'walk': the disk is gone")
            return super().encode(image)

    done = track(
        store, given(frames_folder), given(clip), tracker=Breaking(), commit_seconds=0
    ).videos[0]
    assert done.error == "video 'walk': the disk is gone"
    assert 0 < done.frames == done.frames_now < 15
    assert done.seconds > 0
    again = track(store, given(frames_folder), given(clip)).videos[0]
    assert (again.frames, again.frames_now) == (24, 24 - done.frames)


def test_what_has_its_stamp_is_not_read_to_begin(store, frames_folder, monkeypatch):
    with pytest.raises(RunInterrupted):
        track(store, given(frames_folder), tracker=Stopping(10))
    monkeypatch.setattr(FrameFolder, "content_hash", lambda self: pytest.fail("was read"))
    assert track(store, given(frames_folder)).videos[0].frames == 24
    assert store.videos()[0].record.content_hash is not None


@pytest.mark.parametrize("what", ["of another version", "of another tracker"])
def test_a_state_that_cannot_be_read_is_let_go_of(tmp_path, store, frames_folder, what):
    with LabelStore.create(tmp_path / "whole") as other:
        track(other, given(frames_folder))
        whole = everything(other)
    with pytest.raises(RunInterrupted):
        track(store, given(frames_folder), tracker=Stopping(15))
    run_id = store.run().id
    before = store.video(run_id, "walk").frames
    known = ClipState.from_bytes(store.tracker_state(run_id, "walk"))
    state = b"GS2TRK00" + bytes(20)
    if what == "of another tracker":
        state = replace(known, tracker_state=b"?").to_bytes()
    store.write_frames(run_id, "walk", [], state=state)

    class Strict(FakeTracker):
        def load(self, saved):
            if saved == b"?":
                raise CheckpointError("the tracker's state of 1 bytes cannot be read")
            return super().load(saved)

    [video] = track(store, given(frames_folder), tracker=Strict()).videos
    assert (video.frames, video.frames_now) == (24, 24)
    assert video.warning.startswith(f"its {before} frames were labeled again: ")
    assert everything(store) == whole


def test_a_model_that_cannot_be_loaded_costs_no_labels(store, frames_folder):
    with pytest.raises(RunInterrupted):
        track(store, given(frames_folder), tracker=Stopping(15))
    before = labels(store)

    class Missing(FakeTracker):
        def empty_state(self):
            raise CheckpointError("no such checkpoint")

    with pytest.raises(CheckpointError):
        track(store, given(frames_folder), tracker=Missing())
    assert before
    assert labels(store) == before


def test_one_video_has_one_name(store, clip):
    track(store, given(clip))
    with pytest.raises(StoreError, match=r"the same one as 'clip' .*; leave out one of the two"):
        track(store, given(clip, "other"))
    moved = clip.rename(clip.with_name("moved.mp4"))
    with pytest.raises(StoreError, match=r"give the file its name 'clip' again"):
        track(store, given(moved))
    assert [video.record.name for video in store.videos()] == ["clip"]


def test_a_copy_among_several_videos_is_left_out_and_said(store, clip, frames_folder):
    copy = clip.with_name("copy.mp4")
    copy.write_bytes(clip.read_bytes())
    first, second, third = track(store, given(clip), given(copy), given(frames_folder)).videos
    assert (first.frames, third.frames) == (24, 24)
    assert second.frames == 0
    assert "the same one as 'clip'" in second.error
    assert [(item.item_id, error) for item, error in store.failures(store.run().id)] == [
        ("copy", second.error)
    ]
    again = track(store, given(clip), given(copy), given(frames_folder)).videos
    assert [video.frames_now for video in again] == [0, 0, 0]
