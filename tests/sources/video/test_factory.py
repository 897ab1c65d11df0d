from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest

from grounded_sam2.errors import SourceError
from grounded_sam2.sources.video import is_video, open_video

MakeVideo = Callable[..., Path]


class TestIsVideo:
    def test_unambiguous_extension_is_a_video(self, make_video: MakeVideo) -> None:
        assert is_video(make_video("A.MP4", 1))

    @pytest.mark.parametrize("name", ["a.ts", "a"])
    def test_content_decides_for_other_extensions(
        self, name: str, make_video: MakeVideo, tmp_path: Path
    ) -> None:
        path = tmp_path / name
        made = make_video("b.ts")
        made.rename(path)
        assert is_video(path)

    def test_animated_gif_is_a_video(self, make_video: MakeVideo, tmp_path: Path) -> None:
        assert is_video(make_video("a.gif", 3, codec="gif", pixels="rgb8"))
        PIL.Image.new("L", (8, 8)).save(tmp_path / "b.gif")
        assert not is_video(tmp_path / "b.gif")

    def test_images_texts_folders_and_missing_files_are_no_videos(self, tmp_path: Path) -> None:
        PIL.Image.new("L", (8, 8)).save(tmp_path / "a.png")
        (tmp_path / "photo").write_bytes((tmp_path / "a.png").read_bytes())
        (tmp_path / "a.ts").write_text("const a: number = 1;\n" * 50)
        (tmp_path / "a.txt").write_text("a.png\n" * 50)
        (tmp_path / "a.gif").write_bytes(b"")
        (tmp_path / "frames.mp4").mkdir()
        for name in ("a.png", "photo", "a.ts", "a.txt", "a.gif", "frames.mp4", "b.mp4"):
            assert not is_video(tmp_path / name), name

    def test_audio_is_no_video(self, make_sound: Callable[[], Path]) -> None:
        assert not is_video(make_sound())


class TestOpenVideo:
    def test_accepts_text_a_path_and_a_file_address(self, make_video: MakeVideo) -> None:
        path = make_video("ein Film.mp4", 3)
        for given in (path, str(path), path.as_uri()):
            video = open_video(given)
            assert (video.path, video.name, len(list(video))) == (path, "ein Film", 3)

    def test_name_that_is_not_utf8_is_printable(
        self, make_video: MakeVideo, tmp_path: Path
    ) -> None:
        try:
            path = make_video(count=1).rename(tmp_path / os.fsdecode(b"caf\xe9.mp4"))
        except OSError:
            pytest.skip("this file system takes no such names")
        assert open_video(path).name == "caf\\xe9"

    def test_pipe_is_an_error_without_waiting(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "a.mp4")
        with pytest.raises(SourceError, match="is a pipe or device"):
            open_video(tmp_path / "a.mp4")

    def test_unreachable_address_is_an_error_without_password(self) -> None:
        with pytest.raises(SourceError, match=r"'rtsp://127\.0\.0\.1:9/a'") as caught:
            open_video("rtsp://me:secret@127.0.0.1:9/a")
        assert "secret" not in str(caught.value)

    @pytest.mark.skipif(sys.platform != "linux", reason="how cameras are called there")
    def test_missing_camera_is_an_error(self) -> None:
        with pytest.raises(SourceError, match=r"camera 97.*does not exist"):
            open_video(97)
