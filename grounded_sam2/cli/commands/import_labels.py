"""``grounded-sam2 import``: existing labels as a run of a label store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["import_labels"]


def import_labels(
    dataset: Annotated[
        Path,
        typer.Argument(
            metavar="DATASET",
            help="COCO file or folder, YOLO folder or data.yaml, or folder of Parquet files.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="OUT", help="Output folder; may hold earlier runs.")
    ],
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="NAME", help="coco, yolo or hf; detected from the files if absent."
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="FOLDER",
            help="Where the images are, if not where the format expects them.",
        ),
    ] = None,
    origin: Annotated[
        str, typer.Option("--origin", metavar="WHO", help="Who made the labels: human or model.")
    ] = "human",
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="TEXT",
            help="Name of a run of its own for this state of the dataset.",
        ),
    ] = None,
    crowds: Annotated[
        bool, typer.Option("--crowds", help="Import regions marked as crowds as objects too.")
    ] = False,
) -> None:
    """Read existing labels into a label store.

    They become a run of their own, which can be exported, compared and merged. Needs no model. The
    same command again updates the run to the dataset's current labels. An image that cannot be
    read becomes a failed row; annotations that cannot be read are counted, with examples.

    \b
    Example:
      grounded-sam2 import dataset/ --out labeled --origin human
    """
    from grounded_sam2.cli.progress import ProgressBar
    from grounded_sam2.cli.run_tables import print_counts
    from grounded_sam2.cli.tables import print_import
    from grounded_sam2.errors import DatasetError, ImageError
    from grounded_sam2.importers import check_format
    from grounded_sam2.importers import import_labels as import_dataset
    from grounded_sam2.store import LabelStore

    if not dataset.exists():
        raise typer.BadParameter(f"'{dataset}' does not exist", param_hint="DATASET")
    if origin not in ("human", "model"):
        raise typer.BadParameter("must be human or model", param_hint="--origin")
    if format_name is not None:
        try:
            check_format(format_name)
        except DatasetError as error:
            raise typer.BadParameter(str(error), param_hint="--format") from error
    with ProgressBar("importing") as bar:
        summary = import_dataset(
            dataset,
            out,
            format=format_name,
            images=images,
            origin=origin,  # type: ignore[arg-type]  # checked above
            name=name,
            crowds=crowds,
            progress=bar,
        )
    with LabelStore.open(out) as store:
        print_counts(store, summary.counts)
        print_import(summary, store.path)
    if not summary.counts.images:
        raise ImageError(f"none of the images of '{dataset}' could be read; the reasons are above")
