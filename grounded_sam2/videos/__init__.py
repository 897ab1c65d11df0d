"""Videos labeled into a store, and shown with their labels.

videos = find_videos(["clips/", "more.mp4"])
track_videos(videos, store, detector, tracker, ontology, config)
render("annotated.mp4", store, run_id, "more")
"""

from grounded_sam2.videos.finding import find_videos
from grounded_sam2.videos.rendering import render
from grounded_sam2.videos.runner import TrackSummary, VideoProgress, VideoSummary, track_videos

__all__ = [
    "TrackSummary",
    "VideoProgress",
    "VideoSummary",
    "find_videos",
    "render",
    "track_videos",
]
