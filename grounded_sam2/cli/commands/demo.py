"""``grounded-sam2 demo``: synthetic scenes, labeled by the embedded models and scored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo"]


def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Folder for everything.")
    ] = Path("demo"),
    images: Annotated[
        int, typer.Option("--images", metavar="N", min=1, help="Number of scenes.")
    ] = 24,
    video: Annotated[
        bool, typer.Option("--video", help="Follow shapes through moving clips instead.")
    ] = False,
    clips: Annotated[
        int, typer.Option("--clips", metavar="N", min=1, help="Number of clips, with --video.")
    ] = 2,
    frames: Annotated[
        int, typer.Option("--frames", metavar="N", min=1, help="Of each clip, with --video.")
    ] = 60,
    # Scenes of later seeds may be ones that the models were trained on.
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, max=999, help="Which scenes: 0 to 999.")
    ] = 0,
) -> None:
    """Label synthetic scenes or clips, and score the result.

    Uses the embedded models and no network. Writes the images, their ground truth, the label
    store, YOLO and COCO datasets, and a contact sheet of annotated images; with --video the
    clips, the label store, annotated clips and a YouTube-VIS dataset.

    \b
    Examples:
      grounded-sam2 demo --out demo --images 24
      grounded-sam2 demo --video --out demo-video
    """
    from grounded_sam2.cli.progress import ProgressBar, VideoProgressBar
    from grounded_sam2.cli.run_tables import print_clip_demo, print_demo

    if video:
        from grounded_sam2.demo.run_clips import run_clip_demo

        with VideoProgressBar() as video_bar:
            found = run_clip_demo(out, clips=clips, frames=frames, seed=seed, progress=video_bar)
        print_clip_demo(found)
        return
    from grounded_sam2.demo.run import run_demo

    with ProgressBar() as bar:
        result = run_demo(out, images=images, seed=seed, progress=bar)
    print_demo(result)
