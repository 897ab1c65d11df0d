"""`GroundedSAM2`: the façade of the package: predict, label and track behind one object.

    from grounded_sam2 import CaptionOntology, GroundedSAM2

    model = GroundedSAM2(CaptionOntology({"red circle": "ball"}), config="demo")
    detections = model.predict("scene.png")
    model.label("images/", output_folder="labeled", formats=("yolo", "coco"))
    for index, time, detections in model.predict_video("clip.mp4"):
        ...
    model.track("clip.mp4", output_folder="tracked")

Models are loaded on first use, and once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from grounded_sam2.config import Config, load_config
from grounded_sam2.engine.run_config import image_run_config, lowest_confidence
from grounded_sam2.engine.summaries import ImageRunSummary, VideoRunSummary
from grounded_sam2.errors import PromptError
from grounded_sam2.exporters import ExportOptions
from grounded_sam2.inference.grounding import predict_labels, requested_captions
from grounded_sam2.models.protocols import AnyTracker, Detector, Grounder, Segmenter, TrackPrompt
from grounded_sam2.ontology import CaptionOntology, prompt_ontology, resolve_ontology
from grounded_sam2.pipeline.labeling import LabelResult, label_folder, track_into_folder
from grounded_sam2.pipeline.models import LazyGrounder, LazyModels, TiledModels
from grounded_sam2.results import ImageProgress, VideoProgress, to_supervision
from grounded_sam2.sources.folder import IMAGE_EXTENSIONS
from grounded_sam2.sources.image import ImageInput, load_image
from grounded_sam2.sources.video import VideoSource, open_video, prefetch
from grounded_sam2.sources.video.discovery import VideoInput, VideoOptions
from grounded_sam2.store.uids import with_uids
from grounded_sam2.tracking import track_frames, track_prompts

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["GroundedSAM2", "VideoDetections"]


class VideoDetections(NamedTuple):
    """Detections of one frame of a video."""

    frame_index: int
    """Number of the frame in the video, from 0, whatever frames are left out."""
    time: float
    """Seconds from the first frame."""
    detections: sv.Detections
    """As of `GroundedSAM2.predict`, with ``tracker_id``: an object has one id in all frames."""


class GroundedSAM2:
    """Detection by captions, segmentation, and tracking, with the models of a configuration.

    By default these are Florence-2 and SAM 2.

    Args:
        ontology: captions and their classes: a `CaptionOntology`, a ``{caption: class}`` mapping,
            the name of a shipped one (``shapes``, ``road-traffic`` …) or a YAML file. ``None`` for
            one-off prompts and for tasks without captions.
        config: a shipped name (``default``, ``demo``, ``fast``, ``accurate``), a YAML file, a
            mapping of sections or a `Config`; ``None`` is ``default``.
        device: ``cpu``, ``cuda``, ``cuda:1`` … instead of the configured ``runtime.device``.
        grounder: a model that goes from words to masks by itself, used instead of the configured
            detector and segmenter. In videos it finds the boxes.
        detector: used instead of the configured one.
        segmenter: used instead of the configured one.
        tracker: used instead of the configured one, which shares the segmenter's weights.

    Raises:
        OntologyError, ConfigError: one of them cannot be used; names the value and the repair, of
            a model the missing methods.
    """

    def __init__(
        self,
        ontology: CaptionOntology | Mapping[str, str] | str | Path | None = None,
        *,
        config: str | Path | Config | Mapping[str, object] | None = None,
        device: str | None = None,
        grounder: Grounder | None = None,
        detector: Detector | None = None,
        segmenter: Segmenter | None = None,
        tracker: AnyTracker | None = None,
    ) -> None:
        loaded = load_config(config)
        if device is not None:
            loaded = loaded.with_options({"runtime.device": device})
        self._ontology = resolve_ontology(ontology)
        self._models = LazyModels(
            loaded, grounder=grounder, detector=detector, segmenter=segmenter, tracker=tracker
        )

    def __repr__(self) -> str:
        ontology = "none"
        if self.ontology is not None:
            captions, classes = len(self.ontology), len(self.ontology.classes())
            ontology = f"{captions} captions of {classes} classes"
        names = self._models.names()
        models = ", ".join(f"{role}: {names[role]!r}" for role in self._models.image_roles)
        return (
            f"GroundedSAM2(ontology: {ontology}, {models}, device: {self.config.runtime.device!r})"
        )

    @property
    def ontology(self) -> CaptionOntology | None:
        """Captions and their classes."""
        return self._ontology

    @property
    def config(self) -> Config:
        """The configuration."""
        return self._models.config

    @property
    def grounder(self) -> Grounder:
        """What labels images, loaded on first use: detector and segmenter, with tiles for large
        images, or a model that goes from words to masks by itself."""
        return LazyGrounder(self._models, lowest_confidence(self.config))

    @property
    def detector(self) -> Detector:
        """The detector, loaded on first use; of a grounder, its boxes.

        Raises:
            ConfigError: the package of the model is broken, or the model lacks methods.
            CheckpointError: the checkpoint cannot be found, fetched or loaded.
        """
        return self._models.detector

    @property
    def segmenter(self) -> Segmenter:
        """The segmenter, loaded on first use.

        Raises:
            CheckpointError: the checkpoint cannot be found, fetched or loaded.
        """
        return self._models.segmenter

    @property
    def tracker(self) -> AnyTracker:
        """The tracker, loaded on first use: the segmenter's model, if that can track.

        Raises:
            CheckpointError: the checkpoint cannot be found, fetched or loaded, or cannot track.
        """
        return self._models.tracker

    def predict(
        self,
        image: ImageInput,
        prompt: str | Sequence[str] | None = None,
        *,
        min_confidence: float | None = None,
    ) -> sv.Detections:
        """Detect and segment objects in one image.

        Args:
            image: path, URL, bytes, file, PIL image, or RGB ``uint8`` array ``(h, w, 3)``. What
                ``cv2.imread`` returns is BGR: give the path, or reverse the channels.
            prompt: one-off caption or captions instead of the ontology's; each is its own class,
                numbered in the order given.
            min_confidence: threshold instead of the configured ``detector.min_confidence``.

        Returns:
            ``xyxy``, ``mask``, ``confidence``, ``class_id`` and ``data`` with ``class_name``,
            ``caption``, ``mask_quality`` and ``uid``, by falling confidence: see
            `grounded_sam2.results.to_supervision`. A uid is that of an object in this image; in a
            label store, objects of all images have different ones.

        Raises:
            ImageError: the image cannot be read.
            PromptError: a caption cannot be used.
            ConfigError: there is neither ontology nor prompt, and the task needs one; or
                `min_confidence` is not within 0 and 1.
            CheckpointError: a model cannot be loaded.
        """
        return self.predict_batch([image], prompt, min_confidence=min_confidence)[0]

    def predict_batch(
        self,
        images: Iterable[ImageInput],
        prompt: str | Sequence[str] | None = None,
        *,
        min_confidence: float | None = None,
    ) -> list[sv.Detections]:
        """Detect and segment objects in several images; as `predict`, and faster than one by one.

        All images are in memory together; for large numbers, use `label`.
        """
        ontology = self.ontology if prompt is None else prompt_ontology(prompt)
        config = self._config_with("detector.min_confidence", min_confidence)
        loaded = [load_image(image, config=config.images) for image in images]
        classes = ontology.classes() if ontology is not None else []
        batch_size = config.runtime.batch_size
        step = self._models.auto_batch_size() if batch_size == "auto" else batch_size
        grounder = LazyGrounder(self._models, config.detector.min_confidence)
        inference_key = self._inference_key(ontology, config)
        return [
            to_supervision(with_uids(inference_key, "", labels), classes)
            for first in range(0, len(loaded), step)
            for labels in predict_labels(loaded[first : first + step], grounder, ontology, config)
        ]

    def predict_video(
        self,
        video: str | Path | int | Iterable[ImageInput],
        prompt: str | Sequence[str] | None = None,
        *,
        prompts: Mapping[int, Mapping[int, TrackPrompt]] | None = None,
        min_confidence: float | None = None,
        detect_every: int | None = None,
        stride: int = 1,
        start: float | None = None,
        end: float | None = None,
        fps: float = 25.0,
    ) -> Iterator[VideoDetections]:
        """Detect, segment and track objects through a video, frame by frame, in constant memory.

        Frames are yielded with a delay, so that an object can be propagated backwards to where it
        entered: see `grounded_sam2.config.TrackingConfig`. Nothing is stored; `track` labels
        videos into a store.

        Args:
            video: a file, a folder of frames, an address, a camera's number, or images.
            prompt: one-off caption or captions instead of the ontology's; each is its own class.
                Words of the model's own are numbered as they come, the same in all frames.
            prompts: boxes, points or masks instead of captions, by frame and object: see
                `grounded_sam2.tracking.track_prompts`. Frames are then yielded without delay.
            min_confidence: threshold instead of the configured ``detector.min_confidence``.
            detect_every: frames between two detections instead of the configured number.
            stride: take every so many frames.
            start: seconds at which to begin.
            end: seconds at which to stop.
            fps: frames per second of folders and images, which do not carry it.

        Returns:
            An iterator over the frames, in order.

        Raises:
            SourceError: the video cannot be read; also while iterating.
            PromptError: a caption or prompt cannot be used, or both kinds are given.
            ConfigError: there is neither ontology nor prompt, and the task needs one; or
                `detect_every` is below 1.
            CheckpointError: a model cannot be loaded, or cannot track.
        """
        if prompt is not None and prompts is not None:
            raise PromptError(
                "predict_video: prompt (captions) and prompts (boxes, points, masks) exclude each "
                "other; give one of them"
            )
        ontology = self.ontology if prompt is None else prompt_ontology(prompt)
        config = self._config_with("tracking.detect_every", detect_every)
        if min_confidence is not None:
            config = config.with_options({"detector.min_confidence": min_confidence})
        if prompts is None:
            requested_captions(ontology, config)  # raises before anything is opened
        source = open_video(
            video, stride=stride, start=start, end=end, fps=fps, limits=config.images
        )
        return self._track(source, ontology, config, prompts)

    def label(
        self,
        input_folder: str | Path | Sequence[str | Path],
        extension: str | Iterable[str] = IMAGE_EXTENSIONS,
        output_folder: str | Path | None = None,
        *,
        formats: Sequence[str] = ("yolo",),
        export_options: ExportOptions | None = None,
        recursive: bool = True,
        column: str | None = None,
        new_run: bool = False,
        retry_failed: bool = False,
        prune: bool = False,
        progress: ImageProgress | None = None,
    ) -> LabelResult[ImageRunSummary]:
        """Label a folder of images and write it as datasets.

        The same call continues an interrupted run, does only what has changed, and nothing when
        all is done. An image that cannot be read is recorded and skipped.

        Args:
            input_folder: a folder, a file, a pattern, a list file, a table or dataset of images,
                an archive, an address (``s3://…``), or several files: see
                `grounded_sam2.sources.factory`. Images that are not files on this machine are
                kept in the output folder, in ``pictures/``.
            extension: extensions to take, in any case; all image formats by default.
            output_folder: where the label store and the datasets go; ``<input_folder>_labeled``
                beside the input by default. Images in it are not labeled, unless all are.
            formats: dataset formats to write when all is labeled: see
                `grounded_sam2.exporters.EXPORTERS`.
            export_options: splits, placement of the images and so on.
            recursive: descend into sub-folders.
            column: column of a table or list that holds the images, where it is ambiguous.
            new_run: label again with other settings in a folder that was labeled already.
            retry_failed: try failed images again.
            prune: drop the labels of images that are no longer there.
            progress: receives the counts of every committed batch.

        Raises:
            SourceError: there are no images.
            ExportError: an unknown format; or a dataset cannot be written, after all is labeled.
            StoreError: the output folder is in use, or holds labels made with other settings.
            RunInterrupted: Ctrl-C; the same call continues.
            CheckpointError, ConfigError, OntologyError, PromptError: no image can be labeled.
        """
        return label_folder(
            self._models,
            self.ontology,
            input_folder,
            output_folder,
            extension=extension,
            formats=formats,
            export_options=export_options,
            recursive=recursive,
            column=column,
            new_run=new_run,
            retry_failed=retry_failed,
            prune=prune,
            progress=progress,
        )

    def track(
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
    ) -> LabelResult[VideoRunSummary]:
        """Label every frame of videos, and write them as datasets and annotated videos.

        The same call continues an interrupted run. Labeled frames are not labeled again, and
        annotated videos that show the current labels are not rendered again; datasets are written
        each time.

        Args:
            videos: a video file, a folder of frames, a folder of videos, an address, a camera's
                number, or several of them. What lies in folders and was written by an earlier call
                with the same `output_folder` and `annotated` is left out.
            output_folder: where the label store and the datasets go; ``<videos>_labeled`` beside
                them by default.
            formats: dataset formats to write when all is labeled.
            export_options: splits, which frames, and so on.
            annotated: where to write videos with their labels drawn in: one file, if it has the
                extension of a video, else a folder.
            detect_every, stride, start, end, fps: see `predict_video`.
            new_run: label again with other settings in a folder that was labeled already.
            progress: receives the frames as they are labeled.

        Raises:
            SourceError: the only video cannot be read.
            VideoError, ExportError: before anything is done, if an output cannot be written or
                would replace an input.
            ExportError: a dataset cannot be written, after all is labeled.
            StoreError: the output folder is in use, or holds labels made with other settings.
            RunInterrupted: Ctrl-C; the same call continues.
            CheckpointError, ConfigError, OntologyError, PromptError: no video can be labeled.
        """
        return track_into_folder(
            self._models,
            self.ontology,
            self._config_with("tracking.detect_every", detect_every),
            videos,
            output_folder,
            VideoOptions(stride, start, end, fps, self.config.images),
            formats=formats,
            export_options=export_options,
            annotated=annotated,
            new_run=new_run,
            progress=progress,
        )

    def _track(
        self,
        source: VideoSource,
        ontology: CaptionOntology | None,
        config: Config,
        prompts: Mapping[int, Mapping[int, TrackPrompt]] | None,
    ) -> Iterator[VideoDetections]:
        with closing(prefetch(source.frames())) as frames:
            if prompts is not None:
                is_exclusive = config.tracking.exclusive == "all"
                tracked = track_prompts(frames, self.tracker, prompts, exclusive=is_exclusive)
                classes = ["object"]
            else:
                models = TiledModels(self._models)
                tracked = track_frames(frames, models, self.tracker, ontology, config)
                classes = ontology.classes() if ontology is not None else []
            inference_key = self._inference_key(ontology, config)
            for frame in tracked:
                names = (label.class_name for label in frame.labels.objects)
                classes = list(dict.fromkeys([*classes, *names]))
                labels = with_uids(inference_key, "", frame.labels, video="")
                detections = to_supervision(labels, classes)
                yield VideoDetections(frame.index, frame.time, detections)

    def _inference_key(self, ontology: CaptionOntology | None, config: Config) -> str:
        """What the uids of predicted objects are made of, besides the objects."""
        models = self._models.identities(*self._models.image_roles)
        return image_run_config(config, ontology, models=models).inference_key

    def _config_with(self, option: str, value: object | None) -> Config:
        """The configuration with one option set; unchanged for ``None``."""
        return self.config if value is None else self.config.with_options({option: value})
