"""The commands. Each parses, calls the library and prints; the library is imported inside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grounded_sam2.cli.options import (
    ConfigOption,
    ExportMinConfidenceOption,
    ExportMinMaskQualityOption,
    FormatOption,
    ImagesOption,
    MinConfidenceOption,
    OntologyOption,
    RunOption,
    SeedOption,
    SegmentationOption,
    SetOption,
    SplitByOption,
    SplitOption,
    StoreArgument,
    chosen_config,
    chosen_formats,
    export_options,
)

__all__ = ["app"]

# Plain help, not rich panels: examples can be copied out of it, and it needs no import of rich.
app = typer.Typer(
    name="grounded-sam2", rich_markup_mode=None, add_completion=False, no_args_is_help=False
)


def _version(asked: bool) -> None:
    if asked:
        from grounded_sam2 import __version__

        print(f"grounded-sam2 {__version__}")
        raise typer.Exit


@app.callback()
def _grounded_sam2(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Labeled segmentation datasets from pictures and words.

    Florence-2 finds what your captions say, SAM 2 outlines it, and the result is a YOLO or COCO
    dataset.

    \b
    Examples:
      grounded-sam2 demo --out demo
      grounded-sam2 label images/ --ontology ontology.yaml --out labeled
    """


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Folder for everything.")
    ] = Path("demo"),
    images: Annotated[
        int, typer.Option("--images", metavar="N", min=1, help="Number of scenes.")
    ] = 24,
    # Scenes of later seeds may be ones that the models were trained on.
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, max=999, help="Which scenes: 0 to 999.")
    ] = 0,
) -> None:
    """Label synthetic scenes, and score the result.

    Uses the embedded models and no network. Writes the pictures, their ground truth, the label
    store, YOLO and COCO datasets, and a contact sheet of annotated pictures.

    \b
    Example:
      grounded-sam2 demo --out demo --images 24
    """
    from grounded_sam2.cli.progress import ProgressBar
    from grounded_sam2.cli.tables import print_demo
    from grounded_sam2.demo.run import run_demo

    with ProgressBar() as bar:
        result = run_demo(out, images=images, seed=seed, progress=bar)
    print_demo(result)


@app.command()
def predict(
    image: Annotated[
        str, typer.Argument(metavar="IMAGE", help="Picture: a path or an http(s) URL.")
    ],
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            "--prompt", metavar="CAPTION", help="Caption to look for; is its own class. Repeatable."
        ),
    ] = None,
    ontology: OntologyOption = None,
    config: ConfigOption = "default",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the annotated picture here.")
    ] = None,
    min_confidence: MinConfidenceOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, with masks, instead of a table.")
    ] = False,
    options: SetOption = None,
) -> None:
    """Find and outline things in one picture.

    \b
    Example:
      grounded-sam2 predict scene.png --prompt "red circle" --prompt "blue square" \\
        --config demo --out annotated.png
    """
    from grounded_sam2.cli.tables import detections_json, print_detections
    from grounded_sam2.drawing import annotate, picture_format, save_picture
    from grounded_sam2.errors import ImageError
    from grounded_sam2.pipeline import GroundedSAM2
    from grounded_sam2.sources.image import load_image

    if prompt and ontology:
        raise typer.BadParameter("--prompt and --ontology both say what to look for; give one")
    if "://" not in image and not Path(image).is_file():
        raise typer.BadParameter(f"'{image}' is no file", param_hint="IMAGE")
    if out is not None:
        try:
            picture_format(out)
        except ImageError as error:
            raise typer.BadParameter(str(error), param_hint="--out") from error
    model = GroundedSAM2(ontology, config=chosen_config(config, min_confidence, options))
    picture = load_image(image, config=model.config.images)
    detections = model.predict(picture, prompt or None)
    if out is not None:
        save_picture(annotate(picture, detections), out)
    if as_json:
        print(detections_json(detections))
    else:
        print_detections(detections)
        if out is not None:
            print(f"annotated picture: {out}")


