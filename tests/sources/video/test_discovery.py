"""Discovery and names of the videos among inputs."""

from __future__ import annotations

import shutil
from pathlib import Path

import PIL.Image
import pytest

from grounded_sam2.errors import SourceError
from grounded_sam2.sources.video.discovery import VideoOptions, find_videos


def names(*given, **options) -> list[str]:
    return [video.name for video in find_videos(list(given), **options)]


@pytest.fixture
def folder(clip, tmp_path) -> Path:
    folder = tmp_path / "clips"
    (folder / "day").mkdir(parents=True)
    shutil.copy(clip, folder / "day" / "one.mp4")
    shutil.copy(clip, folder / "two.mp4")
    return folder


def test_file_is_named_without_extension_and_folder_of_frames_by_its_name(clip, frames_folder):
    assert names(clip, frames_folder, 0) == ["clip", "walk", "camera-0"]


def test_videos_of_a_folder_keep_their_names_when_others_are_added(clip, folder):
    assert names(folder) == ["day/one.mp4", "two.mp4"]
    shutil.copy(clip, folder / "two.mov")
    assert names(folder) == ["day/one.mp4", "two.mov", "two.mp4"]


def test_folder_has_one_name_however_its_path_is_written(frames_folder, monkeypatch):
    (frames_folder / "below").mkdir()
    monkeypatch.chdir(frames_folder / "below")
    assert names("..") == ["walk"]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://host/a/film.mp4?X-Signature=secret/key.mp4", "film"),
        ("rtsp://me:secret@host", "host"),
        ("rtsp://me:secret@host:554/live", "live"),
    ],
)
def test_names_hold_no_passwords_and_signatures(address, name):
    assert names(address) == [name]


def test_two_videos_of_one_name_are_an_error_without_passwords():
    with pytest.raises(SourceError, match="would both be named 'live'") as caught:
        names("rtsp://me:secret@a/live", "rtsp://me:secret@b/live")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("video", ["clip.mp4", "below/clip.mp4"])
def test_frames_and_a_video_in_one_folder_are_an_error(clip, frames_folder, video):
    (frames_folder / video).parent.mkdir(exist_ok=True)
    shutil.copy(clip, frames_folder / video)
    with pytest.raises(SourceError, match=r"holds 24 images .* and 1 video "):
        names(frames_folder)


def test_images_in_subfolders_are_no_frames_of_a_folder_of_videos(folder):
    PIL.Image.new("L", (8, 8)).save(folder / "day" / "cover.png")
    assert names(folder) == ["day/one.mp4", "two.mp4"]


def test_files_with_ambiguous_extensions_are_opened(clip, folder):
    shutil.copy(clip, folder / "none")
    (folder / "notes").write_text("none\n" * 50)
    moving = [PIL.Image.new("L", (8, 8), gray) for gray in (0, 200)]
    moving[0].save(folder / "moving.gif", save_all=True, append_images=moving[1:])
    assert names(folder) == ["day/one.mp4", "moving.gif", "none", "two.mp4"]


def test_excluded_files_and_folders_are_skipped(folder):
    assert names(folder, exclude=[folder / "day"]) == ["two.mp4"]
    assert names(folder, exclude=[folder / "two.mp4"]) == ["day/one.mp4"]


def test_options_apply_to_all_videos(clip, frames_folder):
    found = find_videos([clip, frames_folder], VideoOptions(stride=3, fps=10))
    assert [len(list(video.open())) for video in found] == [8, 8]


def test_local_videos_have_a_path(clip):
    given = [clip, clip.as_uri(), "https://host/a.mp4", 0]
    paths = [find_videos(each)[0].path for each in given]
    assert paths == [clip, clip, None, None]


def test_empty_input_is_an_error():
    with pytest.raises(SourceError, match="none given"):
        find_videos([])
