"""``grounded-sam2 label``: a folder of images, labeled into a store and written as datasets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from grounded_sam2.cli.options import (
    ConfigOption,
    ImageFormatOption,
    ImagesOption,
    MinConfidenceOption,
    MinPolygonIouOption,
    OntologyOption,
    SeedOption,
    SegmentationOption,
    SetOption,
    SplitByOption,
    SplitOption,
    chosen_config,
    chosen_formats,
    export_options,
)

__all__ = ["label"]


def label(
    pictures: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES",
            help="A folder, a file, a pattern in quotes, a list file, a table or dataset of "
            "pictures, a zip, an address; or several files.",
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
            "--extension", metavar=".EXT", help="Take only these endings, such as .jpg. Repeatable."
        ),
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive/--no-recursive", help="Go into sub-folders.")
    ] = True,
    column: Annotated[
        str | None,
        typer.Option(
            "--column", metavar="NAME", help="Column of a table or list that holds the images."
        ),
    ] = None,
    min_confidence: MinConfidenceOption = None,
    options: SetOption = None,
    new_run: Annotated[
        bool,
        typer.Option("--new-run", help="Label again with other settings; keeps earlier labels."),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try failed images again.")
    ] = False,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Drop the labels of images that are no longer there."),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Also show how busy each stage was.")
    ] = False,
) -> None:
    """Label images and write them as datasets.

    Stopped with Ctrl-C or by a power cut, the same command continues; when all is done, it does
    nothing. When the ontology has changed, only what is new is asked. An image that cannot be read
    is reported and left out. Without --format, a YOLO dataset is written.

    \b
    Example:
      grounded-sam2 label images/ --ontology shapes --config demo --out labeled \\
        --format yolo --format coco --split 0.8/0.1/0.1
    """
    from grounded_sam2.cli.progress import ProgressBar
    from grounded_sam2.cli.run_tables import print_label_result, print_stages
    from grounded_sam2.errors import ImageError
    from grounded_sam2.pipeline import GroundedSAM2
    from grounded_sam2.sources.folder import IMAGE_EXTENSIONS
    from grounded_sam2.sources.image_list import is_address
    from grounded_sam2.sources.patterns import is_pattern

    for given in pictures:
        if not (is_address(given) or is_pattern(given) or os.path.lexists(given)):
            raise typer.BadParameter(f"'{given}' does not exist", param_hint="IMAGES")
    names = chosen_formats(formats or ["yolo"], of_images=True)
    how = export_options(
        split=split,
        split_by=split_by,
        seed=seed,
        images=images,
        segmentation=segmentation,
        min_polygon_iou=min_polygon_iou,
    )
    model = GroundedSAM2(ontology, config=chosen_config(config, min_confidence, options))
    with ProgressBar() as bar:
        result = model.label(
            pictures[0] if len(pictures) == 1 else pictures,
            extension or IMAGE_EXTENSIONS,
            out,
            formats=names,
            export_options=how,
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
        raise ImageError("not one image could be labeled; the reasons are above")
