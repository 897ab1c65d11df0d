from __future__ import annotations

import gc
import hashlib
import tracemalloc
import weakref
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from grounded_sam2.config import ImageConfig
from grounded_sam2.errors import SourceError
from grounded_sam2.results import VideoFrame
from grounded_sam2.sources.video import open_video
from grounded_sam2.sources.video.frame_conversion import FrameConverter

MakeVideo = Callable[..., Path]

LONG_GROUPS = {"g": "12", "bf": "3"}
ALL_INTRA = {"g": "1"}


def test_video_states_its_properties(make_video: MakeVideo) -> None:
    path = make_video("my clip.mp4", 30, rate=10)
    video = open_video(path)
    assert (video.name, video.path) == ("my clip", path)
    assert (video.fps, video.frame_count, video.duration) == (10, 30, 3.0)
    assert video.size_hw == (48, 64)
    assert video.content_hash() == hashlib.sha256(path.read_bytes()).hexdigest()
    before = video.stamp()
    path.write_bytes(path.read_bytes() + b"\0")
    assert open_video(path).stamp() != before


def test_frames_are_yielded_in_order_as_rgb(make_video: MakeVideo) -> None:
    frames = list(open_video(make_video(options=LONG_GROUPS)))
    assert [frame.index for frame in frames] == list(range(30))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(30) / 25)
    for frame in frames:
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
        assert frame.image.flags.writeable
        np.testing.assert_allclose(frame.image[4, 4], (220, 20, 20), atol=16)
        np.testing.assert_allclose(frame.image[-3, 30], (20, 20, 220), atol=16)
        np.testing.assert_allclose(frame.image[24, 40], 40 + frame.index * 3, atol=6)


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.mkv", "ffv1", "yuv444p"),
        ("a.avi", "mjpeg", "yuvj420p"),
        ("a.mov", "libx264", "yuv422p10le"),
        ("a.ts", "libx264", "yuv420p"),
    ],
)
def test_other_containers_and_codecs(
    name: str, codec: str, pixels: str, make_video: MakeVideo
) -> None:
    video = open_video(make_video(name, codec=codec, pixels=pixels))
    frames = list(video)
    assert [frame.index for frame in frames] == list(range(30))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(30) / 25, atol=0.002)
    np.testing.assert_allclose(frames[20].image[24, 40], 100, atol=8)
    assert video.frame_count == pytest.approx(30, abs=1)


def test_gif_is_read_as_a_video(make_video: MakeVideo) -> None:
    frames = list(open_video(make_video("a.gif", 5, codec="gif", pixels="rgb8")))
    assert [frame.time for frame in frames] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    np.testing.assert_allclose(frames[0].image[4, 4], (220, 20, 20), atol=70)  # few colors


def test_transparency_is_blended_onto_white(tmp_path: Path) -> None:
    import PIL.Image

    images = [PIL.Image.new("RGBA", (32, 16), (255, 0, 0, 128 * n)) for n in range(2)]
    path = tmp_path / "a.apng"
    images[0].save(path, format="PNG", save_all=True, append_images=images[1:])
    clear, half = (frame.image[8, 8] for frame in open_video(path))
    np.testing.assert_array_equal(clear, (255, 255, 255))
    np.testing.assert_allclose(half, (255, 127, 127), atol=1)


class TestTimes:
    def test_times_of_a_variable_frame_rate_are_kept(self, make_video: MakeVideo) -> None:
        stamps = [0, 40, 45, 200, 1000, 1010, 3000]
        frames = list(open_video(make_video("a.mkv", pts=stamps, options=LONG_GROUPS)))
        np.testing.assert_allclose([frame.time for frame in frames], np.array(stamps) / 1000)

    def test_times_begin_at_the_first_frame(self, make_video: MakeVideo) -> None:
        frames = list(open_video(make_video("a.mkv", pts=[5000, 5040, 5100])))
        np.testing.assert_allclose([frame.time for frame in frames], [0, 0.04, 0.1])

    def test_times_increase_across_joined_recordings(self, make_video: MakeVideo) -> None:
        one, other = make_video("1.ts", 10), make_video("2.ts", 20)
        one.write_bytes(one.read_bytes() + other.read_bytes())
        frames = list(open_video(one))
        np.testing.assert_allclose([frame.time for frame in frames], np.arange(30) / 25)


