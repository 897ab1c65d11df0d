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
    def test_by_its_ending(self, make_video: MakeVideo) -> None:
        assert is_video(make_video("A.MP4", 1))

    @pytest.mark.parametrize("name", ["a.ts", "a"])
    def test_by_its_bytes(self, name: str, make_video: MakeVideo, tmp_path: Path) -> None:
        path = tmp_path / name
        made = make_video("b.ts")
        made.rename(path)
        assert is_video(path)

    def test_a_gif_that_moves(self, make_video: MakeVideo, tmp_path: Path) -> None:
        assert is_video(make_video("a.gif", 3, codec="gif", pixels="rgb8"))
        PIL.Image.new("L", (8, 8)).save(tmp_path / "b.gif")
        assert not is_video(tmp_path / "b.gif")

    def test_not_an_image_a_text_a_folder_or_nothing(self, tmp_path: Path) -> None:
        PIL.Image.new("L", (8, 8)).save(tmp_path / "a.png")
        (tmp_path / "picture").write_bytes((tmp_path / "a.png").read_bytes())
        (tmp_path / "a.ts").write_text("const a: number = 1;\n" * 50)
        (tmp_path / "a.txt").write_text("a.png\n" * 50)
        (tmp_path / "a.gif").write_bytes(b"")
        (tmp_path / "frames.mp4").mkdir()
        for name in ("a.png", "picture", "a.ts", "a.txt", "a.gif", "frames.mp4", "b.mp4"):
            assert not is_video(tmp_path / name), name

    def test_not_sound(self, make_sound: Callable[[], Path]) -> None:
        assert not is_video(make_sound())


class TestOpenVideo:
    def test_takes_text_a_path_and_a_file_address(self, make_video: MakeVideo) -> None:
        path = make_video("ein Film.mp4", 3)
        for given in (path, str(path), path.as_uri()):
            video = open_video(given)
            assert (video.path, video.name, len(list(video))) == (path, "ein Film", 3)

    def test_a_name_that_is_not_utf8_becomes_text(
        self, make_video: MakeVideo, tmp_path: Path
    ) -> None:
        try:
            path = make_video(count=1).rename(tmp_path / os.fsdecode(b"caf\xe9.mp4"))
        except OSError:
            pytest.skip("this file system takes no such names")
        assert open_video(path).name == "caf\\xe9"

    def test_a_pipe_is_refused_without_waiting(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "a.mp4")
        with pytest.raises(SourceError, match="is a pipe or device"):
            open_video(tmp_path / "a.mp4")

    def test_an_address_that_does_not_answer_hides_its_password(self) -> None:
        with pytest.raises(SourceError, match=r"'rtsp://127\.0\.0\.1:9/a'") as caught:
            open_video("rtsp://me:secret@127.0.0.1:9/a")
        assert "secret" not in str(caught.value)

    @pytest.mark.skipif(sys.platform != "linux", reason="how cameras are called there")
    def test_a_camera_that_is_not_there(self) -> None:
        with pytest.raises(SourceError, match=r"camera 97.*does not exist"):
            open_video(97)
