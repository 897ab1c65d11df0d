"""What a video is to the rest of the package: images in an order, each with a number and a time.

    video = open_video("clip.mp4", stride=2)
    for frame in video:                      # VideoFrame(index, time, image)
        ...
    video.broken                             # what could not be decoded

Frames come one at a time and none is kept: a video of ten hours takes the memory of one of ten
seconds. Numbers and times belong to the video, not to what is taken of it: frame 300 is the same
image, under the same number, whatever the stride, the range, and where reading was taken up.
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
"""What can be nothing else. GIFs may be images, and ``.ts`` TypeScript: their bytes tell."""

_MOST_KEPT = 100
T = TypeVar("T")


@dataclass(slots=True)
class BrokenFrameLog:
    """What of a video could not be read so far."""

    count: int = 0
    first: list[BrokenFrame] = field(default_factory=list)
    """At most 100 of them: a file of noise must not fill the memory."""
    from_index: int = 0
    """What has a lower number is not counted."""

    def add(self, index: int, time: float, error: BaseException) -> None:
        """Write one down."""
        if index < self.from_index:
            return
        self.count += 1
        if len(self.first) < _MOST_KEPT:
            self.first.append(BrokenFrame(index, time, one_line(error)))


@dataclass(frozen=True, slots=True)
class FrameSelection:
    """Which frames of a video are taken.

    Raises:
        SourceError: a stride below 1, a time below 0 or not finite, or a range that is empty.
    """

    stride: int = 1
    """Takes the frames whose number is a multiple of it, wherever the range begins."""
    start: float | None = None
    """Seconds from the first frame; the first frame taken is not earlier."""
    end: float | None = None
    """Seconds from the first frame; the last frame taken is earlier than this."""

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise SourceError(f"video: stride is {self.stride}; give 1 for every frame, 2 for half")
        for name, value in (("start", self.start), ("end", self.end)):
            if value is not None and not (isfinite(value) and value >= 0):
                raise SourceError(f"video: {name} is {value:g}; give seconds from its beginning")
        if self.end is not None and self.end <= (self.start or 0):
            raise SourceError(
                f"video: it should be read from {self.start or 0:g} s to {self.end:g} s; "
                "give an end after the start"
            )

    def takes(self, index: int, time: float) -> bool:
        """Whether a frame is wanted."""
        return index % self.stride == 0 and (self.start or 0) <= time and not self.is_over(time)

    def is_over(self, time: float) -> bool:
        """Whether neither this frame nor any later one is wanted."""
        return self.end is not None and time >= self.end

    def count_of(self, frame_count: int | None, fps: float) -> int | None:
        """How many frames it takes, as if they came at even times; ``None`` for no end in sight."""
        end = inf if frame_count is None else frame_count
        if self.end is not None:
            end = min(end, ceil(self.end * fps))
        if end == inf:
            return None
        begin = min(end, ceil((self.start or 0) * fps))
        return ceil(end / self.stride) - ceil(begin / self.stride)


@dataclass(frozen=True, slots=True)
class LazyFrame:
    """A frame whose pixels are made when they are asked for."""

    index: int
    time: float
    image: Callable[[], Image]
    """Raises `ImageError` for a broken frame."""


class VideoSource(ABC):
    """Frames of one video; iterate to get them.

    Args:
        name: see the attribute.
        path: see the attribute.
        fps: see the attribute.
        size_hw: see the attribute.
        frame_count: see the attribute.
        selection: which frames are taken.
    """

    name: str
    """Stable name for its items: the file's name without ending, as text."""
    path: Path | None
    """The file or folder; ``None`` if it is none."""
    fps: float
    """Frames per second, on average, before any stride."""
    size_hw: tuple[int, int]
    """Height and width of every frame, upright, in pixels."""
    frame_count: int | None
    """Frames before any stride, as the video itself says: good for a progress bar, but damage and
    careless programs make it wrong. ``None`` for a stream without end."""
    broken: BrokenFrameLog
    """What could not be read since `frames` was last begun."""

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
        """Seconds from the first frame to the end of the last, before any selection; as reliable
        as `frame_count`."""
        return None if self.frame_count is None else self.frame_count / self.fps

    @property
    def expected_frames(self) -> int | None:
        """About how many frames iterating gives; ``None`` for a stream without end."""
        return self.selection.count_of(self.frame_count, self.fps)

    def frames(
        self,
        start_index: int = 0,
        *,
        only: AbstractSet[int] | None = None,
        broken_from: int = 0,
    ) -> Iterator[VideoFrame]:
        """The frames that were selected, in order. One that cannot be decoded is left out and
        added to `broken`.

        Args:
            start_index: leave out frames with a lower number. Those that come are, to the last
                pixel, what they would be without: all before them are decoded too, though no
                image is made of them.
            only: numbers of the frames that are wanted; ``None`` for all. No image is made of
                the others, and reading ends with the last.
            broken_from: leave out of `broken` what has a lower number: an earlier reading told it.

        Yields:
            Frames of one size. Their arrays are the caller's.

        Raises:
            SourceError: it cannot be opened any more, or no frame lies in the range of time.
        """
        self.broken = broken = BrokenFrameLog(from_index=broken_from)
        # What was read before is not known here, nor whether those that are wanted exist.
        met_any = start_index > 0 or only is not None
        last_time = 0.0
        end_index = inf if only is None else max(only, default=-1)
        with closing(self._pending(broken)) as pending:
            for each in pending:
                if self.selection.is_over(each.time) or each.index > end_index:
                    break
                last_time = each.time
                if not self.selection.takes(each.index, each.time):
                    continue
                met_any = True
                if each.index < start_index or (only is not None and each.index not in only):
                    continue
                frame = _loaded(each, broken)
                del each  # what it was decoded from
                if frame is not None:
                    yield frame
                del frame  # before the next is made
        if not met_any:
            raise SourceError(
                f"video {self.name!r}: no frame with number divisible by {self.selection.stride} "
                f"from {self.selection.start or 0:g} s on; its last is at {last_time:g} s"
            )

    def __iter__(self) -> Iterator[VideoFrame]:
        return self.frames()

    def stamp(self) -> str | None:
        """What tells this state of the video from others without reading it; ``None`` if nothing
        does.

        Raises:
            OSError: it cannot be looked at.
        """
        return None

    def content_hash(self) -> str | None:
        """SHA-256 of its bytes, hexadecimal; reads all of them. ``None`` if it is no file.

        Raises:
            OSError: it cannot be read.
        """
        return None

    @abstractmethod
    def _pending(self, broken: BrokenFrameLog) -> Generator[LazyFrame, None, None]:
        """All frames from the first on, in order, with rising numbers and times."""


def _loaded(pending: LazyFrame, broken: BrokenFrameLog) -> VideoFrame | None:
    try:
        return VideoFrame(pending.index, pending.time, pending.image())
    except ImageError as error:
        broken.add(pending.index, pending.time, error)
        return None


def prefetch(items: Iterator[T], ahead: int = 4) -> Generator[T, None, None]:
    """Take items in a thread before they are asked for; FFmpeg lets other threads run meanwhile.

    What `items` raises is raised in its place. Closing this early closes `items` too, if it is a
    generator, when the item under way is done.

    Args:
        items: nobody else may take from it.
        ahead: items made and waiting at a time, at most; at least 1. 4 even out frames of different
            cost, and are 25 MB at 1920 × 1080.

    Yields:
        The items in their order.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="frames")
    waiting: deque[Future[tuple[T, ...]]] = deque()

    def taken() -> tuple[T, ...]:
        for item in items:
            return (item,)
        return ()

    try:
        waiting.extend(pool.submit(taken) for _ in range(max(1, ahead)))
        while item := waiting.popleft().result():
            waiting.append(pool.submit(taken))
            yield item[0]
            del item  # or two would be held while the next is waited for
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        if isinstance(items, Generator):
            items.close()
