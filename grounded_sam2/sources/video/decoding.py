"""Containers opened, packets decoded, times told: the part that speaks with FFmpeg.

FFmpeg decodes in one thread, beside the models'. With several, damage is told less well: threads
for slices leave parts of a frame as they were in memory and call it good, threads for frames lose
others beside it. One decodes 300 frames of 1920 × 1080 a second (H.264, on one core).
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
_HOPELESS = 20
"""Failures in a row to find another packet before the rest of a file is given up."""
_TEXT = "tty"
"""What FFmpeg takes any text for: drawings of characters on a terminal."""
_NETWORK_TIMEOUT_S = 30.0


@contextmanager
def open_container(
    address: str, shown: str, *, input_format: str | None = None, is_remote: bool = False
) -> Iterator[InputContainer]:
    """Open a file, address or device, and close it again.

    Args:
        address: what FFmpeg is given.
        shown: how errors call it.
        input_format: FFmpeg's name of it; found by its bytes if ``None``.
        is_remote: not to be waited for without end.

    Raises:
        SourceError: it cannot be opened, or is no video.
    """
    timeout = _NETWORK_TIMEOUT_S if is_remote else None
    try:
        container = av.open(address, format=input_format, timeout=timeout, metadata_errors="ignore")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise SourceError(f"video {shown!r}: {_why_not(error)}") from error
    with container:
        kind = container.format.name
        if kind == _TEXT:
            raise SourceError(f"video {shown!r}: is text, or nothing that is known; give a video")
        if kind.startswith("image2") or kind.endswith("_pipe"):
            raise SourceError(
                f"video {shown!r}: is a single image; give a video, or the folder of its frames"
            )
        yield container


def video_stream(container: InputContainer, shown: str, limits: ImageConfig) -> VideoStream:
    """The stream to be read, ready to be decoded; covers of music are no video.

    Raises:
        SourceError: there is none, or its frames are larger than ``limits.max_pixels``.
    """
    streams = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]
    if not streams:
        held = {"cover" if each.type == "video" else each.type for each in container.streams}
        raise SourceError(
            f"video {shown!r}: has no stream of video, but {', '.join(sorted(held)) or 'nothing'}; "
            "give a file with moving images"
        )
    best = container.streams.best("video")
    stream = best if isinstance(best, VideoStream) and best in streams else streams[0]
    context = stream.codec_context
    if context is None:
        raise SourceError(
            f"video {shown!r}: its frames cannot be decoded; it was cut off, or is in a format "
            "that FFmpeg does not know here: copy it again, or convert it to H.264"
        )
    try:
        if context.width * context.height:  # some formats tell with the first frame only
            check_size(context.width, context.height, max_pixels=limits.max_pixels)
    except ImageError as error:
        raise SourceError(f"video {shown!r}: {error}") from error
    stream.thread_type = "NONE"
    context.options = {"max_pixels": str(limits.max_pixels)}  # may change on the way
    if context.name == "mjpeg":
        # Otherwise a damaged frame ends in whatever was in memory, and counts as good.
        context.options |= {"err_detect": "explode"}
    return stream


def average_fps(stream: VideoStream) -> float:
    """Frames per second; 25 where the file does not say."""
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    return float(rate) if rate else float(_FALLBACK_FPS)


def frame_count(container: InputContainer, stream: VideoStream) -> int | None:
    """Number of frames as the header says it, or by duration; ``None`` if it says neither."""
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
    """Tells the times of frames, in seconds from the first, always rising.

    A timestamp that is missing, or not later than the one before, becomes the time at which the
    frame before has ended.

    Args:
        frame_seconds: duration of a frame that does not say it.
    """

    def __init__(self, frame_seconds: float) -> None:
        self._usual = Fraction(frame_seconds).limit_denominator(1_000_000)
        self._origin: Fraction | None = None
        self._next = Fraction(0)
        self.last = Fraction(-1)
        """Time of the latest frame; before the first, less than any."""

    def time_of(self, stamp: Fraction | None, duration: Fraction | None) -> float:
        """The time of the next frame.

        Args:
            stamp: seconds at which it is shown, counted from anywhere; ``None`` for unknown.
            duration: how long; ``None`` for unknown.
        """
        time = self._next
        if stamp is not None:
            if self._origin is None:
                self._origin = stamp - time
            if stamp - self._origin > self.last:
                time = stamp - self._origin
        self.last = time
        self._next = time + (duration or self._usual)
        return float(time)


def decode(
    container: InputContainer, stream: VideoStream, broken: BrokenFrameLog
) -> Generator[tuple[int, float, av.VideoFrame], None, None]:
    """All frames that can be decoded: number, time in seconds, and the frame.

    What cannot be decoded is written down in `broken`, and the rest is read.
    """
    clock = TimestampNormalizer(1 / average_fps(stream))
    index = 0

    def lost(error: Exception) -> None:
        broken.add(index, max(0.0, float(clock.last)), error)

    for packet in _packets(container, stream, lost):
        try:
            frames = stream.decode(packet)
        except (av.error.FFmpegError, ValueError) as error:
            if not isinstance(error, EOFError):  # how a decoder says that it was emptied before
                lost(error)
            continue
        while frames:
            frame = frames.pop(0)
            tick = frame.time_base or stream.time_base
            stamp = None if frame.pts is None or tick is None else frame.pts * tick
            duration = frame.duration * tick if frame.duration and tick else None
            yield index, clock.time_of(stamp, duration), frame
            del frame  # while the next is decoded
            index += 1


def _packets(
    container: InputContainer, stream: VideoStream, lost: Callable[[Exception], None]
) -> Iterator[av.Packet[VideoStream] | None]:
    """Packets of a stream, and at last what makes the decoder give out the frames it holds."""
    failures = 0
    while failures < _HOPELESS:
        try:
            for packet in container.demux(stream):
                failures = 0
                yield packet
            return
        except (av.error.FFmpegError, OSError) as error:
            failures += 1
            if failures == 1:
                lost(error)
    yield None


def _why_not(error: Exception) -> str:
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
