"""``grounded-sam2 demo``: synthetic scenes or clips, labeled by the embedded models and scored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo"]


def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Folder for all files of the demo.")
    ] = Path("demo"),
    images: Annotated[
        int, typer.Option("--images", metavar="N", min=1, help="Number of scenes.")
    ] = 24,
    video: Annotated[
        bool, typer.Option("--video", help="Track shapes through synthetic clips instead.")
    ] = False,
    clips: Annotated[
        int, typer.Option("--clips", metavar="N", min=1, help="Number of clips, with --video.")
    ] = 2,
    frames: Annotated[
        int, typer.Option("--frames", metavar="N", min=1, help="Frames per clip, with --video.")
    ] = 60,
    # Greater seeds may give scenes that the models were trained on.
    seed: Annotated[
        int,
        typer.Option("--seed", metavar="N", min=0, max=999, help="Seed: 0 to 999."),
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
            tracked = run_clip_demo(out, clips=clips, frames=frames, seed=seed, progress=video_bar)
        print_clip_demo(tracked)
    else:
        from grounded_sam2.demo.run import run_demo

        with ProgressBar() as bar:
            labeled = run_demo(out, images=images, seed=seed, progress=bar)
        print_demo(labeled)
