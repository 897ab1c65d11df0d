"""Video encoder: writes images as a video file that any player opens, with their timestamps.

    with VideoEncoder("annotated.mp4", size_hw=source.size_hw, fps=source.fps) as video:
        for frame in source:
            video.write(frame.image, frame.time)

MP4 and MOV hold H.264 in 4:2:0, the most widely supported format, with the index first, so that a
browser starts playing before the download ends. Frames keep their timestamps: a source of variable
frame rate keeps its pace. The file appears under its name once it is complete; a killed process
leaves ``.NAME.partial`` beside it, which the next one replaces.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import av
import av.error
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from grounded_sam2.errors import VideoError
from grounded_sam2.results import Image

__all__ = ["WRITABLE_VIDEO_EXTENSIONS", "VideoEncoder", "check_video_extension", "video_comment"]


class _Codec(NamedTuple):
    name: str
    """FFmpeg's name of the encoder."""
    options: dict[str, str]


_H264 = (
    # crf 20: no loss is visible next to the original. "veryfast" leaves the cores to the models.
    # No B-frames: with reordered frames at uneven times, MP4 states a wrong duration.
    _Codec("libx264", {"crf": "20", "preset": "veryfast", "bf": "0"}),
    _Codec("libopenh264", {}),
    # For builds without H.264; browsers do not play it. Quality 3, in FFmpeg's units of 1/118.
    _Codec("mpeg4", {"flags": "+qscale", "global_quality": "354"}),
)
_VP9 = (_Codec("libvpx-vp9", {"crf": "28", "b": "0", "deadline": "realtime", "cpu-used": "6"}),)
_FORMATS = {
    ".mp4": ("mp4", _H264),
    ".m4v": ("mp4", _H264),
    ".mov": ("mov", _H264),
    ".mkv": ("matroska", _H264),
    ".webm": ("webm", _VP9),
}
WRITABLE_VIDEO_EXTENSIONS = tuple(_FORMATS)
"""Extensions of the video files that can be written."""
_TICK = Fraction(1, 60_000)
"""Resolution of timestamps: a common multiple of most frame rates; MPEG-4 allows no finer one than
1/65535."""
_MIN_MBTREE_SIDE = 64
"""Smallest side in pixels for x264's macroblock-tree rate control. With it, 2 to 5 % of encodings
at 48 × 64 differ in their bytes; without it, and from 64 × 64 on, none of 300 do."""
_BT709, _LIMITED = 1, 1
"""FFmpeg's numbers for BT.709 and limited range, which players expect."""


def check_video_extension(path: str | os.PathLike[str]) -> None:
    """Check the extension of a path before any work is done.

    Raises:
        VideoError: no video can be written with this extension.
    """
    if Path(path).suffix.lower() not in _FORMATS:
        raise VideoError(
            f"video {os.fspath(path)!r}: cannot write a video with extension "
            f"{Path(path).suffix!r}; use {', '.join(WRITABLE_VIDEO_EXTENSIONS)}"
        )


def video_comment(path: str | os.PathLike[str]) -> str | None:
    """The ``comment`` in a video's metadata; ``None`` if there is none, or no readable video."""
    try:
        with av.open(os.fspath(path)) as container:
            known = {name.lower(): value for name, value in container.metadata.items()}
    except (OSError, ValueError, av.error.FFmpegError):
        return None
    return known.get("comment")


