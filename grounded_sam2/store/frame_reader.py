"""Labeled video frames, decoded in order and each at most once.

One video is open at a time, and few of its frames are in memory: the next frames are decoded while
one is used.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from grounded_sam2.config import ImageConfig
from grounded_sam2.errors import SourceError, UnavailableImageError, UnavailableReason
from grounded_sam2.results import Image, VideoFrame
from grounded_sam2.store.records import Item, StoredVideo, VideoRecord

if TYPE_CHECKING:
    from grounded_sam2.sources.video import VideoSource

__all__ = ["FrameReader"]

_PREFETCHED = 2
"""Frames to decode ahead of the one that is requested."""


class FrameReader:
    """Reader of video frames. Request the frames of a video in order: going back decodes again.

    Args:
        videos: videos of the run.
        images_from: folder that the videos are in now; ``None`` for their recorded paths.
        only: indices of the frames that will be requested, by the name of the video, where known;
            the others are not converted to images.
    """

    def __init__(
        self,
        videos: Sequence[StoredVideo],
        images_from: Path | None = None,
        only: Mapping[str, AbstractSet[int]] | None = None,
    ) -> None:
        self._records = {video.record.name: video.record for video in videos}
        self._images_from = images_from
        self._only = only or {}
        self._video: str | None = None
        self._source: VideoSource | UnavailableReason | None = None
        """The open video, or the reason why it cannot be read."""
        self._frames: Generator[VideoFrame, None, None] | None = None
        self._next: VideoFrame | None = None
        self._requested = 0

    def video_path(self, item: Item) -> Path:
        """Return the file of the video, or the folder of its frames, checked to be unchanged.

        Raises:
            UnavailableImageError: the video is missing, has changed, or was never a file.
        """
        path = self._source_of(item).path
        assert path is not None, "it was opened by its path"
        return path

    def frame_file(self, item: Item) -> Path | None:
        """Return the file of a frame, or ``None`` if its video is a single file.

        Raises:
            UnavailableImageError: as in `video_path`.
        """
        from grounded_sam2.sources.video.frame_folder import FrameFolder

        source = self._source_of(item)
        if not isinstance(source, FrameFolder):
            return None
        assert item.frame_index is not None, "only frames have a frame file"
        return source.files[item.frame_index]

    def image(self, item: Item) -> Image:
        """Decode a frame: upright RGB ``(h, w, 3)`` ``uint8``.

        Raises:
            UnavailableImageError: as in `video_path`, or the frame cannot be decoded any more.
        """
        from grounded_sam2.sources.video import prefetch

        source, index = self._source_of(item), item.frame_index
        assert index is not None, "only frames can be decoded"
        if self._frames is None or index < self._requested:
            self._stop()
            assert item.group is not None, "frames are grouped by their video"
            only = self._only.get(item.group)
            self._frames = prefetch(source.frames(index, only=only), _PREFETCHED)
        self._requested = index
        try:
            while self._next is None or self._next.index < index:
                self._next = None  # free it before the next one is decoded
                self._next = next(self._frames)
        except (StopIteration, SourceError) as error:
            raise UnavailableImageError(item.item_id, UnavailableReason.UNDECODABLE) from error
        if self._next.index != index or self._next.size_hw != item.size_hw:
            raise UnavailableImageError(item.item_id, UnavailableReason.UNDECODABLE)
        return self._next.image

    def close(self) -> None:
        """Close the open video."""
        self._stop()
        self._video = self._source = None

    def _stop(self) -> None:
        if self._frames is not None:
            self._frames.close()
        self._frames = self._next = None

    def _source_of(self, item: Item) -> VideoSource:
        assert item.group is not None, "frames are grouped by their video"
        if self._source is None or item.group != self._video:
            self.close()
            self._source = self._open(self._records[item.group])
            self._video = item.group
        if isinstance(self._source, UnavailableReason):
            raise UnavailableImageError(item.item_id, self._source)
        return self._source

    def _open(self, video: VideoRecord) -> VideoSource | UnavailableReason:
        # FFmpeg is slow to load, and most runs hold no videos.
        from grounded_sam2.sources.video import open_video

        path = video.path
        if path is None:
            return UnavailableReason.VIDEO_NEVER_A_FILE
        if self._images_from is not None:
            path = self._images_from / PurePosixPath(video.name).parent / path.name
        height, width = video.size_hw
        limits = ImageConfig(max_pixels=max(height * width, ImageConfig().max_pixels))
        try:
            source = open_video(path, stride=video.stride, name=video.name, limits=limits)
            unchanged = (video.file_stamp is not None and source.stamp() == video.file_stamp) or (
                video.content_hash is not None and source.content_hash() == video.content_hash
            )
        except (SourceError, OSError):
            return UnavailableReason.VIDEO_GONE
        return source if unchanged else UnavailableReason.VIDEO_CHANGED
