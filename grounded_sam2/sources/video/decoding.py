"""Decoding with FFmpeg: opening containers, selecting streams, decoding packets, timestamps.

FFmpeg decodes in one thread, in parallel with the models. More threads make damage harder to
detect: slice threads leave parts of a frame as they were in memory and report it as intact, frame
threads lose intact frames next to a damaged one. One thread decodes 300 frames of 1920 × 1080 per
second (H.264, one core).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from fractions import Fraction

import av
import av.error
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from grounded_sam2.config import ImageConfig
from grounded_sam2.errors import ImageError, SourceError, one_line
from grounded_sam2.sources.pixels import check_size
from grounded_sam2.sources.video.source import BrokenFrameLog

__all__ = [
    "TimestampNormalizer",
    "average_fps",
    "decode",
    "frame_count",
    "open_container",
    "video_stream",
]

_FALLBACK_FPS = 25
_MAX_DEMUX_FAILURES = 20
"""Consecutive failures to read a packet after which the rest of a file is skipped."""
_TEXT_FORMAT = "tty"
"""FFmpeg's format for any text file: ANSI art."""
_NETWORK_TIMEOUT_S = 30.0


@contextmanager
def open_container(
    address: str, display_name: str, *, input_format: str | None = None, is_remote: bool = False
) -> Iterator[InputContainer]:
    """Context manager that opens a file, address or device.

    Args:
        address: the path, address or device for FFmpeg.
        display_name: its name in messages.
        input_format: FFmpeg's name of the format; detected from the content if ``None``.
        is_remote: apply a timeout.

    Raises:
        SourceError: it cannot be opened, or is no video.
    """
    timeout = _NETWORK_TIMEOUT_S if is_remote else None
    try:
        container = av.open(address, format=input_format, timeout=timeout, metadata_errors="ignore")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise SourceError(f"video {display_name!r}: {_open_failure(error)}") from error
    with container:
        name = container.format.name
        if name == _TEXT_FORMAT:
            raise SourceError(
                f"video {display_name!r}: is text or has an unknown format; give a video"
            )
        if name.startswith("image2") or name.endswith("_pipe"):
            raise SourceError(
                f"video {display_name!r}: is a single image; give a video, or the folder of its "
                "frames"
            )
        yield container


def video_stream(container: InputContainer, display_name: str, limits: ImageConfig) -> VideoStream:
    """The video stream to decode, configured. Cover art of music files is no video stream.

    Raises:
        SourceError: there is none, or its frames are larger than ``limits.max_pixels``.
    """
    streams = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]
    if not streams:
        found = {"cover" if each.type == "video" else each.type for each in container.streams}
        raise SourceError(
            f"video {display_name!r}: has no video stream, but "
            f"{', '.join(sorted(found)) or 'nothing'}; give a file with moving images"
        )
    best = container.streams.best("video")
    stream = best if isinstance(best, VideoStream) and best in streams else streams[0]
    context = stream.codec_context
    if context is None:
        raise SourceError(
            f"video {display_name!r}: its frames cannot be decoded; it was cut off, or its codec "
            "is not in this build of FFmpeg: copy it again, or convert it to H.264"
        )
    try:
        if context.width * context.height:  # some formats state it with the first frame only
            check_size(context.width, context.height, max_pixels=limits.max_pixels)
    except ImageError as error:
        raise SourceError(f"video {display_name!r}: {error}") from error
    stream.thread_type = "NONE"
    context.options = {"max_pixels": str(limits.max_pixels)}  # the size may change later
    if context.name == "mjpeg":
        # Otherwise a damaged frame ends in stale memory and counts as intact.
        context.options |= {"err_detect": "explode"}
    return stream


def average_fps(stream: VideoStream) -> float:
    """Average frames per second; 25 if the container states none."""
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    return float(rate) if rate else float(_FALLBACK_FPS)


def frame_count(container: InputContainer, stream: VideoStream) -> int | None:
    """Number of frames by the header, or by the duration; ``None`` if the header has neither."""
    if stream.frames > 0:
        return stream.frames
    if stream.duration and stream.time_base:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration:
        seconds = container.duration / av.time_base
    else:
        return None
    return max(1, round(seconds * average_fps(stream)))


class TimestampNormalizer:
    """Converts timestamps to seconds from the first frame, strictly increasing.

    A timestamp that is missing, or not later than the one before, is replaced by the end of the
    frame before.

    Args:
        frame_seconds: duration of a frame without a stated one.
    """

    def __init__(self, frame_seconds: float) -> None:
        self._default_duration = Fraction(frame_seconds).limit_denominator(1_000_000)
        self._origin: Fraction | None = None
        self._next = Fraction(0)
        self.last = Fraction(-1)
        """Time of the latest frame in seconds; -1 before the first."""

    def next_time(self, timestamp: Fraction | None, duration: Fraction | None) -> float:
        """Return the time of the next frame.

        Args:
            timestamp: seconds at which it is shown, from any origin; ``None`` if unknown.
            duration: seconds for which it is shown; ``None`` if unknown.
        """
        time = self._next
        if timestamp is not None:
            if self._origin is None:
                self._origin = timestamp - time
            if timestamp - self._origin > self.last:
                time = timestamp - self._origin
        self.last = time
        self._next = time + (duration or self._default_duration)
        return float(time)


def decode(
    container: InputContainer, stream: VideoStream, broken: BrokenFrameLog
) -> Generator[tuple[int, float, av.VideoFrame], None, None]:
    """Yield all frames that can be decoded: index, time in seconds, and the frame.

    Failures are recorded in `broken`, and decoding goes on.
    """
    timestamps = TimestampNormalizer(1 / average_fps(stream))
    index = 0

    def record(error: Exception) -> None:
        broken.add(index, max(0.0, float(timestamps.last)), error)

    for packet in _packets(container, stream, record):
        try:
            frames = stream.decode(packet)
        except (av.error.FFmpegError, ValueError) as error:
            if not isinstance(error, EOFError):  # the decoder was flushed before
                record(error)
            continue
        while frames:
            frame = frames.pop(0)
            tick = frame.time_base or stream.time_base
            timestamp = None if frame.pts is None or tick is None else frame.pts * tick
            duration = frame.duration * tick if frame.duration and tick else None
            yield index, timestamps.next_time(timestamp, duration), frame
            del frame  # frees it before the next one is decoded
            index += 1


def _packets(
    container: InputContainer, stream: VideoStream, record: Callable[[Exception], None]
) -> Iterator[av.Packet[VideoStream] | None]:
    """Yield the packets of a stream, and at the end the one that flushes the decoder."""
    failures = 0
    while failures < _MAX_DEMUX_FAILURES:
        try:
            for packet in container.demux(stream):
                failures = 0
                yield packet
            return
        except (av.error.FFmpegError, OSError) as error:
            failures += 1
            if failures == 1:
                record(error)
    yield None


def _open_failure(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "does not exist; check its name"
    if isinstance(error, PermissionError):
        return "may not be read; check its permissions"
    if isinstance(error, (EOFError, av.error.InvalidDataError)):
        return (
            "is no video that FFmpeg can read, or was cut off before its index; "
            "copy or download it again"
        )
    return f"cannot be opened: {one_line(error)}"