def test_frames_whose_resolution_changes_keep_the_first_size(make_video: MakeVideo) -> None:
    one, other = make_video("1.ts", 10), make_video("2.ts", 10, size_hw=(96, 100))
    one.write_bytes(one.read_bytes() + other.read_bytes())
    frames = list(open_video(one))
    assert [frame.size_hw for frame in frames] == [(48, 64)] * 20
    np.testing.assert_allclose(frames[-1].image[3, 3], (220, 20, 20), atol=24)


class TestOrientation:
    @pytest.mark.parametrize("degrees", [0, 90, 180, -90])
    @pytest.mark.parametrize("mirrored", [False, True])
    def test_rotation_and_mirroring_are_undone(
        self, degrees: int, mirrored: bool, make_video: MakeVideo
    ) -> None:
        plain = next(iter(open_video(make_video("plain.mp4", 1))))
        video = open_video(make_video(count=1, rotation=(degrees, mirrored)))
        upright = next(iter(video)).image
        expected = np.rot90(plain.image, degrees // 90)
        expected = expected[:, ::-1] if mirrored else expected
        assert video.size_hw == expected.shape[:2]
        np.testing.assert_array_equal(upright, expected)
        assert upright.flags.c_contiguous


class TestSelection:
    def test_stride_keeps_indices_and_times(self, make_video: MakeVideo) -> None:
        video = open_video(make_video(), stride=7)
        assert [(f.index, f.time) for f in video] == [(n, n / 25) for n in (0, 7, 14, 21, 28)]
        assert video.expected_frames == 5

    def test_range_is_in_seconds_and_excludes_its_end(self, make_video: MakeVideo) -> None:
        video = open_video(make_video(), start=0.4, end=0.8, stride=4)
        assert [frame.index for frame in video] == [12, 16]
        assert video.expected_frames == 2
        assert video.frame_count == 30

    def test_range_after_the_last_frame_is_an_error(self, make_video: MakeVideo) -> None:
        with pytest.raises(SourceError, match=r"'clip'.*from 60 s on; the last .* is at 1\.16 s"):
            list(open_video(make_video(), start=60))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"stride": 0}, "stride is 0"),
            ({"start": -1}, "start is -1"),
            ({"end": float("nan")}, "end is nan"),
            ({"start": 2, "end": 2}, "from 2 s to 2 s"),
            ({"end": 0}, "from 0 s to 0 s"),
            ({"fps": 0}, "fps is 0"),
        ],
    )
    def test_options_out_of_range_are_errors(
        self, options: dict[str, float], message: str, make_video: MakeVideo
    ) -> None:
        with pytest.raises(SourceError, match=message):
            open_video(make_video(count=1), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "how",
    [
        {"options": LONG_GROUPS},
        {"options": ALL_INTRA},
        {"name": "a.mkv", "pts": [n * n for n in range(30)], "options": LONG_GROUPS},
        {"name": "a.webm", "codec": "libvpx-vp9"},
    ],
    ids=["B-frames", "all intra", "variable frame rate", "VP9"],
)
@pytest.mark.parametrize("start_index", [1, 11, 12, 29])
def test_resumed_reading_yields_the_same_frames(
    how: dict[str, object], start_index: int, make_video: MakeVideo
) -> None:
    video = open_video(make_video(**how))
    whole = list(video)
    rest = list(video.frames(start_index))
    assert [(f.index, f.time) for f in rest] == [(f.index, f.time) for f in whole[start_index:]]
    for once, again in zip(whole[start_index:], rest, strict=True):
        np.testing.assert_array_equal(once.image, again.image)


def test_reading_resumed_after_the_end_yields_nothing(make_video: MakeVideo) -> None:
    assert list(open_video(make_video()).frames(30)) == []


