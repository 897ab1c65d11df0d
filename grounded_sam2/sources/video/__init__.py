"""Videos as images in an order: files, folders of frames, streams, cameras, generators."""

from grounded_sam2.sources.video.extensions import VIDEO_EXTENSIONS
from grounded_sam2.sources.video.opening import is_video, open_video, path_of_video, video_name
from grounded_sam2.sources.video.prefetch import prefetched
from grounded_sam2.sources.video.source import (
    BrokenFrame,
    BrokenFrames,
    Selection,
    VideoSource,
)

__all__ = [
    "VIDEO_EXTENSIONS",
    "BrokenFrame",
    "BrokenFrames",
    "Selection",
    "VideoSource",
    "is_video",
    "open_video",
    "path_of_video",
    "prefetched",
    "video_name",
]
