"""Videos as sequences of frames: media files, folders of frames, streams, cameras, iterables.

`open_video` turns an input into a `VideoSource`; iterating that yields upright RGB frames, each
with its index and its time. `grounded_sam2.sources.video.discovery` finds the videos among several
inputs and in folders. `prefetch` decodes frames ahead in a thread.
"""

from grounded_sam2.sources.video.factory import is_video, local_video_path, open_video, video_name
from grounded_sam2.sources.video.source import (
    VIDEO_EXTENSIONS,
    BrokenFrame,
    BrokenFrameLog,
    FrameSelection,
    VideoSource,
    prefetch,
)

__all__ = [
    "VIDEO_EXTENSIONS",
    "BrokenFrame",
    "BrokenFrameLog",
    "FrameSelection",
    "VideoSource",
    "is_video",
    "local_video_path",
    "open_video",
    "prefetch",
    "video_name",
]