@pytest.mark.parametrize("start_index", [0, 11])
def test_frames_that_are_not_selected_are_not_converted(
    start_index: int, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []

    def counted(upright: FrameConverter, frame: object) -> object:
        made.append(frame)
        return whole_call(upright, frame)

    video = open_video(make_video(options=LONG_GROUPS))
    whole, whole_call = list(video), FrameConverter.__call__
    monkeypatch.setattr(FrameConverter, "__call__", counted)
    chosen = list(video.frames(start_index, only={3, 11, 20, 99}))
    wanted = [index for index in (3, 11, 20) if index >= start_index]
    assert [frame.index for frame in chosen] == wanted
    assert len(made) == len(wanted)
    for frame in chosen:
        np.testing.assert_array_equal(frame.image, whole[frame.index].image)


def test_reading_ends_after_the_last_selected_frame(make_video: MakeVideo) -> None:
    path = make_video(count=60, options=ALL_INTRA)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) * 3 // 4] = bytes(len(data) * 3 // 4 - len(data) // 2)
    path.write_bytes(data)
    video = open_video(path)
    assert [frame.index for frame in video.frames(only={2, 5})] == [2, 5]
    assert video.broken.count == 0
    assert list(video.frames(only=set())) == []


class TestDamage:
    def test_damage_in_the_middle_loses_only_the_damaged_frames(
        self, make_video: MakeVideo
    ) -> None:
        path = make_video(count=60, options=LONG_GROUPS)
        data = bytearray(path.read_bytes())
        whole = list(open_video(path))
        middle = data.index(b"mdat") + (data.index(b"moov") - data.index(b"mdat")) // 2
        noise = np.random.default_rng(0).integers(0, 256, 200, np.uint8).tobytes()
        data[middle : middle + 200] = noise
        path.write_bytes(data)
        video = open_video(path)
        frames = list(video)
        assert 30 < len(frames) < 60
        assert 0 < video.broken.count <= 60 - len(frames)
        assert 10 < video.broken.first[0].index < 50
        assert 0.4 < video.broken.first[0].time < 2
        assert video.broken.first[0].reason
        assert all(one.time < other.time for one, other in pairwise(frames))
        np.testing.assert_array_equal(frames[0].image, whole[0].image)
        np.testing.assert_array_equal(frames[-1].image, whole[-1].image)
        again = list(video)
        assert [f.time for f in again] == [f.time for f in frames]
        for once, twice in zip(frames, again, strict=True):
            np.testing.assert_array_equal(once.image, twice.image)

    def test_truncated_motion_jpeg_frame_is_broken(self, make_video: MakeVideo) -> None:
        path = make_video("a.avi", codec="mjpeg", pixels="yuvj420p")
        whole = {frame.time: frame.image for frame in open_video(path)}
        data = path.read_bytes()
        # In the pixels of a frame in the middle: two bytes that end a JPEG before its end.
        begin = data.index(b"\xff\xda", len(data) // 2) + 60
        path.write_bytes(data[:begin] + b"\xff\xd9" + data[begin + 2 :])
        video = open_video(path)
        frames = list(video)
        assert (len(frames), video.broken.count) == (29, 1)
        for frame in frames:
            np.testing.assert_array_equal(frame.image, whole[frame.time])

    @pytest.mark.parametrize("name", ["a.mkv", "a.ts", "a.avi"])
    def test_truncated_file_yields_the_frames_it_has(
        self, name: str, make_video: MakeVideo
    ) -> None:
        codec = "mjpeg" if name == "a.avi" else "libx264"
        pixels = "yuvj420p" if name == "a.avi" else "yuv420p"
        options = {} if name == "a.avi" else LONG_GROUPS
        path = make_video(name, 60, codec=codec, pixels=pixels, options=options)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
        frames = list(open_video(path))
        assert 10 < len(frames) < 60
        assert [frame.index for frame in frames] == list(range(len(frames)))

    def test_mp4_cut_off_before_its_index_is_an_error(self, make_video: MakeVideo) -> None:
        path = make_video()
        path.write_bytes(path.read_bytes()[:-600])
        with pytest.raises(SourceError, match=r"clip\.mp4.*cut off.*copy"):
            open_video(path)


class TestInvalidVideos:
    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("a.mp4", b"", "is empty"),
            ("a.mp4", b"some words\n" * 99, "no video that FFmpeg can read"),
            ("a.txt", b"some words\n" * 99, "is text"),
            ("a.mp4", b"\0" * 4096, "all zeros"),
            ("a.mp4", b"<!doctype html><html></html>", "web page"),
            ("a.mp4", bytes(range(256)) * 40, "no video that FFmpeg can read"),
        ],
    )
    def test_file_that_is_no_video_is_described(
        self, name: str, content: bytes, message: str, tmp_path: Path
    ) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SourceError, match=f"{name}.*{message}"):
            open_video(tmp_path / name)

    def test_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=r"a\.mp4.*does not exist"):
            open_video(tmp_path / "a.mp4")

    def test_image_is_an_error(self, tmp_path: Path) -> None:
        import PIL.Image

        PIL.Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
        with pytest.raises(SourceError, match=r"a\.png.*single image"):
            open_video(tmp_path / "a.png")

    def test_audio_file_is_an_error(self, make_sound: Callable[[], Path]) -> None:
        with pytest.raises(SourceError, match=r"sound\.m4a.*no video stream, but audio"):
            open_video(make_sound())

    def test_audio_file_with_cover_art_is_an_error(self, make_sound: Callable[..., Path]) -> None:
        with pytest.raises(SourceError, match=r"no video stream, but audio, cover; give"):
            open_video(make_sound("a.mp3", "mp3", with_cover=True))

    def test_video_without_decodable_frames_is_an_error(self, make_video: MakeVideo) -> None:
        path = make_video()
        data = bytearray(path.read_bytes())
        begin, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
        data[begin:end] = bytes(end - begin)
        path.write_bytes(data)
        with pytest.raises(SourceError, match=r"clip\.mp4.*no frame that can be decoded"):
            open_video(path)

    def test_video_of_a_header_alone_is_an_error(self, make_video: MakeVideo) -> None:
        path = make_video("a.mkv", 1, setup=lambda stream: stream.container.start_encoding())
        path.write_bytes(path.read_bytes()[: path.read_bytes().index(b"\x1f\x43\xb6\x75")])
        with pytest.raises(SourceError, match=r"a\.mkv.*no video that FFmpeg can read"):
            open_video(path)

    def test_frames_above_the_size_limit_are_an_error(self, make_video: MakeVideo) -> None:
        with pytest.raises(SourceError, match=r"64 × 48 pixels; the limit"):
            open_video(make_video(), limits=ImageConfig(max_pixels=1000))


