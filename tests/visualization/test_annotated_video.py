"""Annotated videos: where they go, what they must not replace, and when they are made again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from grounded_sam2.errors import ExportError, SourceError, VideoError
from grounded_sam2.pipeline import labeling
from grounded_sam2.sources.video import open_video
from grounded_sam2.sources.video.discovery import find_videos
from grounded_sam2.store import LabelStore
from grounded_sam2.visualization.annotated_video import (
    annotated_video_paths,
    is_up_to_date,
    render_video,
)


def state(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns


@pytest.fixture
def folder(clip, tmp_path) -> Path:
    folder = tmp_path / "clips"
    (folder / "day").mkdir(parents=True)
    shutil.copy(clip, folder / "day" / "one.mp4")
    (folder / "two.mp4").write_bytes(clip.read_bytes() + b"\0")  # the same bytes are one video
    return folder


class TestNothingIsReplaced:
    def test_the_video_itself(self, model, clip, tmp_path, monkeypatch):
        before = state(clip)
        monkeypatch.chdir(tmp_path)
        (tmp_path / "link.mp4").symlink_to(clip)
        for place in ("clip.mp4", clip, tmp_path / "link.mp4"):
            with pytest.raises(VideoError, match="would be replaced"):
                model.track(clip, tmp_path / "out", annotated=place)
        assert state(clip) == before
        assert not (tmp_path / "out").exists()

    def test_all_of_a_folder(self, model, folder, tmp_path):
        with pytest.raises(VideoError, match="give another folder"):
            model.track(folder, tmp_path / "out", annotated=folder)
        with pytest.raises(VideoError, match="would be replaced"):
            model.track([folder / "two.mp4"], tmp_path / "out", annotated=folder / "two.mp4")

    def test_among_frames(self, model, frames_folder, tmp_path):
        for place in ("shown.mp4", "below/shown.mp4", "below"):
            with pytest.raises(VideoError, match="folder of frames"):
                model.track(frames_folder, tmp_path / "o", annotated=frames_folder / place)


class TestPlaces:
    def test_an_ending_of_a_video_means_a_file(self, clip, tmp_path):
        [video] = find_videos(clip)
        assert annotated_video_paths([video], "a.webm") == {"clip": Path("a.webm")}
        with pytest.raises(VideoError, match=r"'\.avi'"):
            annotated_video_paths([video], "a.avi")

    def test_anything_else_means_a_folder_also_for_one(self, clip, tmp_path):
        assert annotated_video_paths(find_videos(clip), "a") == {"clip": Path("a/clip.mp4")}

    def test_names_that_end_as_videos_do_stay(self, clip, folder):
        shutil.copy(clip, folder / "three.avi")
        places = annotated_video_paths(find_videos(folder), "a")
        assert sorted(map(str, places.values())) == [
            "a/day/one.mp4",
            "a/three.avi.mp4",
            "a/two.mp4",
        ]

    def test_one_file_is_too_few_for_two(self, folder):
        with pytest.raises(VideoError, match=r"give a folder, such as 'all'"):
            annotated_video_paths(find_videos(folder), "all.mp4")

    def test_two_that_would_be_one(self, clip, folder):
        videos = find_videos([folder / "two.mp4", folder])
        with pytest.raises(VideoError, match="elsewhere"):
            annotated_video_paths(videos, "a")


@pytest.mark.parametrize("given", ["rtsp://me:secret@host/live", 0])
def test_what_cannot_be_read_again_is_refused_up_front(model, given, tmp_path):
    with pytest.raises(VideoError, match="second time") as drawing:
        model.track(given, tmp_path / "out", annotated=tmp_path / "a.mp4")
    with pytest.raises(ExportError, match="second time") as exporting:
        model.track(given, tmp_path / "out", formats=["coco"])
    assert "secret" not in f"{drawing.value} {exporting.value}"
    assert not (tmp_path / "out").exists()


def test_what_was_written_into_the_folder_is_no_input(model, folder):
    for _ in range(2):
        result = model.track(folder, folder / "out", annotated=folder / "out" / "shown")
        assert [video.name for video in result.run.videos] == ["day/one.mp4", "two.mp4"]
    for _ in range(2):
        result = model.track(folder, folder / "out", annotated=folder / "shown")
        assert [video.name for video in result.run.videos] == ["day/one.mp4", "two.mp4"]


class TestDrawnOnce:
    def test_as_long_as_the_labels_are_the_same(self, model, frames_folder, tmp_path):
        shown = tmp_path / "shown.mp4"
        model.track(frames_folder, tmp_path / "out", annotated=shown)
        before = state(shown)
        result = model.track(frames_folder, tmp_path / "out", annotated=shown)
        assert state(shown) == before
        assert result.annotated == (shown,)
        model.track(frames_folder, tmp_path / "out", annotated=shown, detect_every=5, new_run=True)
        assert state(shown) != before

    def test_again_where_something_else_lies(self, model, clip, frames_folder, tmp_path):
        model.track(frames_folder, tmp_path / "out")
        shown = tmp_path / "shown.mp4"
        shutil.copy(clip, shown)
        os.utime(shown, (2e9, 2e9))
        model.track(frames_folder, tmp_path / "out", annotated=shown)
        with LabelStore.open(tmp_path / "out") as store:
            assert is_up_to_date(shown, store, "walk")
            shown.write_bytes(shown.read_bytes()[:100])
            assert not is_up_to_date(shown, store, "walk")
            assert not is_up_to_date(tmp_path / "nowhere.mp4", store, "walk")

    def test_the_file_does_not_depend_on_how_the_run_went(self, model, frames_folder, tmp_path):
        files = []
        for name in ("a", "b"):
            model.track(frames_folder, tmp_path / name, annotated=tmp_path / f"{name}.mp4")
            files.append((tmp_path / f"{name}.mp4").read_bytes())
        assert files[0] == files[1]


def test_one_that_cannot_be_drawn_does_not_stop_the_others(model, clip, frames_folder, tmp_path):
    shown = tmp_path / "shown"
    (shown / "clip.mp4").mkdir(parents=True)
    result = model.track([clip, frames_folder], tmp_path / "out", annotated=shown, formats=["csv"])
    assert result.annotated == (shown / "walk.mp4",)
    assert list(result.not_rendered) == ["clip"]
    assert "cannot be written" in result.not_rendered["clip"]
    assert set(result.exports) == {"csv"}


def test_a_frame_that_is_gone(model, frames_folder, tmp_path):
    model.track(frames_folder, tmp_path / "out")
    (frames_folder / "23.png").unlink()
    with (
        LabelStore.open(tmp_path / "out") as store,
        pytest.raises(SourceError, match="frame 23 was labeled"),
    ):
        render_video(tmp_path / "a.mp4", open_video(frames_folder), store)


@pytest.mark.parametrize("what", ["render_videos", "export"])
def test_ctrl_c_after_labeling_says_that_all_is_labeled(
    model, frames_folder, tmp_path, monkeypatch, what
):
    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(labeling, what, stopped)
    with pytest.raises(KeyboardInterrupt, match="all frames are labeled; run the same command"):
        model.track(frames_folder, tmp_path / "out", annotated=tmp_path / "a.mp4", formats=["csv"])
