"""Label folders of images and videos into an output folder: store, datasets, annotated videos."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from grounded_sam2.config import Config
from grounded_sam2.engine.image_run import label_images
from grounded_sam2.engine.run_config import lowest_confidence, video_run_config
from grounded_sam2.engine.summaries import ImageRunSummary, VideoRunSummary
from grounded_sam2.engine.video_run import label_videos
from grounded_sam2.errors import ExportError
from grounded_sam2.exporters import EXPORTERS, ExportOptions, ExportSummary, check_format, export
from grounded_sam2.exporters.staging import EXPORT_MARKER
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.pipeline.models import LazyGrounder, LazyModels, LazyTracker, TiledModels
from grounded_sam2.results import ImageProgress, VideoProgress
from grounded_sam2.sources.factory import default_output_folder, open_image_source
from grounded_sam2.sources.video import local_video_path, video_name
from grounded_sam2.sources.video.discovery import (
    FoundVideo,
    VideoInput,
    VideoOptions,
    find_videos,
    list_video_inputs,
)
from grounded_sam2.store import LabelStore, StoreSummary
from grounded_sam2.visualization.annotated_video import annotated_video_paths, render_videos

__all__ = ["LabelResult", "label_folder", "track_into_folder"]

RunT = TypeVar("RunT", ImageRunSummary, VideoRunSummary)


@dataclass(frozen=True, slots=True)
class LabelResult(Generic[RunT]):
    """Summary of labeling images or videos, and the paths of its output."""

    folder: Path
    """Output folder: the label store and one folder per format."""
    run: RunT
    """Counts of this call."""
    summary: StoreSummary
    """Counts of everything that the run has labeled so far."""
    exports: Mapping[str, ExportSummary]
    """Datasets by format; empty if nothing could be labeled."""
    seconds: float
    annotated: tuple[Path, ...] = ()
    """Videos with their labels drawn in."""
    not_rendered: Mapping[str, str] = field(default_factory=dict)
    """Why there is no annotated video, by name of the video; its frames are labeled."""


def label_folder(
    models: LazyModels,
    ontology: CaptionOntology | None,
    images: str | Path | Sequence[str | Path],
    output_folder: str | Path | None,
    *,
    extension: str | Iterable[str],
    formats: Sequence[str],
    export_options: ExportOptions | None,
    recursive: bool,
    column: str | None,
    new_run: bool,
    retry_failed: bool,
    prune: bool,
    progress: ImageProgress | None,
) -> LabelResult[ImageRunSummary]:
    """See `grounded_sam2.pipeline.GroundedSAM2.label`."""
    began = time.monotonic()
    for name in formats:
        check_format(name, images_only=True)
    folder = Path(output_folder) if output_folder is not None else default_output_folder(images)
    source = open_image_source(
        images,
        images_folder=folder / "pictures",
        extensions=extension,
        recursive=recursive,
        exclude=_own_output(folder, images),
        column=column,
        limits=models.config.images,
    )
    with LabelStore.create(folder) as store:
        run = label_images(
            source,
            store,
            LazyGrounder(models, lowest_confidence(models.config)),
            ontology,
            models.config,
            models=models.identities(*models.image_roles),
            auto_batch_size=models.auto_batch_size,
            new_run=new_run,
            retry_failed=retry_failed,
            prune=prune,
            progress=progress,
        )
        summary = store.summary()
        try:
            exports = _export(store, folder, formats if summary.images else (), export_options)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                "all images are labeled; run the same command again to write the datasets"
            ) from None
    return LabelResult(folder, run, summary, exports, time.monotonic() - began)


def track_into_folder(
    models: LazyModels,
    ontology: CaptionOntology | None,
    config: Config,
    videos: VideoInput | Sequence[VideoInput],
    output_folder: str | Path | None,
    options: VideoOptions,
    *,
    formats: Sequence[str],
    export_options: ExportOptions | None,
    annotated: str | Path | None,
    new_run: bool,
    progress: VideoProgress | None,
) -> LabelResult[VideoRunSummary]:
    """See `grounded_sam2.pipeline.GroundedSAM2.track`."""
    began = time.monotonic()
    for name in formats:
        check_format(name)
    folder = Path(output_folder) if output_folder is not None else _output_folder(videos)
    given = {
        path.resolve() for each in list_video_inputs(videos) if (path := local_video_path(each))
    }
    outputs = [folder] if annotated is None else [folder, Path(annotated)]
    exclude = [path for path in outputs if path.resolve() not in given]
    found = find_videos(videos, options, exclude=exclude)
    paths = annotated_video_paths(found, annotated, [path for path in given if path.is_dir()])
    if formats:
        _check_exportable(found)
    run_config = video_run_config(
        config,
        ontology,
        models=models.identities("detector", "tracker"),
        frames={
            "stride": options.stride,
            "start": options.start,
            "end": options.end,
            "fps": options.fps,
        },
    )
    with LabelStore.create(folder) as store:
        run = label_videos(
            found,
            store,
            TiledModels(models),
            LazyTracker(models),
            ontology,
            config,
            run_config=run_config,
            new_run=new_run,
            progress=progress,
        )
        summary = store.summary()
        failed = {video.name for video in run.failed}
        wanted = [video for video in found if video.name in paths and video.name not in failed]
        try:
            rendered = render_videos(wanted, paths, store, run.run_id, progress)
            has_frames = any(video.frames for video in run.videos)
            exports = _export(store, folder, formats if has_frames else (), export_options)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                "all frames are labeled; run the same command again to draw the videos and "
                "write the datasets"
            ) from None
    return LabelResult(
        folder,
        run,
        summary,
        exports,
        time.monotonic() - began,
        annotated=tuple(rendered.paths),
        not_rendered=rendered.failures,
    )


def _export(
    store: LabelStore, folder: Path, formats: Sequence[str], options: ExportOptions | None
) -> dict[str, ExportSummary]:
    return {name: export(name, store, folder / name, options) for name in formats}


def _own_output(folder: Path, images: str | Path | Sequence[str | Path]) -> list[Path]:
    """Paths in the output folder that are not inputs.

    All of it, if it is a folder among the images; if the images lie in it, earlier exports.
    """
    if isinstance(images, (str, Path)):
        output, source = folder.resolve(), Path(images).resolve()
        if source == output or output in source.parents:
            return [folder / name for name in EXPORTERS if (folder / name / EXPORT_MARKER).exists()]
    return [folder]


def _output_folder(videos: VideoInput | Sequence[VideoInput]) -> Path:
    """``<videos>_labeled`` beside the first input; in the working directory for a camera."""
    first = list_video_inputs(videos)[0]
    if isinstance(first, int):
        return Path(f"{video_name(first)}_labeled")
    if isinstance(videos, (str, os.PathLike)):
        return default_output_folder(first)
    return default_output_folder([first])


def _check_exportable(videos: Sequence[FoundVideo]) -> None:
    """Raise `ExportError` for a stream or camera, whose frames cannot be read again to export."""
    for video in videos:
        if video.path is None:
            raise ExportError(
                f"video {video.display_name!r}: no dataset can be written of it, since its frames "
                "cannot be read a second time; save it to a file and label that"
            )
