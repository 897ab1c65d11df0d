"""Video sources: upright RGB frames in order, each with its index and time.

    video = open_video("clip.mp4", stride=2)
    for frame in video:                      # VideoFrame(index, time, image)
        ...
    video.broken                             # frames that could not be decoded

Frames are yielded one at a time and none is kept: a video of ten hours takes the memory of one of
ten seconds. Indices and times belong to the video, not to the selection: frame 300 is the same
image, with the same index, whatever the stride, the range and the frame at which reading resumes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from math import ceil, inf, isfinite
from pathlib import Path
from typing import TypeVar

from grounded_sam2.errors import ImageError, SourceError, one_line
from grounded_sam2.results import BrokenFrame, Image, VideoFrame

__all__ = [
    "VIDEO_EXTENSIONS",
    "BrokenFrame",
    "BrokenFrameLog",
    "FrameSelection",
    "LazyFrame",
    "VideoSource",
    "prefetch",
]

VIDEO_EXTENSIONS = (
    *(".mp4", ".m4v", ".mov", ".qt", ".mkv", ".webm", ".avi", ".wmv", ".asf", ".flv", ".f4v"),
    *(".mpg", ".mpeg", ".mpe", ".m2v", ".m2ts", ".mts", ".vob", ".3gp", ".3g2", ".ogv", ".mxf"),
    *(".y4m", ".divx", ".h264", ".h265", ".hevc", ".ivf", ".nut"),
)
"""Extensions that only videos have. Not ``.gif`` (may be an image) nor ``.ts`` (TypeScript)."""

_MAX_RECORDED = 100
T = TypeVar("T")


@dataclass(slots=True)
class BrokenFrameLog:
    """Record of the frames of a video that could not be decoded so far."""

    count: int = 0
    first: list[BrokenFrame] = field(default_factory=list)
    """The first 100: a damaged file must not fill the memory."""
    from_index: int = 0
    """Frames with a lower index are not counted."""

    def add(self, index: int, time: float, error: BaseException) -> None:
        """Record a broken frame."""
        if index < self.from_index:
            return
        self.count += 1
        if len(self.first) < _MAX_RECORDED:
            self.first.append(BrokenFrame(index, time, one_line(error)))


@dataclass(frozen=True, slots=True)
class FrameSelection:
    """Selection of the frames of a video by stride and range of time.

    Raises:
        SourceError: the stride is below 1, a time is negative or not finite, or the range is empty.
    """

    stride: int = 1
    """Selects the frames whose index is a multiple of it, wherever the range begins."""
    start: float | None = None
    """Seconds from the first frame, inclusive; ``None`` for the beginning."""
    end: float | None = None
    """Seconds from the first frame, exclusive; ``None`` for the end."""

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise SourceError(f"video: stride is {self.stride}; give 1 for every frame, 2 for half")
        for name, value in (("start", self.start), ("end", self.end)):
            if value is not None and not (isfinite(value) and value >= 0):
                raise SourceError(f"video: {name} is {value:g}; give seconds from its beginning")
        if self.end is not None and self.end <= (self.start or 0):
            raise SourceError(
                f"video: the range from {self.start or 0:g} s to {self.end:g} s is empty; "
                "give an end after the start"
            )

    def includes(self, index: int, time: float) -> bool:
        """Whether a frame is selected."""
        return index % self.stride == 0 and (self.start or 0) <= time and not self.is_past(time)

    def is_past(self, time: float) -> bool:
        """Whether a time is at or after the end of the range."""
        return self.end is not None and time >= self.end

    def expected_count(self, frame_count: int | None, fps: float) -> int | None:
        """Number of selected frames at a constant rate; ``None`` if the video has no known end."""
        end = inf if frame_count is None else frame_count
        if self.end is not None:
            end = min(end, ceil(self.end * fps))
        if end == inf:
            return None
        begin = min(end, ceil((self.start or 0) * fps))
        return ceil(end / self.stride) - ceil(begin / self.stride)


@dataclass(frozen=True, slots=True)
class LazyFrame:
    """A frame whose image is decoded or converted on demand."""

    index: int
    time: float
    load: Callable[[], Image]
    """Returns the image; raises `ImageError` for a broken frame."""


class VideoSource(ABC):
    """The selected frames of one video; iterate to decode them."""

    name: str
    """Stable name of its items: the file's name without extension, as text."""
    path: Path | None
    """The local file or folder; ``None`` if there is none."""
    fps: float
    """Average frames per second, before any stride."""
    size_hw: tuple[int, int]
    """Height and width of every frame, upright, in pixels."""
    frame_count: int | None
    """Number of frames before any selection, according to the container: good for a progress bar,
    but wrong for damaged or badly written files. ``None`` for a stream without end."""
    selection: FrameSelection
    """The frames to yield."""
    broken: BrokenFrameLog
    """Frames that could not be decoded since the latest call of `frames`."""

    def __init__(
        self,
        *,
        name: str,
        path: Path | None,
        fps: float,
        size_hw: tuple[int, int],
        frame_count: int | None,
        selection: FrameSelection,
    ) -> None:
        self.name = name
        self.path = path
        self.fps = fps
        self.size_hw = size_hw
        self.frame_count = frame_count
        self.selection = selection
        self.broken = BrokenFrameLog()

    @property
    def duration(self) -> float | None:
        """Seconds from the first frame to the end of the last one, before any selection; as
        reliable as `frame_count`."""
        return None if self.frame_count is None else self.frame_count / self.fps

    @property
    def expected_frames(self) -> int | None:
        """Approximate number of selected frames; ``None`` for a stream without end."""
        return self.selection.expected_count(self.frame_count, self.fps)

    def frames(
        self,
        start_index: int = 0,
        *,
        only: AbstractSet[int] | None = None,
        broken_from: int = 0,
    ) -> Iterator[VideoFrame]:
        """Yield the selected frames in order. Frames that cannot be decoded are skipped and
        recorded in `broken`.

        Args:
            start_index: skip frames with a lower index. The others are pixel for pixel the same
                as without it: all frames before them are decoded too, but not converted.
            only: indices of the frames to yield; ``None`` for all. Other frames are not converted,
                and reading ends with the highest index.
            broken_from: record no broken frames with a lower index; an earlier reading did.

        Yields:
            Frames of one size. The caller owns their arrays.

        Raises:
            SourceError: the video cannot be opened any more, or no frame lies in the range.
        """
        self.broken = broken = BrokenFrameLog(from_index=broken_from)
        # With either option, a reading without selected frames is no error.
        found_any = start_index > 0 or only is not None
        last_time = 0.0
        end_index = inf if only is None else max(only, default=-1)
        with closing(self._lazy_frames(broken)) as lazy_frames:
            for lazy in lazy_frames:
                if self.selection.is_past(lazy.time) or lazy.index > end_index:
                    break
                last_time = lazy.time
                if not self.selection.includes(lazy.index, lazy.time):
                    continue
                found_any = True
                if lazy.index < start_index or (only is not None and lazy.index not in only):
                    continue
                frame = _load(lazy, broken)
                del lazy  # frees the decoded frame
                if frame is not None:
                    yield frame
                del frame  # frees the image before the next one is made
        if not found_any:
            raise SourceError(
                f"video {self.name!r}: no frame whose index is a multiple of "
                f"{self.selection.stride} from {self.selection.start or 0:g} s on; the last frame "
                f"is at {last_time:g} s"
            )

    def __iter__(self) -> Iterator[VideoFrame]:
        return self.frames()

    def stamp(self) -> str | None:
        """Identifier of the current state of the video, obtained without reading it; ``None`` if
        there is no local file.

        Raises:
            OSError: the file does not exist or its status cannot be read.
        """
        return None

    def content_hash(self) -> str | None:
        """SHA-256 of the video's bytes, hexadecimal; reads all of them. ``None`` if there is no
        local file.

        Raises:
            OSError: the file cannot be read.
        """
        return None

    @abstractmethod
    def _lazy_frames(self, broken: BrokenFrameLog) -> Generator[LazyFrame, None, None]:
        """Yield all frames from the first on, with increasing indices and times."""


def _load(lazy: LazyFrame, broken: BrokenFrameLog) -> VideoFrame | None:
    try:
        return VideoFrame(lazy.index, lazy.time, lazy.load())
    except ImageError as error:
        broken.add(lazy.index, lazy.time, error)
        return None


def prefetch(items: Iterator[T], buffer_size: int = 4) -> Generator[T, None, None]:
    """Yield the items of an iterator, computed ahead in a thread; FFmpeg releases the GIL.

    An exception of `items` is raised in its place in the order. Closing the generator early closes
    `items` too, if it is a generator, once the item in progress is done.

    Args:
        items: an iterator that nothing else consumes.
        buffer_size: largest number of items computed ahead, at least 1. 4 even out frames of
            different cost, and take 25 MB at 1920 × 1080.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="frames")
    buffer: deque[Future[tuple[T, ...]]] = deque()

    def next_item() -> tuple[T, ...]:
        for item in items:
            return (item,)
        return ()

    try:
        buffer.extend(pool.submit(next_item) for _ in range(max(1, buffer_size)))
        while item := buffer.popleft().result():
            buffer.append(pool.submit(next_item))
            yield item[0]
            del item  # otherwise two items are held while the next one is awaited
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        if isinstance(items, Generator):
            items.close()
