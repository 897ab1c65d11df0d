from __future__ import annotations

import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest

from grounded_sam2.errors import VideoError
from grounded_sam2.results import Image
from grounded_sam2.sources.video import open_video
from grounded_sam2.visualization.video_encoder import (
    WRITABLE_VIDEO_EXTENSIONS,
    VideoEncoder,
    check_video_extension,
    video_comment,
)

RED = (220, 30, 40)


def plain(color: tuple[int, int, int] = RED, size_hw: tuple[int, int] = (48, 64)) -> Image:
    return np.full((*size_hw, 3), color, np.uint8)


def write(path: Path, times: list[float | None], size_hw: tuple[int, int] = (48, 64)) -> Path:
    with VideoEncoder(path, size_hw=size_hw, fps=25) as video:
        for time in times:
            video.write(plain(size_hw=size_hw), time)
    return path


@pytest.mark.parametrize("suffix", WRITABLE_VIDEO_EXTENSIONS)
def test_every_extension_keeps_images_and_times(suffix: str, tmp_path: Path) -> None:
    times: list[float | None] = [0.0, 0.04, 0.05, 0.5, 1.0, 3.0]
    video = open_video(write(tmp_path / f"a{suffix}", times))
    frames = list(video)
    np.testing.assert_allclose([frame.time for frame in frames], times, atol=0.001)
    for frame in frames:
        np.testing.assert_allclose(frame.image, plain(), atol=3)


@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".mov"])
def test_format_is_what_players_expect(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"a{suffix}", [None] * 30)
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat"), "the index comes first"
    with av.open(path) as container:
        (stream,) = container.streams
        context = stream.codec_context
        assert isinstance(context, av.VideoCodecContext)
        assert (context.name, context.codec_tag, context.pix_fmt) == ("h264", "avc1", "yuv420p")
        assert context.profile in ("High", "Main", "Constrained Baseline")
        assert (context.colorspace, context.color_range) == (1, 1)
        assert (stream.frames, stream.average_rate) == (30, 25)


def test_times_closer_than_a_tick_still_increase(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.040001, 0.040002, 0.08]
    frames = list(open_video(write(tmp_path / "a.mp4", [*times])))
    assert len(frames) == 5
    np.testing.assert_allclose([frame.time for frame in frames], times, atol=0.001)


@pytest.mark.parametrize("suffix", WRITABLE_VIDEO_EXTENSIONS)
def test_comment_is_read_back(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    with VideoEncoder(path, size_hw=(48, 64), comment="ein Wort") as video:
        video.write(plain())
    assert video_comment(path) == "ein Wort"


def test_video_without_comment_has_none(tmp_path: Path) -> None:
    (tmp_path / "b.mp4").write_text("text")
    assert video_comment(write(tmp_path / "a.mp4", [0.0])) is None
    assert video_comment(tmp_path / "b.mp4") is None
    assert video_comment(tmp_path / "nowhere.mp4") is None


def test_duration_is_that_of_the_images(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [10.0, 10.01, 10.02, 13.0])
    with av.open(path) as container:
        assert container.duration == pytest.approx(3.04e6, abs=2e3)


@pytest.mark.parametrize("size_hw", [(1, 1), (47, 64), (48, 63), (241, 427)])
def test_odd_sizes_are_padded_to_even(size_hw: tuple[int, int], tmp_path: Path) -> None:
    (frame,) = open_video(write(tmp_path / "a.mp4", [0.0], size_hw))
    assert frame.size_hw == (size_hw[0] + size_hw[0] % 2, size_hw[1] + size_hw[1] % 2)
    np.testing.assert_allclose(frame.image[-1, -1], RED, atol=3)


@pytest.mark.parametrize("color", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)])
def test_colors_are_kept(color: tuple[int, int, int], tmp_path: Path) -> None:
    with VideoEncoder(tmp_path / "a.mp4", size_hw=(48, 64)) as video:
        video.write(plain(color))
    (frame,) = open_video(tmp_path / "a.mp4")
    np.testing.assert_allclose(frame.image[24, 32], color, atol=4)


def test_view_into_a_larger_image_is_written(tmp_path: Path) -> None:
    wide = np.zeros((48, 128, 3), np.uint8)
    wide[:, ::2] = RED
    with VideoEncoder(tmp_path / "a.mp4", size_hw=(48, 64)) as video:
        video.write(wide[:, ::2])
    (frame,) = open_video(tmp_path / "a.mp4")
    np.testing.assert_allclose(frame.image, plain(), atol=3)


