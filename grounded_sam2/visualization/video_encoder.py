"""Pictures written as a video that any player opens, at the pace at which they were taken.

    with VideoEncoder("annotated.mp4", size_hw=source.size_hw, fps=source.fps) as video:
        for frame in source:
            video.write(frame.image, frame.time)

MP4 and MOV hold H.264 in 4:2:0, which everything plays, with the index in front, so that a browser
begins before it has loaded all. Every frame keeps its own time: a source of variable frame rate
plays as it did. The file appears under its name when it is whole; a run that is killed leaves
``.NAME.partial`` beside it, which the next one replaces.
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


class _Encoder(NamedTuple):
    name: str
    options: dict[str, str]


_H264 = (
    # 20 shows no loss beside the original; "veryfast" leaves the cores to the models. B-frames
    # would be decoded before they are shown: MP4 then tells the wrong duration of uneven times.
    _Encoder("libx264", {"crf": "20", "preset": "veryfast", "bf": "0"}),
    _Encoder("libopenh264", {}),
    # For builds without H.264; browsers do not play it. Quality 3, in FFmpeg's units of 1/118.
    _Encoder("mpeg4", {"flags": "+qscale", "global_quality": "354"}),
)
_VP9 = (_Encoder("libvpx-vp9", {"crf": "28", "b": "0", "deadline": "realtime", "cpu-used": "6"}),)
_FORMATS = {
    ".mp4": ("mp4", _H264),
    ".m4v": ("mp4", _H264),
    ".mov": ("mov", _H264),
    ".mkv": ("matroska", _H264),
    ".webm": ("webm", _VP9),
}
WRITABLE_VIDEO_EXTENSIONS = tuple(_FORMATS)
"""Endings of the files that can be written."""
_TICK = Fraction(1, 60_000)
"""Precision of times: frames of most rates are a whole number of these apart, and MPEG-4 takes no
finer one than 1/65535."""
_BT709, _LIMITED = 1, 1
"""How FFmpeg numbers the colors that players expect."""


def check_video_extension(path: str | os.PathLike[str]) -> None:
    """Refuse a path before there is anything to write.

    Raises:
        VideoError: its ending stands for no video that can be written.
    """
    if Path(path).suffix.lower() not in _FORMATS:
        raise VideoError(
            f"video {os.fspath(path)!r}: cannot write a video with ending "
            f"{Path(path).suffix!r}; use {', '.join(WRITABLE_VIDEO_EXTENSIONS)}"
        )


def video_comment(path: str | os.PathLike[str]) -> str | None:
    """What was written into a video beside its images; ``None`` for nothing, or no video."""
    try:
        with av.open(os.fspath(path)) as container:
            known = {name.lower(): value for name, value in container.metadata.items()}
    except (OSError, ValueError, av.error.FFmpegError):
        return None
    return known.get("comment")


class VideoEncoder:
    """A video that is being written; to be used with ``with``.

    Args:
        path: the file, which is replaced. Folders above it are made.
        size_hw: height and width of all images. One row or column is repeated where they are
            odd, since the colors of H.264 come in pairs.
        fps: about how many frames there are in a second: the duration of the last, and of all
            where no times are given.
        comment: any text, kept beside the images: see `video_comment`.

    Raises:
        VideoError: an unknown ending, a place that cannot be written to, or numbers out of range.
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
                f"{self._shown}: size {size_hw[1]} × {size_hw[0]} at {fps:g} frames per second; "
                "give numbers above 0"
            )
        self._step = max(1, round(1 / (Fraction(fps) * _TICK)))
        self._last: int | None = None
        self._origin = self._last_time = 0.0
        self._reformatter = VideoReformatter()
        container_format, encoders = _FORMATS[self.path.suffix.lower()]
        available = [each for each in encoders if each.name in av.codecs_available]
        if not available:
            raise VideoError(
                f"{self._shown}: FFmpeg has no encoder for it here; "
                "install the package 'av' from its wheels, or use another ending"
            )
        self._partial = self.path.with_name(f".{self.path.name}.partial")
        self.encoder = available[0].name
        """FFmpeg's name of it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(
                str(self._partial),
                "w",
                format=container_format,
                options={"movflags": "faststart"} if container_format in ("mp4", "mov") else {},
            )
        except (OSError, av.error.FFmpegError) as error:
            raise self._failed(error) from error
        if comment is not None:
            self._container.metadata["comment"] = comment
        self._stream = _stream(self._container, available[0], size_hw, fps)

    def write(self, image: Image, time: float | None = None) -> None:
        """Add an image.

        Args:
            image: RGB, ``(h, w, 3)`` ``uint8``; may be changed afterwards.
            time: seconds at which it is shown, counted from any point; the first image is shown
                at once. ``None`` for one frame duration after the one before.

        Raises:
            VideoError: another size, a time that is not after the one before, or no space left.
        """
        if image.shape != (*self._size_hw, 3) or image.dtype != np.uint8:
            height, width = self._size_hw
            raise VideoError(
                f"{self._shown}: an image is {image.shape} {image.dtype}; "
                f"all must be ({height}, {width}, 3) uint8"
            )
        frame = av.VideoFrame.from_ndarray(_even(image), format="rgb24")
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
            raise self._failed(error) from error

    def __enter__(self) -> VideoEncoder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Put the file in place; after an error, leave what was there before.

        Raises:
            VideoError: there was no image, or no space left for the rest.
        """
        try:
            if kind is None:
                self._finish()
        finally:
            with suppress(OSError, av.error.FFmpegError):  # told already, or not what went wrong
                self._container.close()
            self._partial.unlink(missing_ok=True)

    def _finish(self) -> None:
        if self._last is None:
            raise VideoError(f"{self._shown}: there was no image to write")
        try:
            self._container.mux(self._stream.encode())
            self._container.close()
            self._partial.replace(self.path)
        except (OSError, av.error.FFmpegError) as error:
            raise self._failed(error) from error

    def _ticks(self, time: float | None) -> int:
        if self._last is None:
            self._origin = time or 0.0
            ticks = 0
        elif time is None:
            ticks = self._last + self._step
        else:
            if time <= self._last_time:
                raise VideoError(
                    f"{self._shown}: the image at {time:g} s comes after that at "
                    f"{self._last_time:g} s; give rising times"
                )
            # Two times may be nearer than a tick, and ticks must rise as well.
            ticks = max(round((time - self._origin) / _TICK), self._last + 1)
        self._last = ticks
        self._last_time = self._origin + float(ticks * _TICK) if time is None else time
        return ticks

    @property
    def _shown(self) -> str:
        return f"video {str(self.path)!r}"

    def _failed(self, error: Exception) -> VideoError:
        reason = getattr(error, "strerror", None) or str(error)
        return VideoError(f"{self._shown}: cannot be written: {reason}; nothing is left of it")


def _stream(
    container: OutputContainer, encoder: _Encoder, size_hw: tuple[int, int], fps: float
) -> VideoStream:
    rate = Fraction(fps).limit_denominator(1001)
    stream = container.add_stream(encoder.name, rate=rate, options=encoder.options)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height = size_hw[1] + size_hw[1] % 2, size_hw[0] + size_hw[0] % 2
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.time_base = _TICK
    context.color_primaries = context.color_trc = context.colorspace = _BT709
    context.color_range = _LIMITED
    return stream


def _even(image: Image) -> Image:
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(image)
