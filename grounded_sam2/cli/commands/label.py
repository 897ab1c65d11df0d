"""``grounded-sam2 label``: images labeled into a store, and datasets from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grounded_sam2.cli.options import (
    ConfigOption,
    ImageFormatOption,
    ImagesOption,
    MinConfidenceOption,
    MinPolygonIouOption,
    NewRunOption,
    OntologyOption,
    SeedOption,
    SegmentationOption,
    SetOption,
    SplitByOption,
    SplitOption,
    build_export_options,
    build_pipeline,
    existing_inputs,
    validated_formats,
)

__all__ = ["label"]


def label(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES",
            help="A folder, a file, a pattern in quotes, a list file, a table or dataset of "
            "images, a zip, an address; or several files.",
        ),
    ],
    ontology: OntologyOption = None,
    config: ConfigOption = "default",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="OUT",
            help="Output folder; IMAGES_labeled beside the images if absent.",
        ),
    ] = None,
    formats: ImageFormatOption = None,
    split: SplitOption = "1",
    split_by: SplitByOption = "content",
    seed: SeedOption = 0,
    images: ImagesOption = "copy",
    segmentation: SegmentationOption = "rle",
    min_polygon_iou: MinPolygonIouOption = 0.98,
    extension: Annotated[
        list[str] | None,
        typer.Option(
            "--extension",
            metavar=".EXT",
            help="Read only files with this extension, such as .jpg. Repeatable.",
        ),
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive/--no-recursive", help="Read sub-folders too.")
    ] = True,
    column: Annotated[
        str | None,
        typer.Option(
            "--column", metavar="NAME", help="Column of a table or list that holds the images."
        ),
    ] = None,
    min_confidence: MinConfidenceOption = None,
    settings: SetOption = None,
    new_run: NewRunOption = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try failed images again.")
    ] = False,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Drop the labels of images that are no longer in the source."),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Also show how long each stage worked.")
    ] = False,
) -> None:
    """Label images and write them as datasets.

    Stopped with Ctrl-C or by a power cut, the same command continues; when all is done, it does
    nothing. After a change of the ontology, only new captions are detected. An image that cannot
    be read is reported and left out. Without --format, a YOLO dataset is written.

    \b
    Example:
      grounded-sam2 label images/ --ontology shapes --config demo --out labeled \\
        --format yolo --format coco --split 0.8/0.1/0.1
    """
    from grounded_sam2.cli.progress import ProgressBar
    from grounded_sam2.cli.run_tables import print_label_result, print_stages
    from grounded_sam2.errors import ImageError
    from grounded_sam2.sources.folder import IMAGE_EXTENSIONS

    source = existing_inputs(inputs, "IMAGES", patterns=True)
    names = validated_formats(formats or ["yolo"], of_images=True)
    export_options = build_export_options(
        split=split,
        split_by=split_by,
        seed=seed,
        images=images,
        segmentation=segmentation,
        min_polygon_iou=min_polygon_iou,
    )
    model = build_pipeline(ontology, config, min_confidence, settings)
    with ProgressBar() as bar:
        result = model.label(
            source,
            extension or IMAGE_EXTENSIONS,
            out,
            formats=names,
            export_options=export_options,
            recursive=recursive,
            column=column,
            new_run=new_run,
            retry_failed=retry_failed,
            prune=prune,
            progress=bar,
        )
    print_label_result(result)
    if verbose:
        print_stages(result.run)
    if not result.summary.images:
        raise ImageError("none of the images could be labeled; the reasons are above")
