"""The images of labeled frames, read from their videos in order: no frame is decoded twice.

One video is open at a time, and few of its frames in memory: while one is written, the next are
decoded.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from grounded_sam2.config import ImageConfig
from grounded_sam2.errors import SourceError
from grounded_sam2.results import Image, Labels, VideoFrame
from grounded_sam2.store import Item, StoredVideo, VideoRecord

if TYPE_CHECKING:
    from grounded_sam2.sources.video import VideoSource

__all__ = ["FrameReader", "SkipImage", "every_nth_frame"]

_AHEAD = 2
"""Frames to decode before they are asked for: that one is always ready."""


class SkipImage(Exception):  # noqa: N818  (no error: the export goes on)
    """Why images cannot be used, as what follows their number."""


def every_nth_frame(
    labels: Iterable[tuple[Item, Labels]], stride: int
) -> Iterator[tuple[Item, Labels]]:
    """The first, and then every so many, of the labeled frames of each video; and all images.

    Args:
        labels: items in the store's order.
        stride: 1 for all frames.
    """
    video, position = None, 0
    for item, objects in labels:
        if item.frame_index is None:
            yield item, objects
            continue
        if item.group != video:
            video, position = item.group, 0
        if position % stride == 0:
            yield item, objects
        position += 1


class FrameReader:
    """Gives the frames of videos. Those of one video should be asked for in order.

    Args:
        videos: of the run.
        images_from: folder that the videos are in now; ``None`` for where they were.
        only: indices of the frames that will be asked for, by the name of the video, where that is
            known: of others, no image is made.
    """

    def __init__(
        self,
        videos: Sequence[StoredVideo],
        images_from: Path | None,
        only: Mapping[str, AbstractSet[int]] | None = None,
    ) -> None:
        self._records = {video.record.name: video.record for video in videos}
        self._images_from = images_from
        self._only = only or {}
        self._video: str | None = None
        self._source: VideoSource | str = ""
        """Or why there is none."""
        self._frames: Generator[VideoFrame, None, None] | None = None
        self._next: VideoFrame | None = None
        self._asked = 0

    def file_of(self, item: Item) -> Path | None:
        """The file of a frame; ``None`` if the video is one file.

        Raises:
            SkipImage: the video is gone, has changed, or never was a file.
        """
        from grounded_sam2.sources.video.frame_folder import FrameFolder

        source = self._source_of(item)
        if not isinstance(source, FrameFolder):
            return None
        assert item.frame_index is not None, "asked of frames only"
        return source.files[item.frame_index]

    def image(self, item: Item) -> Image:
        """The image of a frame: upright RGB ``(h, w, 3)`` ``uint8``.

        Raises:
            SkipImage: as `file_of`, or it cannot be decoded any more.
        """
        from grounded_sam2.sources.video import prefetch

        source, index = self._source_of(item), item.frame_index
        assert index is not None, "asked of frames only"
        if self._frames is None or index < self._asked:
            self._stop()
            assert item.group is not None, "frames are grouped by their video"
            wanted = self._only.get(item.group)
            self._frames = prefetch(source.frames(index, only=wanted), _AHEAD)
        self._asked = index
        try:
            while self._next is None or self._next.index < index:
                self._next = None  # before another is made
                self._next = next(self._frames)
        except (StopIteration, SourceError) as error:
            raise SkipImage("cannot be decoded any more") from error
        if self._next.index != index or self._next.size_hw != item.size_hw:
            raise SkipImage("cannot be decoded any more")
        return self._next.image

    def close(self) -> None:
        """Let go of the video."""
        self._stop()
        self._video, self._source = None, ""

    def _stop(self) -> None:
        if self._frames is not None:
            self._frames.close()
        self._frames = self._next = None

    def _source_of(self, item: Item) -> VideoSource:
        assert item.group is not None, "frames are grouped by their video"
        if item.group != self._video:
            self.close()
            self._video = item.group
            try:
                self._source = self._open(self._records[item.group])
            except SkipImage as reason:
                self._source = str(reason)
        if isinstance(self._source, str):
            raise SkipImage(self._source)
        return self._source

    def _open(self, video: VideoRecord) -> VideoSource:
        # FFmpeg takes a while to load, and most exports are of images.
        from grounded_sam2.sources.video import open_video

        path = video.path
        if path is None:
            raise SkipImage("are of videos that were never files")
        if self._images_from is not None:
            path = self._images_from / PurePosixPath(video.name).parent / path.name
        height, width = video.size_hw
        limits = ImageConfig(max_pixels=max(height * width, ImageConfig().max_pixels))
        try:
            source = open_video(path, stride=video.stride, name=video.name, limits=limits)
            same = (video.file_stamp is not None and source.stamp() == video.file_stamp) or (
                video.content_hash is not None and source.content_hash() == video.content_hash
            )
        except (SourceError, OSError) as error:
            raise SkipImage(
                "are of videos that are gone or broken; say where they are now (images_from)"
            ) from error
        if not same:
            raise SkipImage("are of videos that have changed since they were labeled; label again")
        return source
