"""``grounded-sam2 track``: videos, labeled frame by frame into a store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from grounded_sam2.cli.options import (
    ConfigOption,
    FormatOption,
    MinConfidenceOption,
    OntologyOption,
    SetOption,
    chosen_config,
    chosen_formats,
)

__all__ = ["track"]


def track(
    videos: Annotated[
        list[str],
        typer.Argument(
            metavar="VIDEOS",
            help="A video file, a folder of frames, a folder of videos, an address, a camera's "
            "number; or several.",
        ),
    ],
    ontology: OntologyOption = None,
    config: ConfigOption = "default",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="OUT",
            help="Output folder; VIDEOS_labeled beside the videos if absent.",
        ),
    ] = None,
    annotated: Annotated[
        Path | None,
        typer.Option(
            "--video",
            metavar="PLACE",
            help="Also write videos with their labels drawn in: a file (.mp4, .webm …), or a "
            "folder for any number of them.",
        ),
    ] = None,
    formats: FormatOption = None,
    detect_every: Annotated[
        int | None,
        typer.Option(
            "--detect-every",
            metavar="N",
            min=1,
            help="Frames from one look of the detector to the next; short for --set "
            "tracking.detect_every=….",
        ),
    ] = None,
    stride: Annotated[
        int, typer.Option("--stride", metavar="N", min=1, help="Take every Nth frame.")
    ] = 1,
    start: Annotated[
        float | None, typer.Option("--start", metavar="SECONDS", help="Where to begin.")
    ] = None,
    end: Annotated[
        float | None, typer.Option("--end", metavar="SECONDS", help="Where to stop.")
    ] = None,
    fps: Annotated[
        float,
        typer.Option("--fps", metavar="RATE", help="Frames per second of folders of frames."),
    ] = 25.0,
    min_confidence: MinConfidenceOption = None,
    options: SetOption = None,
    new_run: Annotated[
        bool,
        typer.Option("--new-run", help="Label again with other settings; keeps earlier labels."),
    ] = False,
) -> None:
    """Follow things through videos, and label every frame.

    The detector looks at some frames, the tracker carries what it finds to all others. Memory does
    not grow with the length of a video. Stopped with Ctrl-C or by a power cut, the same command
    continues; what is labeled is not labeled again. Datasets are written with
    `grounded-sam2 export`.

    \b
    Example:
      grounded-sam2 track clip.mp4 --ontology shapes --config demo --out tracked \\
        --video annotated.mp4
    """
    from grounded_sam2.cli.progress import VideoProgressBar
    from grounded_sam2.cli.run_tables import print_track_result
    from grounded_sam2.errors import SourceError, VideoError
    from grounded_sam2.pipeline import GroundedSAM2
    from grounded_sam2.sources.image_list import is_address

    given: list[str | int] = [
        int(video) if video.isdecimal() and not os.path.lexists(video) else video
        for video in videos
    ]
    for video in given:
        if isinstance(video, str) and not (is_address(video) or os.path.lexists(video)):
            raise typer.BadParameter(f"'{video}' does not exist", param_hint="VIDEOS")
    names = chosen_formats(formats) if formats else []
    model = GroundedSAM2(ontology, config=chosen_config(config, min_confidence, options))
    with VideoProgressBar() as bar:
        result = model.label_videos(
            given[0] if len(given) == 1 else given,
            out,
            formats=names,
            annotated=annotated,
            detect_every=detect_every,
            stride=stride,
            start=start,
            end=end,
            fps=fps,
            new_run=new_run,
            progress=bar,
        )
    print_track_result(result)
    if len(result.run.failed) == len(result.run.videos):
        raise SourceError("not one video could be labeled; the reasons are above")
    if result.not_drawn:
        raise VideoError(
            f"{len(result.not_drawn)} videos were labeled and could not be drawn; the reasons are "
            "above"
        )
