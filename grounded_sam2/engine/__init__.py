"""The engine: sources → inference → label store, resumable, in bounded memory.

Imports nothing, so that its small parts stay light; the room offers

- `image_run.label_images`, `video_run.label_videos`: the two kinds of runs;
- `planner.plan_image`, `planner.stored_images`: what has to be done with an image;
- `work_item.WorkItem`, `work_item.postprocess_item`: an image on its way, in named states;
- `run_config.image_run_config`, `run_config.video_run_config`: the identity of a run;
- `summaries`: what runs report, `RunInterrupted` among it.
"""

__all__ = [
    "batched_inference",
    "image_run",
    "loader",
    "memory_budget",
    "planner",
    "run_config",
    "signals",
    "stages",
    "summaries",
    "video_resume",
    "video_run",
    "work_item",
]
