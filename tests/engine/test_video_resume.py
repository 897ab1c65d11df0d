"""Resuming of videos: begin, continue, restart, or refuse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from grounded_sam2.engine.video_resume import DuplicateVideoError, resume_or_begin
from grounded_sam2.errors import SourceError, StoreError
from grounded_sam2.results import Labels, TrackedFrame
from grounded_sam2.sources.video.source import FrameSelection, LazyFrame, VideoSource
from grounded_sam2.store import LabelStore, RunConfig, StoredVideo

SIZE_HW = (20, 30)


class FakeVideo(VideoSource):
    """A video whose fingerprints are given; counts how often its bytes are read."""

    def __init__(
        self,
        name: str = "clip",
        *,
        path: Path | None = None,
        stamp: str | None = None,
        content: str | None = None,
        stride: int = 1,
        error: OSError | None = None,
    ) -> None:
        super().__init__(
            name=name,
            path=path,
            fps=12.5,
            size_hw=SIZE_HW,
            frame_count=100,
            selection=FrameSelection(stride),
        )
        self._stamp = stamp
        self._content = content
        self._error = error
        self.reads = 0

    def stamp(self) -> str | None:
        if self._error is not None:
            raise self._error
        return self._stamp

    def content_hash(self) -> str | None:
        self.reads += 1
        return self._content

    def _lazy_frames(self, broken) -> Iterator[LazyFrame]:
        raise AssertionError("resuming decodes no frame")
        yield


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.touch()
    return path


class Run:
    """A run of a label store."""

    def __init__(self, store: LabelStore) -> None:
        self.store = store
        self.id = store.begin_run(RunConfig(models={}, inference={}), ontology=()).id

    def resume(self, video: VideoSource) -> StoredVideo:
        return resume_or_begin(self.store, self.id, video)

    def label(self, video: VideoSource, frames: int) -> None:
        """Begin a video and store its first frames, without objects."""
        self.resume(video)
        labeled = [TrackedFrame(i, i / video.fps, Labels(SIZE_HW, ())) for i in range(frames)]
        self.store.write_frames(self.id, video.name, labeled, state=b"saved state")

    def names(self) -> list[str]:
        return [video.record.name for video in self.store.videos(self.id)]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with LabelStore.create(tmp_path / "out") as store:
        yield Run(store)


class TestNewVideo:
    def test_begins_without_frames(self, run: Run, path: Path) -> None:
        video = FakeVideo(path=path, stamp="1", content="abc", stride=2)
        stored = run.resume(video)
        assert (stored.frames, stored.last_index, stored.finished) == (0, None, False)
        record = stored.record
        assert (record.name, record.path, record.size_hw) == ("clip", path, SIZE_HW)
        assert (record.fps, record.frame_count, record.stride) == (12.5, 100, 2)
        assert (record.file_stamp, record.content_hash) == ("1", "abc")
        assert run.store.video(run.id, "clip") == stored

    def test_a_stream_begins_without_fingerprints(self, run: Run) -> None:
        record = run.resume(FakeVideo("camera")).record
        assert (record.path, record.file_stamp, record.content_hash) == (None, None, None)

    def test_a_file_that_cannot_be_examined_is_an_error(self, run: Run, path: Path) -> None:
        with pytest.raises(SourceError, match=r"video 'clip': cannot be read \(gone\)"):
            run.resume(FakeVideo(path=path, error=FileNotFoundError("gone")))
        assert run.names() == []


class TestSameVideo:
    def test_continues_after_its_last_frame(self, run: Run, path: Path) -> None:
        run.label(FakeVideo(path=path, stamp="1", content="abc"), 5)
        stored = run.resume(FakeVideo(path=path, stamp="1", content="abc"))
        assert (stored.frames, stored.last_index) == (5, 4)
        assert run.store.tracker_state(run.id, "clip") == b"saved state"

    def test_with_an_unchanged_stamp_is_not_read(self, run: Run, path: Path) -> None:
        run.label(FakeVideo(path=path, stamp="1", content="abc"), 5)
        video = FakeVideo(path=path, stamp="1", content="never computed")
        stored = run.resume(video)
        assert video.reads == 0
        assert (stored.frames, stored.record.content_hash) == (5, "abc")

    def test_with_a_new_stamp_and_equal_content_continues(self, run: Run, path: Path) -> None:
        run.label(FakeVideo(path=path, stamp="1", content="abc"), 5)
        video = FakeVideo(path=path, stamp="2", content="abc")
        stored = run.resume(video)
        assert video.reads == 1
        assert (stored.frames, stored.record.file_stamp) == (5, "2")

    def test_moved_to_another_folder_under_its_name_continues(
        self, run: Run, path: Path, tmp_path: Path
    ) -> None:
        run.label(FakeVideo(path=path, stamp="1", content="abc"), 5)
        moved = FakeVideo(path=tmp_path / "moved" / "clip.mp4", stamp="2", content="abc")
        assert run.resume(moved).frames == 5


class TestChangedVideo:
    def test_restarts_if_its_content_changed(self, run: Run, path: Path) -> None:
        run.label(FakeVideo(path=path, stamp="1", content="abc"), 5)
        stored = run.resume(FakeVideo(path=path, stamp="2", content="other"))
        assert (stored.frames, stored.record.content_hash) == (0, "other")
        assert run.store.tracker_state(run.id, "clip") is None
        assert list(run.store.labels(run.id)) == []

    @pytest.mark.parametrize("relative", ["clip.mp4", "out/../clip.mp4"])
    def test_restarts_if_its_content_changed_and_its_path_is_relative(
        self, run: Run, path: Path, monkeypatch: pytest.MonkeyPatch, relative: str
    ) -> None:
        run.label(FakeVideo(path=path, stamp="1", content="abc"), 5)
        monkeypatch.chdir(path.parent)
        changed = FakeVideo(path=Path(relative), stamp="2", content="other")
        assert run.resume(changed).frames == 0

    def test_restarts_if_the_stride_changed(self, run: Run, path: Path) -> None:
        run.label(FakeVideo(path=path, stamp="1", content="abc"), 5)
        stored = run.resume(FakeVideo(path=path, stamp="1", content="abc", stride=2))
        assert (stored.frames, stored.record.stride) == (0, 2)


class TestRefusals:
    """Each leaves the stored frames as they are."""

    def test_another_file_of_the_same_name(self, run: Run, path: Path, tmp_path: Path) -> None:
        run.label(FakeVideo(path=path, stamp="1", content="abc"), 5)
        other = FakeVideo(path=tmp_path / "other" / "clip.mp4", stamp="2", content="other")
        with pytest.raises(StoreError, match=r"another video named 'clip' .*; rename the file"):
            run.resume(other)
        assert run.store.video(run.id, "clip").frames == 5

    def test_another_file_of_the_same_name_as_one_without_frames(
        self, run: Run, path: Path, tmp_path: Path
    ) -> None:
        run.resume(FakeVideo(path=path, stamp="1", content="abc"))
        other = FakeVideo(path=tmp_path / "other" / "clip.mp4", stamp="2", content="other")
        with pytest.raises(StoreError, match="another video named 'clip'"):
            run.resume(other)

    def test_a_duplicate_under_another_name(self, run: Run, path: Path, tmp_path: Path) -> None:
        run.label(FakeVideo(path=path, stamp="1", content="abc"), 5)
        copy = FakeVideo("copy", path=tmp_path / "copy.mp4", stamp="2", content="abc")
        with pytest.raises(
            DuplicateVideoError,
            match=r"'copy': .* the same one as 'clip' .*; leave out one of the two",
        ):
            run.resume(copy)
        assert run.names() == ["clip"]

    def test_a_renamed_file(self, run: Run, path: Path, tmp_path: Path) -> None:
        run.label(FakeVideo(path=path, stamp="1", content="abc"), 5)
        renamed = FakeVideo(
            "renamed", path=path.rename(tmp_path / "renamed.mp4"), stamp="1", content="abc"
        )
        with pytest.raises(DuplicateVideoError, match="give the file its name 'clip' again"):
            run.resume(renamed)
        assert run.names() == ["clip"]

    def test_a_stream_of_which_frames_are_stored(self, run: Run) -> None:
        run.label(FakeVideo("camera"), 5)
        with pytest.raises(
            StoreError, match=r"5 frames of an earlier reading of 'camera', which cannot be read"
        ):
            run.resume(FakeVideo("camera"))
        assert run.store.video(run.id, "camera").frames == 5

    def test_a_file_of_the_name_of_a_stream_of_which_frames_are_stored(
        self, run: Run, path: Path
    ) -> None:
        run.label(FakeVideo("clip"), 5)
        with pytest.raises(StoreError, match="cannot be read again"):
            run.resume(FakeVideo(path=path, stamp="1", content="abc"))
        assert run.store.video(run.id, "clip").frames == 5

    def test_a_stream_of_the_name_of_a_file_of_which_frames_are_stored(
        self, run: Run, path: Path
    ) -> None:
        run.label(FakeVideo(path=path, stamp="1", content="abc"), 5)
        with pytest.raises(StoreError, match="cannot be read again"):
            run.resume(FakeVideo("clip"))
        assert run.store.video(run.id, "clip").frames == 5


class TestStreams:
    def test_a_stream_without_stored_frames_begins_again(self, run: Run) -> None:
        run.resume(FakeVideo("camera"))
        assert run.resume(FakeVideo("camera")).frames == 0

    def test_two_streams_are_no_duplicates_of_each_other(self, run: Run) -> None:
        run.label(FakeVideo("camera 0"), 5)
        run.resume(FakeVideo("camera 1"))
        assert run.names() == ["camera 0", "camera 1"]
