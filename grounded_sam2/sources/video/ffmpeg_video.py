"""Video source for everything FFmpeg decodes: files, network addresses, cameras."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from av.container import InputContainer
from av.video.stream import VideoStream

from grounded_sam2.config import ImageConfig
from grounded_sam2.errors import ImageError, SourceError
from grounded_sam2.sources.fingerprint import file_hash, file_stamp
from grounded_sam2.sources.video.decoding import (
    average_fps,
    decode,
    frame_count,
    open_container,
    video_stream,
)
from grounded_sam2.sources.video.frame_conversion import FrameConverter
from grounded_sam2.sources.video.source import (
    BrokenFrameLog,
    FrameSelection,
    LazyFrame,
    VideoSource,
)

__all__ = ["FFmpegVideo"]


class FFmpegVideo(VideoSource):
    """A file, an address or a device that FFmpeg reads.

    Opening decodes up to the first intact frame, which determines the size. The first video stream
    that is no cover art is read; audio is not.

    Args:
        address: a `Path` for a local file; otherwise the address or device for FFmpeg.
        display_name: name in messages.
        name: name of the items.
        selection: the frames to yield.
        limits: limit of the size of frames.
        input_format: FFmpeg's name of the format; detected from the content if ``None``.

    Raises:
        SourceError: it does not exist, is no video, has no frame that can be decoded, or its frames
            are too large.
    """

    def __init__(
        self,
        address: str | Path,
        *,
        display_name: str,
        name: str,
        selection: FrameSelection,
        limits: ImageConfig,
        input_format: str | None = None,
    ) -> None:
        self._address = address
        self._display_name = display_name
        self._limits = limits
        self._input_format = input_format
        with self._open() as (container, stream):
            super().__init__(
                name=name,
                path=address if isinstance(address, Path) else None,
                fps=average_fps(stream),
                size_hw=_first_frame_size(container, stream, display_name),
                frame_count=frame_count(container, stream),
                selection=selection,
            )

    def stamp(self) -> str | None:
        """Size and modification time of the file; ``None`` if it is not local."""
        return None if self.path is None else file_stamp(self.path)

    def content_hash(self) -> str | None:
        """SHA-256 of the file, hexadecimal; ``None`` if it is not local."""
        return None if self.path is None else file_hash(self.path)

    def _lazy_frames(self, broken: BrokenFrameLog) -> Generator[LazyFrame, None, None]:
        with self._open() as (container, stream):
            convert = FrameConverter(self.size_hw)
            with closing(decode(container, stream, broken)) as decoded:
                for index, time, frame in decoded:
                    lazy = LazyFrame(index, time, partial(convert, frame))
                    del frame
                    yield lazy
                    del lazy  # frees the frame before the next one is decoded

    @contextmanager
    def _open(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        is_remote = not isinstance(self._address, Path) and self._input_format is None
        with open_container(
            str(self._address),
            self._display_name,
            input_format=self._input_format,
            is_remote=is_remote,
        ) as container:
            yield container, video_stream(container, self._display_name, self._limits)


def _first_frame_size(
    container: InputContainer, stream: VideoStream, display_name: str
) -> tuple[int, int]:
    broken = BrokenFrameLog()
    convert = FrameConverter()
    with closing(decode(container, stream, broken)) as decoded:
        for index, time, frame in decoded:
            try:
                height, width = convert(frame).shape[:2]
            except ImageError as error:
                broken.add(index, time, error)
            else:
                return height, width
    reason = broken.first[0].reason if broken.first else "it holds none"
    raise SourceError(
        f"video {display_name!r}: has no frame that can be decoded: {reason}; copy or download it "
        "again"
    )
