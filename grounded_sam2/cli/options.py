"""Options that several commands share, and the values that the library takes for them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from grounded_sam2.errors import ConfigError

if TYPE_CHECKING:
    from grounded_sam2.exporters import ExportOptions
    from grounded_sam2.pipeline import GroundedSAM2
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
    "NewRunOption",
    "OntologyOption",
    "ReviewedOnlyOption",
    "RunOption",
    "SeedOption",
    "SegmentationOption",
    "SetOption",
    "SplitByOption",
    "SplitOption",
    "StoreArgument",
    "TwoRunsOption",
    "UnreviewedOption",
    "WorkersOption",
    "build_export_options",
    "build_pipeline",
    "existing_inputs",
    "named_values",
    "parse_settings",
    "two_runs",
    "validated_formats",
]

_Input = TypeVar("_Input", str, str | int)

ConfigOption = Annotated[
    str,
    typer.Option(
        "--config",
        metavar="NAME|FILE",
        help="Shipped name (default, fast, accurate, demo) or YAML file. 'demo' uses the embedded "
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
        help="Drop detections below this confidence; short for --set detector.min_confidence=….",
    ),
]
ExportMinConfidenceOption = Annotated[
    float | None,
    typer.Option(
        "--min-confidence",
        metavar="0..1",
        help="Export objects with at least this detector confidence. A value below the threshold "
        "of the labeling run adds objects that the run dropped.",
    ),
]
ExportMinMaskQualityOption = Annotated[
    float | None,
    typer.Option(
        "--min-mask-quality",
        metavar="0..1",
        help="Export objects whose mask has at least this predicted IoU.",
    ),
]
ReviewedOnlyOption = Annotated[
    bool,
    typer.Option(
        "--reviewed-only",
        help="Export only what people have reviewed: images that were confirmed or of which an "
        "object was decided about, and in them reviewed objects.",
    ),
]
UnreviewedOption = Annotated[
    str | None,
    typer.Option(
        "--unreviewed",
        metavar="as-is|skip",
        help="Objects that nobody has decided about: export them as they are (the default, and "
        "possible with --reviewed-only), or leave them out.",
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
        "--frame-stride",
        metavar="N",
        help="Export every Nth labeled frame of a video; 1 for all.",
    ),
]
FrameFormatOption = Annotated[
    str,
    typer.Option(
        "--frame-format",
        metavar="jpg|png",
        help="Image format of video frames, where the dataset format allows both.",
    ),
]
FrameQualityOption = Annotated[
    int,
    typer.Option(
        "--frame-quality", metavar="1..100", help="JPEG quality of video frames written as JPEG."
    ),
]
SplitOption = Annotated[
    str,
    typer.Option(
        "--split",
        metavar="A/B/C",
        help="Shares of train/val/test; assigned by the images' content.",
    ),
]
SplitByOption = Annotated[
    str,
    typer.Option(
        "--split-by",
        metavar="UNIT",
        help="What is assigned to a split: content (each image), or folder, which keeps the images "
        "of a folder together; a folder named like a split is that split.",
    ),
]
SeedOption = Annotated[
    int,
    typer.Option("--seed", metavar="N", help="Another seed assigns other images to each split."),
]
ImagesOption = Annotated[
    str,
    typer.Option(
        "--images", metavar="MODE", help="How images get into a dataset: copy, link or symlink."
    ),
]
SegmentationOption = Annotated[
    str,
    typer.Option(
        "--segmentation",
        metavar="FORM",
        help="Masks of coco, cvat and labelstudio: rle (exact), or polygons for readers that "
        "accept nothing else.",
    ),
]
MinPolygonIouOption = Annotated[
    float,
    typer.Option(
        "--min-polygon-iou",
        metavar="0..1",
        help="Least IoU of exported polygons with their masks: less for fewer points, 1 for exact "
        "outlines.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        help="Processes that trace polygons in large exports, this one included; chosen from the "
        "machine if absent.",
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
    typer.Option("--run", metavar="ID", help="Id of the run; the current one if absent."),
]
TwoRunsOption = Annotated[
    list[int] | None,
    typer.Option(
        "--run",
        metavar="ID",
        help="The two runs, one option each; not needed if the store has only two.",
    ),
]
MinIouOption = Annotated[
    float,
    typer.Option(
        "--min-iou", metavar="0..1", help="Least IoU at which two objects of one class match."
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
NewRunOption = Annotated[
    bool,
    typer.Option("--new-run", help="Label again with other settings; keeps earlier labels."),
]
StoreArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER", exists=True, file_okay=False, help="Output folder of a labeling run."
    ),
]


def existing_inputs(
    inputs: Sequence[_Input], argument: str, *, patterns: bool = False
) -> _Input | list[_Input]:
    """The inputs as the library takes them: one alone, or a list of several.

    Args:
        inputs: paths, addresses, or numbers of cameras.
        argument: name of the argument, for the message.
        patterns: accept patterns such as ``images/*.jpg``.

    Raises:
        typer.BadParameter: a path does not exist.
    """
    from grounded_sam2.sources.image_list import is_address
    from grounded_sam2.sources.patterns import is_pattern

    for given in inputs:
        if isinstance(given, int) or is_address(given) or os.path.lexists(given):
            continue
        if not (patterns and is_pattern(given)):
            raise typer.BadParameter(f"'{given}' does not exist", param_hint=argument)
    return inputs[0] if len(inputs) == 1 else list(inputs)


def build_pipeline(
    ontology: str | None, config: str, min_confidence: float | None, settings: list[str] | None
) -> GroundedSAM2:
    """The pipeline of ``--ontology``, ``--config``, ``--min-confidence`` and ``--set``."""
    from grounded_sam2.config import load_config
    from grounded_sam2.pipeline import GroundedSAM2

    values = parse_settings(settings)
    if min_confidence is not None:
        values["detector.min_confidence"] = min_confidence
    return GroundedSAM2(ontology, config=load_config(config).with_options(values))


def parse_settings(settings: list[str] | None) -> dict[str, object]:
    """Keys and values of ``--set KEY=VALUE``; values are parsed as YAML."""
    import yaml

    values: dict[str, object] = {}
    for setting in settings or ():
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting!r}: write KEY=VALUE, such as runtime.device=cpu")
        try:
            values[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {setting!r}: the value cannot be read") from error
    return values


def named_values(given: list[str] | None, option: str, form: str) -> list[tuple[str, str]]:
    """The two sides of each ``NAME=VALUE``; names hold no equals sign."""
    pairs = [each.partition("=") for each in given or ()]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise typer.BadParameter(f"{name!r}: write {form}", param_hint=option)
    return [(name, value) for name, _, value in pairs]


def validated_formats(names: list[str] | None, *, of_images: bool = False) -> list[str]:
    """The formats without duplicates; an unknown one fails before hours of labeling."""
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


def build_export_options(
    *,
    split: str,
    split_by: str,
    seed: int,
    images: str,
    segmentation: str,
    min_polygon_iou: float,
    min_confidence: float | None = None,
    min_mask_quality: float | None = None,
    reviewed_only: bool = False,
    unreviewed: str | None = None,
    images_from: Path | None = None,
    run_id: int | None = None,
    workers: int | None = None,
    frame_stride: int = 1,
    frame_format: str = "jpg",
    frame_quality: int = 95,
) -> ExportOptions:
    """The options of an export.

    Raises:
        typer.BadParameter: a value is not allowed.
    """
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
            reviewed_only=reviewed_only,
            unreviewed=unreviewed,  # type: ignore[arg-type]
            images_from=images_from,
            workers=default_workers() if workers is None else workers,
            frame_stride=frame_stride,
            frame_format=frame_format,  # type: ignore[arg-type]
            frame_quality=frame_quality,
        )
    except ExportError as error:
        raise typer.BadParameter(str(error)) from error


def two_runs(store: LabelStore, given: list[int] | None) -> tuple[int, int]:
    """Ids of the two runs: those given, or the store's only two, in the order of their ids."""
    ids = given or sorted(run.id for run in store.runs())
    if len(ids) != 2:
        raise typer.BadParameter(
            f"name two of the runs of {store.path}: "
            + ", ".join(f"--run {run.id}" for run in store.runs()),
            param_hint="--run",
        )
    return ids[0], ids[1]
