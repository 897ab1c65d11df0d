"""Videos that FFmpeg decodes: files, addresses on a network, cameras."""

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

    Opening decodes up to the first good frame, which tells the size. The first stream of video
    that is no cover is read; sound is not.

    Args:
        address: what FFmpeg is given; a path is local.
        shown: how errors call it.
        name: of the items.
        selection: which frames are taken.
        limits: of the size of frames.
        input_format: FFmpeg's name of it; found by its bytes if ``None``.

    Raises:
        SourceError: missing, no video, without a frame that can be decoded, or too large.
    """

    def __init__(
        self,
        address: str | Path,
        *,
        shown: str,
        name: str,
        selection: FrameSelection,
        limits: ImageConfig,
        input_format: str | None = None,
    ) -> None:
        self._address = address
        self._shown = shown
        self._limits = limits
        self._input_format = input_format
        with self._opened() as (container, stream):
            super().__init__(
                name=name,
                path=address if isinstance(address, Path) else None,
                fps=average_fps(stream),
                size_hw=_first_size(container, stream, shown),
                frame_count=frame_count(container, stream),
                selection=selection,
            )

    def stamp(self) -> str | None:
        """Size and time of the file."""
        return None if self.path is None else file_stamp(self.path)

    def content_hash(self) -> str | None:
        """SHA-256 of the file."""
        return None if self.path is None else file_hash(self.path)

    def _pending(self, broken: BrokenFrameLog) -> Generator[LazyFrame, None, None]:
        with self._opened() as (container, stream):
            upright = FrameConverter(self.size_hw)
            with closing(decode(container, stream, broken)) as decoded:
                for index, time, frame in decoded:
                    pending = LazyFrame(index, time, partial(upright, frame))
                    del frame
                    yield pending
                    del pending  # and the frame with it, before the next is decoded

    @contextmanager
    def _opened(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        is_remote = not isinstance(self._address, Path) and self._input_format is None
        with open_container(
            str(self._address), self._shown, input_format=self._input_format, is_remote=is_remote
        ) as container:
            yield container, video_stream(container, self._shown, self._limits)


def _first_size(container: InputContainer, stream: VideoStream, shown: str) -> tuple[int, int]:
    broken = BrokenFrameLog()
    upright = FrameConverter()
    with closing(decode(container, stream, broken)) as decoded:
        for index, time, frame in decoded:
            try:
                height, width = upright(frame).shape[:2]
            except ImageError as error:
                broken.add(index, time, error)
            else:
                return height, width
    why = broken.first[0].reason if broken.first else "it holds none"
    raise SourceError(
        f"video {shown!r}: has no frame that can be decoded: {why}; copy or download it again"
    )
