"""Videos labeled into a store, and shown with their labels.

videos = find_videos(["clips/", "more.mp4"], VideoOptions(stride=2))
run = track_videos(videos, store, detector, tracker, ontology, config, recipe=recipe)
for video in videos:
    render(f"annotated/{video.name}.mp4", video.open(), store, run_id=run.run_id)
"""

from grounded_sam2.videos.finding import (
    GivenVideo,
    VideoGiven,
    VideoOptions,
    find_videos,
    listed,
)
from grounded_sam2.videos.rendering import is_rendered, render
from grounded_sam2.videos.runner import track_videos
from grounded_sam2.videos.summaries import TrackSummary, VideoProgress, VideoSummary

__all__ = [
    "GivenVideo",
    "TrackSummary",
    "VideoGiven",
    "VideoOptions",
    "VideoProgress",
    "VideoSummary",
    "find_videos",
    "is_rendered",
    "listed",
    "render",
    "track_videos",
]
