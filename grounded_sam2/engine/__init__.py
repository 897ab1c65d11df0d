"""The engine: sources → inference → label store, resumable, in bounded memory.

`label_images` labels the images of a source, `label_videos` every frame of videos. An image is
planned (`plan_image`) as a `WorkItem`, which is loaded, sent to the models, post-processed
(`postprocess_item`) and written.
"""

from grounded_sam2.engine.image_run import label_images
from grounded_sam2.engine.planner import StoredImage, plan_image, stored_images
from grounded_sam2.engine.run_config import image_run_config, video_run_config
from grounded_sam2.engine.summaries import (
    ImageRunSummary,
    RunInterrupted,
    VideoRunSummary,
    VideoSummary,
)
from grounded_sam2.engine.video_run import label_videos
from grounded_sam2.engine.work_item import WorkItem, WorkState, postprocess_item

__all__ = [
    "ImageRunSummary",
    "RunInterrupted",
    "StoredImage",
    "VideoRunSummary",
    "VideoSummary",
    "WorkItem",
    "WorkState",
    "image_run_config",
    "label_images",
    "label_videos",
    "plan_image",
    "postprocess_item",
    "stored_images",
    "video_run_config",
]