class VideoEncoder:
    """Context manager that writes one video file.

    Args:
        path: the file, which is replaced. Its folders are created.
        size_hw: height and width of all images. If odd, the last row or column is repeated, since
            H.264 in 4:2:0 needs even sizes.
        fps: approximate frames per second; sets the duration of the last frame, and of every frame
            written without a time.
        comment: text for the metadata; see `video_comment`.

    Raises:
        VideoError: the extension is unknown, the file cannot be written, or a number is out of
            range.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        size_hw: tuple[int, int],
        fps: float = 25.0,
        comment: str | None = None,
    ) -> None:
        check_video_extension(path)
        self.path = Path(path)
        self._size_hw = size_hw
        if min(size_hw) < 1 or not 0 < fps < math.inf:
            raise VideoError(
                f"{self._display_name}: size {size_hw[1]} × {size_hw[0]} at {fps:g} frames per "
                "second; give numbers above 0"
            )
        self._step = max(1, round(1 / (Fraction(fps) * _TICK)))
        self._last: int | None = None
        self._origin = self._last_time = 0.0
        self._reformatter = VideoReformatter()
        container_format, codecs = _FORMATS[self.path.suffix.lower()]
        available = [each for each in codecs if each.name in av.codecs_available]
        if not available:
            raise VideoError(
                f"{self._display_name}: this build of FFmpeg has no encoder for it; "
                "install the package 'av' from its wheels, or use another extension"
            )
        self._partial = self.path.with_name(f".{self.path.name}.partial")
        self.encoder = available[0].name
        """FFmpeg's name of the encoder in use."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(
                str(self._partial),
                "w",
                format=container_format,
                options={"movflags": "faststart"} if container_format in ("mp4", "mov") else {},
            )
        except (OSError, av.error.FFmpegError) as error:
            raise self._write_error(error) from error
        if comment is not None:
            self._container.metadata["comment"] = comment
        self._stream = _add_stream(self._container, available[0], size_hw, fps)

    def write(self, image: Image, time: float | None = None) -> None:
        """Append an image.

        Args:
            image: RGB, ``(h, w, 3)`` ``uint8``; the caller may change it afterwards.
            time: seconds at which it is shown, from any origin; the video begins with the first
                image. ``None`` for one frame duration after the previous image.

        Raises:
            VideoError: the image has another size, its time is not after the previous one, or no
                space is left.
        """
        if image.shape != (*self._size_hw, 3) or image.dtype != np.uint8:
            height, width = self._size_hw
            raise VideoError(
                f"{self._display_name}: an image is {image.shape} {image.dtype}; "
                f"all must be ({height}, {width}, 3) uint8"
            )
        frame = av.VideoFrame.from_ndarray(_pad_to_even(image), format="rgb24")
        frame = self._reformatter.reformat(
            frame,
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )
        frame.pts = self._ticks(time)
        frame.time_base = _TICK
        frame.duration = self._step
        try:
            self._container.mux(self._stream.encode(frame))
        except (OSError, av.error.FFmpegError) as error:
            raise self._write_error(error) from error

    def __enter__(self) -> VideoEncoder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Move the file to its path; after an error, keep the file that was there before.

        Raises:
            VideoError: no image was written, or no space is left.
        """
        try:
            if kind is None:
                self._finish()
        finally:
            with suppress(OSError, av.error.FFmpegError):  # the cause is already raised
                self._container.close()
            self._partial.unlink(missing_ok=True)

    def _finish(self) -> None:
        if self._last is None:
            raise VideoError(f"{self._display_name}: there was no image to write")
        try:
            self._container.mux(self._stream.encode())
            self._container.close()
            self._partial.replace(self.path)
        except (OSError, av.error.FFmpegError) as error:
            raise self._write_error(error) from error

    def _ticks(self, time: float | None) -> int:
        if self._last is None:
            self._origin = time or 0.0
            ticks = 0
        elif time is None:
            ticks = self._last + self._step
        else:
            if time <= self._last_time:
                raise VideoError(
                    f"{self._display_name}: the image at {time:g} s comes after that at "
                    f"{self._last_time:g} s; give increasing times"
                )
            # Two times may be closer than a tick, and ticks must increase too.
            ticks = max(round((time - self._origin) / _TICK), self._last + 1)
        self._last = ticks
        self._last_time = self._origin + float(ticks * _TICK) if time is None else time
        return ticks

    @property
    def _display_name(self) -> str:
        return f"video {str(self.path)!r}"

    def _write_error(self, error: Exception) -> VideoError:
        reason = getattr(error, "strerror", None) or str(error)
        return VideoError(
            f"{self._display_name}: cannot be written: {reason}; no part of it was kept"
        )


def _add_stream(
    container: OutputContainer, codec: _Codec, size_hw: tuple[int, int], fps: float
) -> VideoStream:
    rate = Fraction(fps).limit_denominator(1001)
    options = dict(codec.options)
    if codec.name == "libx264" and min(size_hw) < _MIN_MBTREE_SIDE:
        options["mbtree"] = "0"
    stream = container.add_stream(codec.name, rate=rate, options=options)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height = size_hw[1] + size_hw[1] % 2, size_hw[0] + size_hw[0] % 2
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.time_base = _TICK
    context.color_primaries = context.color_trc = context.colorspace = _BT709
    context.color_range = _LIMITED
    return stream


def _pad_to_even(image: Image) -> Image:
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(image)
