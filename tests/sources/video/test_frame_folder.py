from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from grounded_sam2.errors import SourceError
from grounded_sam2.sources.video import open_video
from grounded_sam2.sources.video.frame_folder import natural_sort_key


def save(path: Path, gray: int = 0, size_hw: tuple[int, int] = (12, 16)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.full((*size_hw, 3), gray, np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve frames, ``frame1.png`` to ``frame12.png``, each with its number as gray value."""
    for number in range(1, 13):
        save(tmp_path / "walk" / f"frame{number}.png", number)
    return tmp_path / "walk"


def test_frames_are_yielded_in_natural_order(folder: Path) -> None:
    video = open_video(folder)
    assert [int(frame.image[0, 0, 0]) for frame in video] == list(range(1, 13))
    assert [frame.index for frame in video] == list(range(12))
    assert [frame.time for frame in video] == [number / 25 for number in range(12)]
    assert (video.name, video.path, video.size_hw) == ("walk", folder, (12, 16))
    assert (video.frame_count, video.duration) == (12, 12 / 25)


def test_frame_rate_stride_and_range_are_options(folder: Path) -> None:
    video = open_video(folder, fps=4, stride=3, start=0.5, end=2.5, name="other")
    assert [(frame.index, frame.time) for frame in video] == [(3, 0.75), (6, 1.5), (9, 2.25)]
    assert (video.name, video.expected_frames) == ("other", 3)
    assert [frame.index for frame in video.frames(6)] == [6, 9]


@pytest.mark.parametrize(
    "names",
    [
        ["f2.png", "f10.png", "f10a.png", "f11.png"],
        ["1.jpg", "1_2.jpg", "01_3.jpg", "2.jpg", "a.jpg", "a1.jpg"],
        ["f.jpg", "f01.jpg", "f1.jpg", "f2.jpg"],
        ["a2b3.png", "a2b12.png", "a12b1.png"],
    ],
)
def test_digits_in_names_sort_as_numbers(names: list[str]) -> None:
    shuffled = random.Random(0).sample(names, len(names))
    assert sorted(shuffled, key=natural_sort_key) == names


def test_exif_orientation_of_frames_is_applied(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.new("RGB", (16, 12)).save(tmp_path / "1.jpg", exif=exif)
    video = open_video(tmp_path)
    assert video.size_hw == (16, 12)
    assert next(iter(video)).image.shape == (16, 12, 3)


def test_broken_image_keeps_its_index(folder: Path) -> None:
    (folder / "frame1.png").write_bytes(b"")
    (folder / "frame5.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    video = open_video(folder)
    assert [frame.index for frame in video] == [1, 2, 3, 5, 6, 7, 8, 9, 10, 11]
    assert video.broken.count == 2
    assert [(each.index, each.time) for each in video.broken.first] == [(0, 0), (4, 4 / 25)]
    assert "frame1.png': is empty" in video.broken.first[0].reason


def test_image_of_another_size_is_broken(folder: Path) -> None:
    save(folder / "frame3.png", size_hw=(16, 16))
    video = open_video(folder)
    assert len(list(video)) == 11
    assert "16 × 16 pixels, and the frames before it are 16 × 12" in video.broken.first[0].reason


def test_at_most_a_hundred_broken_frames_are_recorded(tmp_path: Path) -> None:
    for number in range(150):
        (tmp_path / f"{number}.jpg").write_bytes(b"")
    save(tmp_path / "150.jpg")
    video = open_video(tmp_path)
    assert [frame.index for frame in video] == [150]
    assert (video.broken.count, len(video.broken.first)) == (150, 100)
    assert len(list(video)) == 1
    assert video.broken.count == 150, "of the last reading"


def test_other_files_hidden_files_and_folders_are_skipped(folder: Path) -> None:
    (folder / "notes.txt").write_text("")
    save(folder / ".frame0.png")
    save(folder / "masks" / "frame1.png")
    assert open_video(folder).frame_count == 12


def test_stamp_and_hash_follow_the_files(folder: Path) -> None:
    video = open_video(folder)
    stamp, content = video.stamp(), video.content_hash()
    os.utime(folder / "frame2.png", (1, 1))
    assert video.stamp() != stamp
    assert video.content_hash() == content
    save(folder / "frame2.png", 77)
    assert video.content_hash() != content


def test_unreadable_file_is_a_broken_frame(folder: Path) -> None:
    image = (folder / "frame4.png").read_bytes()
    (folder / "frame4.png").unlink()
    (folder / "frame4.png").symlink_to(folder / "nowhere")
    video = open_video(folder)
    stamp, content = video.stamp(), video.content_hash()
    assert len(list(video)) == 11
    assert [each.index for each in video.broken.first] == [3]
    (folder / "nowhere").write_bytes(image)
    assert video.stamp() != stamp
    assert video.content_hash() != content


class TestErrors:
    def test_videos_among_images_are_an_error(self, folder: Path) -> None:
        (folder / "clip.mp4").write_bytes(b"")
        with pytest.raises(
            SourceError, match=r"holds 1 videos, such as 'clip\.mp4', and 12 images"
        ):
            open_video(folder)

    def test_folder_of_videos_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "clip.MP4").write_bytes(b"")
        with pytest.raises(SourceError, match=r"holds 1 videos.*; give one of them"):
            open_video(tmp_path)

    def test_two_images_of_one_name_are_an_error(self, folder: Path) -> None:
        save(folder / "frame3.jpg")
        with pytest.raises(SourceError, match=r"'frame3\.jpg' and 'frame3\.png' would be two"):
            open_video(folder)

    def test_empty_folder_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="is a folder without images"):
            open_video(tmp_path)

    def test_folder_without_readable_images_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "1.png").write_bytes(b"")
        with pytest.raises(SourceError, match=r"none of its 1 frames can be read.*is empty"):
            open_video(tmp_path)
