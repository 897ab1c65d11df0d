"""``grounded-sam2 track``: videos, every frame labeled into a store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from grounded_sam2.cli.options import (
    ConfigOption,
    FormatOption,
    MinConfidenceOption,
    NewRunOption,
    OntologyOption,
    SetOption,
    build_pipeline,
    existing_inputs,
    validated_formats,
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
            metavar="PATH",
            help="Also write annotated videos: to a file (.mp4, .webm …), or to a folder for any "
            "number of them.",
        ),
    ] = None,
    formats: FormatOption = None,
    detect_every: Annotated[
        int | None,
        typer.Option(
            "--detect-every",
            metavar="N",
            min=1,
            help="Frames from one detection step to the next; short for --set "
            "tracking.detect_every=….",
        ),
    ] = None,
    stride: Annotated[
        int, typer.Option("--stride", metavar="N", min=1, help="Read every Nth frame.")
    ] = 1,
    start: Annotated[
        float | None, typer.Option("--start", metavar="SECONDS", help="Time of the first frame.")
    ] = None,
    end: Annotated[
        float | None, typer.Option("--end", metavar="SECONDS", help="Time to stop at.")
    ] = None,
    fps: Annotated[
        float,
        typer.Option("--fps", metavar="RATE", help="Frame rate of folders of frames."),
    ] = 25.0,
    min_confidence: MinConfidenceOption = None,
    settings: SetOption = None,
    new_run: NewRunOption = False,
) -> None:
    """Track objects through videos, and label every frame.

    The detector runs on some frames; the tracker propagates its objects to all others. Memory does
    not grow with the length of a video. Stopped with Ctrl-C or by a power cut, the same command
    continues; labeled frames are not labeled again. Write datasets with --format, or later with
    `grounded-sam2 export`.

    \b
    Example:
      grounded-sam2 track clip.mp4 --ontology shapes --config demo --out tracked \\
        --video annotated.mp4
    """
    from grounded_sam2.cli.progress import VideoProgressBar
    from grounded_sam2.cli.run_tables import print_track_result
    from grounded_sam2.errors import SourceError, VideoError

    given: list[str | int] = [
        int(video) if video.isdecimal() and not os.path.lexists(video) else video
        for video in videos
    ]
    source = existing_inputs(given, "VIDEOS")
    names = validated_formats(formats) if formats else []
    model = build_pipeline(ontology, config, min_confidence, settings)
    with VideoProgressBar() as bar:
        result = model.track(
            source,
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
        raise SourceError("none of the videos could be labeled; the reasons are above")
    if result.not_rendered:
        raise VideoError(
            f"{len(result.not_rendered)} videos were labeled but could not be drawn; the reasons "
            "are above"
        )