@app.command()
def label(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", exists=True, help="Folder of pictures, or one picture."),
    ],
    ontology: OntologyOption = None,
    config: ConfigOption = "default",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="OUT",
            help="Output folder; FOLDER_labeled beside the pictures if absent.",
        ),
    ] = None,
    formats: FormatOption = None,
    split: SplitOption = "1",
    split_by: SplitByOption = "content",
    seed: SeedOption = 0,
    images: ImagesOption = "copy",
    segmentation: SegmentationOption = "rle",
    extension: Annotated[
        list[str] | None,
        typer.Option(
            "--extension", metavar=".EXT", help="Take only these endings, such as .jpg. Repeatable."
        ),
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive/--no-recursive", help="Go into sub-folders.")
    ] = True,
    min_confidence: MinConfidenceOption = None,
    options: SetOption = None,
    new_run: Annotated[
        bool,
        typer.Option("--new-run", help="Label again with other settings; keeps earlier labels."),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try failed pictures again.")
    ] = False,
) -> None:
    """Label a folder of pictures and write it as datasets.

    Stopped with Ctrl-C or by a power cut, the same command continues; when all is done, it does
    nothing. A picture that cannot be read is reported and left out. Without --format, a YOLO
    dataset is written.

    \b
    Example:
      grounded-sam2 label images/ --ontology shapes --config demo --out labeled \\
        --format yolo --format coco --split 0.8/0.1/0.1
    """
    from grounded_sam2.cli.progress import ProgressBar
    from grounded_sam2.cli.tables import print_label_result
    from grounded_sam2.errors import ImageError
    from grounded_sam2.pipeline import GroundedSAM2
    from grounded_sam2.sources.folder import IMAGE_EXTENSIONS

    names = chosen_formats(formats or ["yolo"])
    how = export_options(
        split=split, split_by=split_by, seed=seed, images=images, segmentation=segmentation
    )
    model = GroundedSAM2(ontology, config=chosen_config(config, min_confidence, options))
    with ProgressBar() as bar:
        result = model.label(
            folder,
            extension or IMAGE_EXTENSIONS,
            out,
            formats=names,
            export_options=how,
            recursive=recursive,
            new_run=new_run,
            retry_failed=retry_failed,
            progress=bar,
        )
    print_label_result(result)
    if not result.summary.images:
        raise ImageError(f"not one picture of '{folder}' could be labeled; the reasons are above")


@app.command()
def export(
    folder: StoreArgument,
    formats: FormatOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="OUT", help="Datasets go to OUT/FORMAT; FOLDER if absent."),
    ] = None,
    split: SplitOption = "1",
    split_by: SplitByOption = "content",
    seed: SeedOption = 0,
    images: ImagesOption = "copy",
    segmentation: SegmentationOption = "rle",
    min_confidence: ExportMinConfidenceOption = 0,
    min_mask_quality: ExportMinMaskQualityOption = 0,
    pictures_from: Annotated[
        Path | None,
        typer.Option(
            "--pictures-from",
            metavar="FOLDER",
            help="Where the pictures are now, if they were moved.",
        ),
    ] = None,
    run: RunOption = None,
) -> None:
    """Write what was labeled as a dataset.

    Needs no model: everything is in the label store, and the pictures where they were.

    \b
    Example:
      grounded-sam2 export labeled --format coco --split 0.8/0.1/0.1
    """
    from grounded_sam2.cli.tables import print_export
    from grounded_sam2.exporters import export as write_dataset
    from grounded_sam2.store import LabelStore

    names = chosen_formats(formats)
    how = export_options(
        split=split,
        split_by=split_by,
        seed=seed,
        images=images,
        segmentation=segmentation,
        min_confidence=min_confidence,
        min_mask_quality=min_mask_quality,
        pictures_from=pictures_from,
        run_id=run,
    )
    with LabelStore.open(folder) as store:
        for name in names:
            print_export(write_dataset(name, store, (out or folder) / name, how))


@app.command()
def info(
    folder: StoreArgument,
    run: RunOption = None,
) -> None:
    """Show what was labeled.

    Runs, models, ontology, counts and failures of a label store.

    \b
    Example:
      grounded-sam2 info labeled
    """
    from grounded_sam2.cli.tables import print_run, print_runs
    from grounded_sam2.store import LabelStore

    with LabelStore.open(folder) as store, store.snapshot():
        chosen = store.run(run)
        print_runs(store)
        print_run(store, chosen)
