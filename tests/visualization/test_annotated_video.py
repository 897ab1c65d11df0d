"""Annotated videos: paths, protection of inputs, and rendering when labels have changed."""

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
    (folder / "two.mp4").write_bytes(clip.read_bytes() + b"\0")  # equal bytes would be one video
    return folder


class TestNothingIsReplaced:
    def test_input_video_is_not_replaced(self, model, clip, tmp_path, monkeypatch):
        before = state(clip)
        monkeypatch.chdir(tmp_path)
        (tmp_path / "link.mp4").symlink_to(clip)
        for path in ("clip.mp4", clip, tmp_path / "link.mp4"):
            with pytest.raises(VideoError, match="would be replaced"):
                model.track(clip, tmp_path / "out", annotated=path)
        assert state(clip) == before
        assert not (tmp_path / "out").exists()

    def test_videos_of_an_input_folder_are_not_replaced(self, model, folder, tmp_path):
        with pytest.raises(VideoError, match="give another folder"):
            model.track(folder, tmp_path / "out", annotated=folder)
        with pytest.raises(VideoError, match="would be replaced"):
            model.track([folder / "two.mp4"], tmp_path / "out", annotated=folder / "two.mp4")

    def test_annotated_video_in_a_folder_of_frames_is_an_error(
        self, model, frames_folder, tmp_path
    ):
        for path in ("shown.mp4", "below/shown.mp4", "below"):
            with pytest.raises(VideoError, match="folder of frames"):
                model.track(frames_folder, tmp_path / "o", annotated=frames_folder / path)


class TestPaths:
    def test_path_with_a_video_extension_is_a_file(self, clip, tmp_path):
        [video] = find_videos(clip)
        assert annotated_video_paths([video], "a.webm") == {"clip": Path("a.webm")}
        with pytest.raises(VideoError, match=r"'\.avi'"):
            annotated_video_paths([video], "a.avi")

    def test_any_other_path_is_a_folder(self, clip, tmp_path):
        assert annotated_video_paths(find_videos(clip), "a") == {"clip": Path("a/clip.mp4")}

    def test_names_with_writable_extensions_are_kept(self, clip, folder):
        shutil.copy(clip, folder / "three.avi")
        paths = annotated_video_paths(find_videos(folder), "a")
        assert sorted(map(str, paths.values())) == [
            "a/day/one.mp4",
            "a/three.avi.mp4",
            "a/two.mp4",
        ]

    def test_one_file_for_two_videos_is_an_error(self, folder):
        with pytest.raises(VideoError, match=r"give a folder, such as 'all'"):
            annotated_video_paths(find_videos(folder), "all.mp4")

    def test_two_videos_with_one_path_are_an_error(self, clip, folder):
        videos = find_videos([folder / "two.mp4", folder])
        with pytest.raises(VideoError, match="elsewhere"):
            annotated_video_paths(videos, "a")


@pytest.mark.parametrize("given", ["rtsp://me:secret@host/live", 0])
def test_streams_and_cameras_are_refused_before_labeling(model, given, tmp_path):
    with pytest.raises(VideoError, match="second time") as drawing:
        model.track(given, tmp_path / "out", annotated=tmp_path / "a.mp4")
    with pytest.raises(ExportError, match="second time") as exporting:
        model.track(given, tmp_path / "out", formats=["coco"])
    assert "secret" not in f"{drawing.value} {exporting.value}"
    assert not (tmp_path / "out").exists()


def test_output_in_the_input_folder_is_no_input(model, folder):
    for _ in range(2):
        result = model.track(folder, folder / "out", annotated=folder / "out" / "shown")
        assert [video.name for video in result.run.videos] == ["day/one.mp4", "two.mp4"]
    for _ in range(2):
        result = model.track(folder, folder / "out", annotated=folder / "shown")
        assert [video.name for video in result.run.videos] == ["day/one.mp4", "two.mp4"]


class TestUpToDateFiles:
    def test_video_is_kept_while_its_labels_are_unchanged(self, model, frames_folder, tmp_path):
        shown = tmp_path / "shown.mp4"
        model.track(frames_folder, tmp_path / "out", annotated=shown)
        before = state(shown)
        result = model.track(frames_folder, tmp_path / "out", annotated=shown)
        assert state(shown) == before
        assert result.annotated == (shown,)
        model.track(frames_folder, tmp_path / "out", annotated=shown, detect_every=5, new_run=True)
        assert state(shown) != before

    def test_other_file_at_the_path_is_replaced(self, model, clip, frames_folder, tmp_path):
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

    def test_two_runs_write_equal_bytes(self, model, frames_folder, tmp_path):
        files = []
        for name in ("a", "b"):
            model.track(frames_folder, tmp_path / name, annotated=tmp_path / f"{name}.mp4")
            files.append((tmp_path / f"{name}.mp4").read_bytes())
        assert files[0] == files[1]


def test_failed_rendering_does_not_stop_the_others(model, clip, frames_folder, tmp_path):
    shown = tmp_path / "shown"
    (shown / "clip.mp4").mkdir(parents=True)
    result = model.track([clip, frames_folder], tmp_path / "out", annotated=shown, formats=["csv"])
    assert result.annotated == (shown / "walk.mp4",)
    assert list(result.not_rendered) == ["clip"]
    assert "cannot be written" in result.not_rendered["clip"]
    assert set(result.exports) == {"csv"}


def test_missing_labeled_frame_is_an_error(model, frames_folder, tmp_path):
    model.track(frames_folder, tmp_path / "out")
    (frames_folder / "23.png").unlink()
    with (
        LabelStore.open(tmp_path / "out") as store,
        pytest.raises(SourceError, match="frame 23 was labeled"),
    ):
        render_video(tmp_path / "a.mp4", open_video(frames_folder), store)


@pytest.mark.parametrize("what", ["render_videos", "export"])
def test_ctrl_c_after_labeling_states_that_all_is_labeled(
    model, frames_folder, tmp_path, monkeypatch, what
):
    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(labeling, what, stopped)
    with pytest.raises(KeyboardInterrupt, match="all frames are labeled; run the same command"):
        model.track(frames_folder, tmp_path / "out", annotated=tmp_path / "a.mp4", formats=["csv"])
