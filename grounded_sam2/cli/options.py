"""Options that several commands share, and what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grounded_sam2.errors import ConfigError

if TYPE_CHECKING:
    from grounded_sam2.config import Config
    from grounded_sam2.exporters import ExportOptions
    from grounded_sam2.store import LabelStore

__all__ = [
    "ConfigOption",
    "ExportMinConfidenceOption",
    "ExportMinMaskQualityOption",
    "FormatOption",
    "FrameFormatOption",
    "FrameQualityOption",
    "FrameStrideOption",
    "ImageFormatOption",
    "ImagesFromOption",
    "ImagesOption",
    "MinConfidenceOption",
    "MinIouOption",
    "MinPolygonIouOption",
    "OntologyOption",
    "RunOption",
    "SeedOption",
    "SegmentationOption",
    "SetOption",
    "SplitByOption",
    "SplitOption",
    "StoreArgument",
    "TwoRunsOption",
    "WorkersOption",
    "chosen_config",
    "chosen_formats",
    "export_options",
    "parsed_values",
    "two_runs",
]

ConfigOption = Annotated[
    str,
    typer.Option(
        "--config",
        metavar="NAME|FILE",
        help="Shipped name (default, fast, accurate, demo) or YAML file. 'demo' is the embedded "
        "models: offline, and only for colored shapes.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Replace one value of the configuration, such as runtime.device=cpu. Repeatable.",
    ),
]
MinConfidenceOption = Annotated[
    float | None,
    typer.Option(
        "--min-confidence",
        metavar="0..1",
        help="Drop detections below; short for --set detector.min_confidence=….",
    ),
]
ExportMinConfidenceOption = Annotated[
    float | None,
    typer.Option(
        "--min-confidence",
        metavar="0..1",
        help="Take objects that the detector was at least so sure of. Below the threshold of the "
        "labeling, these are more of what the models said.",
    ),
]
ExportMinMaskQualityOption = Annotated[
    float | None,
    typer.Option(
        "--min-mask-quality",
        metavar="0..1",
        help="Take objects whose mask has at least this predicted IoU.",
    ),
]
FormatOption = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help="Dataset format to write: yolo, coco, yolo-boxes, voc, masks, hf, jsonl, "
        "csv, cvat, labelstudio, youtube-vis, mots or davis. Repeatable.",
    ),
]
ImageFormatOption = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help="Dataset format to write: yolo, coco, yolo-boxes, voc, masks, hf, jsonl, "
        "csv, cvat or labelstudio. Repeatable.",
    ),
]
FrameStrideOption = Annotated[
    int,
    typer.Option(
        "--frame-stride", metavar="N", help="Take every Nth labeled frame of a video, 1 for all."
    ),
]
FrameFormatOption = Annotated[
    str,
    typer.Option(
        "--frame-format",
        metavar="jpg|png",
        help="How frames of videos are written, where a format takes both.",
    ),
]
FrameQualityOption = Annotated[
    int,
    typer.Option("--frame-quality", metavar="1..100", help="Of frames of videos written as JPEG."),
]
SplitOption = Annotated[
    str,
    typer.Option(
        "--split",
        metavar="A/B/C",
        help="Shares of train/val/test, drawn from the images' content.",
    ),
]
SplitByOption = Annotated[
    str,
    typer.Option(
        "--split-by",
        metavar="WHAT",
        help="What is drawn: content (each image), or folder, which keeps images of a folder "
        "together; a folder called like a split is that split.",
    ),
]
SeedOption = Annotated[
    int,
    typer.Option("--seed", metavar="N", help="Another seed draws other images into each split."),
]
ImagesOption = Annotated[
    str,
    typer.Option(
        "--images", metavar="HOW", help="How images come into a dataset: copy, link or symlink."
    ),
]
SegmentationOption = Annotated[
    str,
    typer.Option(
        "--segmentation",
        metavar="FORM",
        help="Masks of coco, cvat and labelstudio: rle (exact), or polygons for readers that know "
        "nothing else.",
    ),
]
MinPolygonIouOption = Annotated[
    float,
    typer.Option(
        "--min-polygon-iou",
        metavar="0..1",
        help="Overlap (IoU) that exported outlines have with their masks, at least: less for fewer "
        "points, 1 for exact outlines.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        help="Processes that outline masks in large exports, this one included; as many as pay if "
        "absent.",
    ),
]
OntologyOption = Annotated[
    str | None,
    typer.Option(
        "--ontology", metavar="NAME|FILE", help="Captions and classes: shipped name or YAML file."
    ),
]
RunOption = Annotated[
    int | None,
    typer.Option("--run", metavar="ID", help="Which run; the current one if absent."),
]
TwoRunsOption = Annotated[
    list[int] | None,
    typer.Option(
        "--run",
        metavar="ID",
        help="The two runs, each with an option of its own; not needed where there are just two.",
    ),
]
MinIouOption = Annotated[
    float,
    typer.Option(
        "--min-iou", metavar="0..1", help="Objects of one class that overlap less are two."
    ),
]
ImagesFromOption = Annotated[
    Path | None,
    typer.Option(
        "--images-from",
        metavar="FOLDER",
        help="Where the images are now, if they were moved.",
    ),
]
StoreArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER", exists=True, file_okay=False, help="Output folder of a labeling run."
    ),
]


def chosen_config(source: str, min_confidence: float | None, options: list[str] | None) -> Config:
    """The configuration with the options of the command line put in."""
    from grounded_sam2.config import load_config

    values = parsed_values(options)
    if min_confidence is not None:
        values["detector.min_confidence"] = min_confidence
    return load_config(source).with_options(values)


def parsed_values(options: list[str] | None) -> dict[str, object]:
    """What ``--set KEY=VALUE`` says; values are read as YAML."""
    import yaml

    values: dict[str, object] = {}
    for option in options or ():
        key, equals, value = option.partition("=")
        if not equals:
            raise ConfigError(f"--set {option!r}: write KEY=VALUE, such as runtime.device=cpu")
        try:
            values[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {option!r}: the value cannot be read") from error
    return values


def chosen_formats(names: list[str] | None, *, of_images: bool = False) -> list[str]:
    """The formats, each once, all known: before anything is labeled for hours."""
    from grounded_sam2.errors import ExportError
    from grounded_sam2.exporters import EXPORTERS, check_format

    if not names:
        raise typer.BadParameter(f"choose from {', '.join(EXPORTERS)}", param_hint="--format")
    for name in names:
        try:
            check_format(name, images_only=of_images)
        except ExportError as error:
            raise typer.BadParameter(str(error), param_hint="--format") from error
    return list(dict.fromkeys(names))


def export_options(
    *,
    split: str,
    split_by: str,
    seed: int,
    images: str,
    segmentation: str,
    min_polygon_iou: float,
    min_confidence: float | None = None,
    min_mask_quality: float | None = None,
    images_from: Path | None = None,
    run_id: int | None = None,
    workers: int | None = None,
    frame_stride: int = 1,
    frame_format: str = "jpg",
    frame_quality: int = 95,
) -> ExportOptions:
    """The options of an export; wrong ones are told as wrong use of the command."""
    from grounded_sam2.errors import ExportError
    from grounded_sam2.exporters import ExportOptions, default_workers, parse_split

    try:
        return ExportOptions(
            run_id=run_id,
            split=parse_split(split),
            split_by=split_by,  # type: ignore[arg-type]  # checked there
            seed=seed,
            images=images,  # type: ignore[arg-type]
            segmentation=segmentation,  # type: ignore[arg-type]
            min_polygon_iou=min_polygon_iou,
            min_confidence=min_confidence,
            min_mask_quality=min_mask_quality,
            images_from=images_from,
            workers=default_workers() if workers is None else workers,
            frame_stride=frame_stride,
            frame_format=frame_format,  # type: ignore[arg-type]
            frame_quality=frame_quality,
        )
    except ExportError as error:
        raise typer.BadParameter(str(error)) from error


def two_runs(store: LabelStore, given: list[int] | None) -> tuple[int, int]:
    """The two runs that are meant: those given, or those that there are, in order of their ids."""
    ids = given or sorted(run.id for run in store.runs())
    if len(ids) != 2:
        raise typer.BadParameter(
            f"give two of the runs of {store.path}: "
            + ", ".join(f"--run {run.id}" for run in store.runs()),
            param_hint="--run",
        )
    return ids[0], ids[1]
