"""The half of `GroundedSAM2` that is about videos."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from grounded_sam2.config import Config
from grounded_sam2.engine.run_config import tracking_run_config_of
from grounded_sam2.engine.video_run import track_videos
from grounded_sam2.engine.video_summaries import TrackSummary, VideoProgress
from grounded_sam2.errors import ExportError, PromptError
from grounded_sam2.exporters import ExportOptions, ExportSummary, check_format, export
from grounded_sam2.models.protocols import AnyTracker, Detector, Segmenter, TrackPrompt
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.pipeline.arguments import one_off
from grounded_sam2.pipeline.lazy_models import ModelsWhenNeeded, TrackerWhenNeeded
from grounded_sam2.results import to_supervision
from grounded_sam2.sources.factory import default_output_folder
from grounded_sam2.sources.image import ImageInput
from grounded_sam2.sources.video import local_video_path, open_video, prefetch, video_name
from grounded_sam2.sources.video.discovery import (
    FoundVideo,
    VideoInput,
    VideoOptions,
    find_videos,
    list_video_inputs,
)
from grounded_sam2.store import LabelStore
from grounded_sam2.tracking import track_frames, track_prompts
from grounded_sam2.visualization.annotated_video import annotated_video_paths, render_videos

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["TrackResult", "TrackedDetections", "VideoLabeling"]


class TrackedDetections(NamedTuple):
    """What is in one frame of a video."""

    frame_index: int
    """Number of the frame in the video, from 0, whatever frames are left out."""
    time: float
    """Seconds from the first frame."""
    detections: sv.Detections
    """As `GroundedSAM2.predict` returns them, with ``tracker_id``: one thing has one in all
    frames."""


@dataclass(frozen=True, slots=True)
class TrackResult:
    """What `GroundedSAM2.label_videos` did, and where it is."""

    folder: Path
    """Output folder: the label store and one folder per format."""
    run: TrackSummary
    """What became of each video."""
    annotated: tuple[Path, ...]
    """Videos with their labels drawn in, if asked for."""
    not_drawn: Mapping[str, str]
    """Why there is no annotated video, by name of the video; all of its frames are labeled."""
    exports: Mapping[str, ExportSummary]
    """By format."""
    seconds: float


class VideoLabeling(ABC):
    """What `GroundedSAM2` does with videos."""

    ontology: CaptionOntology | None
    config: Config

    @abstractmethod
    def _model_names(self, masks: str = "segmenter") -> dict[str, str]: ...

    @property
    @abstractmethod
    def detector(self) -> Detector: ...

    @property
    @abstractmethod
    def segmenter(self) -> Segmenter: ...

    @property
    @abstractmethod
    def tracker(self) -> AnyTracker: ...

    def track(
        self,
        video: str | Path | int | Iterable[ImageInput],
        prompt: str | Sequence[str] | None = None,
        *,
        prompts: Mapping[int, Mapping[int, TrackPrompt]] | None = None,
        detect_every: int | None = None,
        stride: int = 1,
        start: float | None = None,
        end: float | None = None,
        fps: float = 25.0,
    ) -> Iterator[TrackedDetections]:
        """Find, outline and follow things through a video, frame by frame, in constant memory.

        Frames come some frames late, so that a thing can be followed back to where it entered: see
        `grounded_sam2.config.TrackingConfig`.

        Args:
            video: a file, a folder of frames, an address, a camera's number, or images.
            prompt: caption or captions to ask for, instead of the ontology's; each is then its own
                class. Words of the model's own are numbered as they come, the same in all frames.
            prompts: boxes, points or masks instead of captions, by frame and object: see
                `grounded_sam2.tracking.track_prompts`. Frames then come at once.
            detect_every: frames from one look of the detector to the next; as configured if
                ``None``.
            stride: takes every so many frames.
            start: seconds at which to begin.
            end: seconds at which to stop.
            fps: frames per second of folders and images, which do not say it.

        Yields:
            Every frame in order.

        Raises:
            SourceError: the video cannot be read.
            PromptError: a caption cannot be asked, a prompt not be followed, or both are given.
            ConfigError: there is neither ontology nor prompt, and the task needs one; or
                `detect_every` is below 1.
            CheckpointError: a model cannot be loaded, or cannot track.
        """
        if prompt is not None and prompts is not None:
            raise PromptError(
                "track: prompt says what to look for, and prompts what to follow; give one of them"
            )
        ontology = self.ontology if prompt is None else one_off(prompt)
        config = self._tracking_config(detect_every)
        source = open_video(
            video, stride=stride, start=start, end=end, fps=fps, limits=self.config.images
        )
        with closing(prefetch(source.frames())) as frames:
            if prompts is not None:
                one_each = self.config.tracking.exclusive == "all"
                tracked = track_prompts(frames, self.tracker, prompts, exclusive=one_each)
                classes = ["object"]
            else:
                models = ModelsWhenNeeded(self)
                tracked = track_frames(frames, models, self.tracker, ontology, config)
                classes = ontology.classes() if ontology is not None else []
            for frame in tracked:
                names = (label.class_name for label in frame.labels.objects)
                classes = list(dict.fromkeys([*classes, *names]))
                detections = to_supervision(frame.labels, classes)
                yield TrackedDetections(frame.index, frame.time, detections)

    def label_videos(
        self,
        videos: VideoInput | Sequence[VideoInput],
        output_folder: str | Path | None = None,
        *,
        formats: Sequence[str] = (),
        export_options: ExportOptions | None = None,
        annotated: str | Path | None = None,
        detect_every: int | None = None,
        stride: int = 1,
        start: float | None = None,
        end: float | None = None,
        fps: float = 25.0,
        new_run: bool = False,
        progress: VideoProgress | None = None,
    ) -> TrackResult:
        """Label all frames of videos, and write them as datasets and annotated videos.

        Running it again continues where it stopped. Frames that are labeled are not labeled again,
        and videos not drawn again that show the labels there are; datasets are written each time.

        Args:
            videos: a video file, a folder of frames, a folder of videos, an address, a camera's
                number, or several of them. What lies in folders and was written by an earlier call
                with the same `output_folder` and `annotated` is left out.
            output_folder: where the label store and the datasets go; ``<videos>_labeled`` beside
                them by default.
            formats: dataset formats to write when all is labeled.
            export_options: splits, which frames, and so on.
            annotated: where to write videos with their labels drawn in: one file, if it has the
                ending of a video, else a folder.
            detect_every, stride, start, end, fps: as of `track`.
            new_run: label again with other settings in a folder that was labeled already.
            progress: told how it comes along.

        Raises:
            SourceError: the only video cannot be read.
            VideoError, ExportError: before anything is done, if something should be drawn or
                exported that cannot be, or would replace what was given.
            ExportError: a dataset cannot be written; then all is labeled.
            StoreError: the output folder is in use, or holds labels made with other settings.
            VideosInterrupted: Ctrl-C; run it again to continue.
            CheckpointError, ConfigError, OntologyError, PromptError: nothing can be labeled so.
        """
        began = time.monotonic()
        for name in formats:
            check_format(name)
        folder = Path(output_folder) if output_folder is not None else _labeled_beside(videos)
        options = VideoOptions(stride, start, end, fps, self.config.images)
        given = {
            path.resolve() for each in list_video_inputs(videos) if (path := local_video_path(each))
        }
        ours = [folder] if annotated is None else [folder, Path(annotated)]
        exclude = [path for path in ours if path.resolve() not in given]
        found = find_videos(videos, options, exclude=exclude)
        paths = annotated_video_paths(found, annotated, [path for path in given if path.is_dir()])
        if formats:
            _check_can_be_exported(found)
        config = self._tracking_config(detect_every)
        run_config = tracking_run_config_of(
            config,
            self.ontology,
            models=self._model_names("tracker"),
            frames={"stride": stride, "start": start, "end": end, "fps": fps},
        )
        with LabelStore.create(folder) as store:
            run = track_videos(
                found,
                store,
                ModelsWhenNeeded(self),
                TrackerWhenNeeded(self),
                self.ontology,
                config,
                run_config=run_config,
                new_run=new_run,
                progress=progress,
            )
            lost = {video.name for video in run.failed}
            wanted = [video for video in found if video.name in paths and video.name not in lost]
            try:
                rendered = render_videos(wanted, paths, store, run.run_id, progress)
                exports = {
                    name: export(name, store, folder / name, export_options)
                    for name in formats
                    if any(video.frames for video in run.videos)
                }
            except KeyboardInterrupt:
                raise KeyboardInterrupt(
                    "all frames are labeled; run the same command again to draw the videos and "
                    "write the datasets"
                ) from None
        return TrackResult(
            folder,
            run,
            tuple(rendered.paths),
            rendered.failures,
            exports,
            time.monotonic() - began,
        )

    def _tracking_config(self, detect_every: int | None) -> Config:
        if detect_every is None:
            return self.config
        return self.config.with_options({"tracking.detect_every": detect_every})


def _labeled_beside(videos: VideoInput | Sequence[VideoInput]) -> Path:
    first = list_video_inputs(videos)[0]
    if isinstance(first, int):
        return Path(f"{video_name(first)}_labeled")
    if isinstance(videos, (str, os.PathLike)):
        return default_output_folder(first)
    return default_output_folder([first])


def _check_can_be_exported(videos: Sequence[FoundVideo]) -> None:
    """Refuse what has no images any more when all is labeled."""
    for video in videos:
        if video.path is None:
            raise ExportError(
                f"video {video.shown!r}: no dataset can be written of it, since what comes from "
                "there may not come a second time; save it to a file and label that"
            )