class TestAtomicity:
    def test_file_appears_at_the_end_in_a_new_folder(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "folder" / "a.mp4"
        with VideoEncoder(path, size_hw=(48, 64)) as video:
            video.write(plain())
            assert not path.exists()
        assert [each.name for each in path.parent.iterdir()] == ["a.mp4"]

    def test_existing_file_is_kept_after_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "a.mp4"
        path.write_text("earlier")

        def fail() -> None:
            with VideoEncoder(path, size_hw=(48, 64)) as video:
                video.write(plain())
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert path.read_text() == "earlier"
        assert list(tmp_path.iterdir()) == [path]

    def test_partial_file_of_a_killed_process_is_replaced(self, tmp_path: Path) -> None:
        (tmp_path / ".a.mp4.partial").write_bytes(b"half")
        write(tmp_path / "a.mp4", [0.0])
        assert [each.name for each in tmp_path.iterdir()] == ["a.mp4"]

    def test_without_images_there_is_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(VideoError, match=r"a\.mp4.*no image"):
            write(tmp_path / "a.mp4", [])
        assert list(tmp_path.iterdir()) == []

    def test_full_disk_is_an_error(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        noise = [rng.integers(0, 256, (240, 320, 3), np.uint8) for _ in range(20)]

        resource = pytest.importorskip("resource", reason="limits files as POSIX does")

        def write_noise() -> None:
            with VideoEncoder(tmp_path / "a.mp4", size_hw=(240, 320)) as video:
                for image in noise:
                    video.write(image)

        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        try:
            with pytest.raises(VideoError, match=r"a\.mp4.*cannot be written: File too large"):
                write_noise()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert list(tmp_path.iterdir()) == []


class TestErrors:
    @pytest.mark.parametrize("name", ["a.avi", "a.png", "a"])
    def test_unknown_extensions_are_errors(self, name: str) -> None:
        with pytest.raises(VideoError, match=r"cannot write a video with extension .*use \.mp4"):
            check_video_extension(name)

    def test_path_below_a_file_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(VideoError, match=r"a\.mp4.*cannot be written"):
            VideoEncoder(tmp_path / "file" / "a.mp4", size_hw=(48, 64))

    @pytest.mark.parametrize(
        ("size_hw", "fps"), [((0, 64), 25), ((48, 64), 0), ((48, 64), float("nan"))]
    )
    def test_numbers_out_of_range_are_errors(
        self, size_hw: tuple[int, int], fps: float, tmp_path: Path
    ) -> None:
        with pytest.raises(VideoError, match="give numbers above 0"):
            VideoEncoder(tmp_path / "a.mp4", size_hw=size_hw, fps=fps)

    @pytest.mark.parametrize(
        "image",
        [plain(size_hw=(48, 66)), plain()[..., 0], plain().astype(np.float32)],
        ids=["size", "gray", "float"],
    )
    def test_images_of_other_sizes_or_types_are_errors(self, image: Image, tmp_path: Path) -> None:
        with (
            pytest.raises(VideoError, match=r"all must be \(48, 64, 3\) uint8"),
            VideoEncoder(tmp_path / "a.mp4", size_hw=(48, 64)) as video,
        ):
            video.write(image)

    @pytest.mark.parametrize("second", [1.0, 0.5])
    def test_times_that_do_not_increase_are_errors(self, second: float, tmp_path: Path) -> None:
        with pytest.raises(VideoError, match=rf"at {second:g} s comes after that at 1 s"):
            write(tmp_path / "a.mp4", [1.0, second])

    def test_build_without_encoders_is_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(av, "codecs_available", {"ffv1"})
        with pytest.raises(VideoError, match="has no encoder for it"):
            VideoEncoder(tmp_path / "a.mp4", size_hw=(48, 64))


def test_build_without_x264_uses_the_next_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    path = write(tmp_path / "a.mp4", [0.0, 0.04])
    first, second = open_video(path)
    np.testing.assert_allclose(second.image, plain(), atol=6)
    assert (first.time, second.time) == pytest.approx((0, 0.04))


def test_memory_does_not_grow(tmp_path: Path) -> None:
    peaks = []
    with VideoEncoder(tmp_path / "a.mp4", size_hw=(48, 64)) as video:
        tracemalloc.start()
        try:
            for number in range(1500):
                video.write(plain())
                if number % 500 == 499:
                    peaks.append(tracemalloc.get_traced_memory()[1])
                    tracemalloc.reset_peak()
        finally:
            tracemalloc.stop()
    assert peaks[-1] - peaks[0] < 1000 * 100, "bytes for each frame"
