"""``grounded-sam2 report``: one HTML page about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grounded_sam2.cli.options import (
    ImagesFromOption,
    RunOption,
    SeedOption,
    SplitByOption,
    SplitOption,
    StoreArgument,
    parse_settings,
)

__all__ = ["report"]


def report(
    folder: StoreArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The page; FOLDER/report.html if absent."),
    ] = None,
    json_out: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Also write all issues to this JSON file."),
    ] = None,
    images: Annotated[
        int,
        typer.Option("--images", metavar="N", min=0, help="Images on the page, at most."),
    ] = 200,
    labels: Annotated[
        int,
        typer.Option("--labels", metavar="N", min=0, help="Labels to review on the page, at most."),
    ] = 150,
    split: SplitOption = "1",
    split_by: SplitByOption = "content",
    seed: SeedOption = 0,
    images_from: ImagesFromOption = None,
    run: RunOption = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Replace one threshold, such as low_confidence=0.4; the page lists them all. "
            "Repeatable.",
        ),
    ] = None,
) -> None:
    """Write an HTML page with the labels to review first.

    One self-contained file: counts, images with their masks, histograms, and the labels that
    are most likely wrong, each with its issues. Needs no model and no network.

    \b
    Example:
      grounded-sam2 report labeled --split 0.8/0.1/0.1 --json labeled/issues.json
    """
    from grounded_sam2.cli.progress import ProgressBar
    from grounded_sam2.cli.tables import print_report
    from grounded_sam2.errors import ExportError
    from grounded_sam2.exporters import parse_split
    from grounded_sam2.report import ReportOptions, Thresholds, write_report

    try:
        shares = parse_split(split)
    except ExportError as error:
        raise typer.BadParameter(str(error), param_hint="--split") from error
    options = ReportOptions(
        images=images,
        labels=labels,
        seed=seed,
        split=shares,
        split_by=split_by,  # type: ignore[arg-type]  # checked there
        images_from=images_from,
        thresholds=Thresholds.from_values(parse_settings(settings)),
    )
    with ProgressBar("reading") as bar:
        summary = write_report(
            folder, out, run_id=run, options=options, json_out=json_out, progress=bar
        )
    print_report(summary)
