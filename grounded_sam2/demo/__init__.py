"""Synthetic images and clips with known masks, the embedded models, and the demo command.

`scenes` makes images and `clips` makes videos of colored shapes (`painting`, `clip_motion`).
`coco_metrics` and `davis_metrics` score labels against their masks. `run` and `run_clips` are the
two demos: make data, label it with the embedded models, score and draw the labels. ``weights/``
holds these models; the scripts that trained them are outside the package.
"""

__all__ = ()
