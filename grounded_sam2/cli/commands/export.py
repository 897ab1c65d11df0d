"""``grounded-sam2 export``: datasets from a label store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grounded_sam2.cli.options import (
    ExportMinConfidenceOption,
    ExportMinMaskQualityOption,
    FormatOption,
    FrameFormatOption,
    FrameQualityOption,
    FrameStrideOption,
    ImagesFromOption,
    ImagesOption,
    MinPolygonIouOption,
    ReviewedOnlyOption,
    RunOption,
    SeedOption,
    SegmentationOption,
    SplitByOption,
    SplitOption,
    StoreArgument,
    UnreviewedOption,
    WorkersOption,
    build_export_options,
    validated_formats,
)

__all__ = ["export"]


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
    min_polygon_iou: MinPolygonIouOption = 0.98,
    min_confidence: ExportMinConfidenceOption = None,
    min_mask_quality: ExportMinMaskQualityOption = None,
    reviewed_only: ReviewedOnlyOption = False,
    unreviewed: UnreviewedOption = None,
    images_from: ImagesFromOption = None,
    run: RunOption = None,
    workers: WorkersOption = None,
    frame_stride: FrameStrideOption = 1,
    frame_format: FrameFormatOption = "jpg",
    frame_quality: FrameQualityOption = 95,
) -> None:
    """Write a label store as a dataset.

    Needs no model, only the label store and the images at their places.

    \b
    Example:
      grounded-sam2 export labeled --format coco --split 0.8/0.1/0.1
    """
    from grounded_sam2.cli.tables import print_export
    from grounded_sam2.exporters import export as write_dataset
    from grounded_sam2.store import LabelStore

    names = validated_formats(formats)
    export_options = build_export_options(
        split=split,
        split_by=split_by,
        seed=seed,
        images=images,
        segmentation=segmentation,
        min_polygon_iou=min_polygon_iou,
        min_confidence=min_confidence,
        min_mask_quality=min_mask_quality,
        reviewed_only=reviewed_only,
        unreviewed=unreviewed,
        images_from=images_from,
        run_id=run,
        workers=workers,
        frame_stride=frame_stride,
        frame_format=frame_format,
        frame_quality=frame_quality,
    )
    with LabelStore.open(folder) as store:
        for name in names:
            print_export(write_dataset(name, store, (out or folder) / name, export_options))