def test_yielded_frames_are_released(make_video: MakeVideo) -> None:
    path = make_video(count=2000, options={"preset": "ultrafast"})
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0
    peaks = []
    tracemalloc.start()
    try:
        for frame in open_video(path):
            alive = [each for each in alive if each() is not None]
            alive.append(weakref.ref(frame.image))
            most = max(most, len(alive))
            if frame.index % 500 == 499:
                peaks.append(tracemalloc.get_traced_memory()[1])
                tracemalloc.reset_peak()
    finally:
        tracemalloc.stop()
    gc.collect()
    assert most <= 2
    # Python keeps up to 2 000 freed tuples for reuse, some 60 bytes each.
    assert peaks[-1] - peaks[1] < 20 * frame.image.nbytes


def test_stopping_early_closes_the_file(make_video: MakeVideo) -> None:
    path = make_video()
    frames = open_video(path).frames()
    assert isinstance(next(frames), VideoFrame)
    opened = Path("/proc/self/fd")
    if not opened.is_dir():
        pytest.skip("no list of open files on this system")
    assert any(each.resolve() == path for each in opened.iterdir() if each.is_symlink())
    frames.close()  # type: ignore[attr-defined]
    assert not any(each.resolve() == path for each in opened.iterdir() if each.is_symlink())


def test_decoded_frames_are_released_before_the_next(make_video: MakeVideo) -> None:
    video = open_video(make_video(count=30, rotation=(90,)))
    gc.collect()
    gc.disable()  # a late collection must not hide frames held by reference cycles
    try:
        assert sum(1 for _ in video) == 30
        kept = sum(type(each) is av.VideoFrame for each in gc.get_objects())
    finally:
        gc.enable()
    assert kept == 0
