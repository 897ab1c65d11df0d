"""`GroundedSAM2`: the whole package behind one object.

    from grounded_sam2 import CaptionOntology, GroundedSAM2

    model = GroundedSAM2(CaptionOntology({"red circle": "ball"}), config="demo")
    detections = model.predict("scene.png")
    model.label("images/", output_folder="labeled", formats=("yolo", "coco"))
    for index, time, detections in model.track("clip.mp4"):
        ...

The models are loaded when they are first needed, and once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from grounded_sam2.config import Config, load_config
from grounded_sam2.engine.image_run import Progress, RunSummary, label_source
from grounded_sam2.exporters import (
    EXPORTERS,
    ExportOptions,
    ExportSummary,
    check_format,
    export,
)
from grounded_sam2.exporters.staging import EXPORT_MARKER
from grounded_sam2.inference.detect_and_segment import predict_labels
from grounded_sam2.models.checkpoint_identity import checkpoint_identity
from grounded_sam2.models.protocols import AnyTracker, Detector, Segmenter
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.pipeline.arguments import chosen_ontology, one_off
from grounded_sam2.pipeline.lazy_models import ModelsWhenNeeded
from grounded_sam2.pipeline.videos import VideoLabeling
from grounded_sam2.results import Image, Labels, to_supervision
from grounded_sam2.sources.factory import default_output_folder, open_image_source
from grounded_sam2.sources.folder import IMAGE_EXTENSIONS
from grounded_sam2.sources.image import ImageInput, load_image
from grounded_sam2.store import LabelStore, StoreSummary

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["GroundedSAM2", "LabelResult"]


@dataclass(frozen=True, slots=True)
class LabelResult:
    """What `GroundedSAM2.label` did, and where it is."""

    folder: Path
    """Output folder: the label store and one folder per format."""
    run: RunSummary
    """Counts of this call."""
    summary: StoreSummary
    """Counts of everything labeled so far."""
    exports: Mapping[str, ExportSummary]
    """By format; none if not one image could be labeled."""
    seconds: float


class GroundedSAM2(VideoLabeling):
    """Florence-2 finds what the captions say, SAM 2 outlines it.

    Args:
        ontology: captions and their classes: a `CaptionOntology`, a ``{caption: class}`` mapping,
            the name of a shipped one (``shapes``, ``road-traffic`` …) or a YAML file. ``None`` for
            one-off prompts and for tasks without captions.
        config: a shipped name (``default``, ``demo``, ``fast``, ``accurate``), a YAML file, a
            mapping of sections or a `Config`; ``None`` is ``default``.
        detector: used instead of the configured one.
        segmenter: used instead of the configured one.
        tracker: used instead of the configured one, which shares the segmenter's weights.

    Raises:
        OntologyError, ConfigError: one of them cannot be used. Names what is wrong in it.
    """

    def __init__(
        self,
        ontology: CaptionOntology | Mapping[str, str] | str | Path | None = None,
        *,
        config: str | Path | Config | Mapping[str, object] | None = None,
        detector: Detector | None = None,
        segmenter: Segmenter | None = None,
        tracker: AnyTracker | None = None,
    ) -> None:
        self.ontology = chosen_ontology(ontology)
        self.config = load_config(config)
        given = {"detector": detector, "segmenter": segmenter, "tracker": tracker}
        self._given = {role: model for role, model in given.items() if model is not None}
        vars(self).update(self._given)  # in the place of the properties that would load them

    @cached_property
    def detector(self) -> Detector:
        """The detector, loaded on first use.

        Raises:
            CheckpointError: the checkpoint cannot be found, fetched or loaded.
        """
        from grounded_sam2.models.florence2 import Florence2Detector

        return Florence2Detector.from_config(self.config)

    @cached_property
    def segmenter(self) -> Segmenter:
        """The segmenter, loaded on first use.

        Raises:
            CheckpointError: the checkpoint cannot be found, fetched or loaded.
        """
        from grounded_sam2.models.sam2 import Sam2Segmenter

        return Sam2Segmenter.from_config(self.config)

    @cached_property
    def tracker(self) -> AnyTracker:
        """The tracker, loaded on first use: the segmenter's model, if that can track.

        Raises:
            CheckpointError: the checkpoint cannot be found, fetched or loaded, or cannot track.
        """
        from grounded_sam2.models.sam2 import Sam2Segmenter, Sam2Tracker

        if "segmenter" in self._given:
            return Sam2Tracker.from_config(self.config)
        assert isinstance(self.segmenter, Sam2Segmenter)
        return Sam2Tracker.sharing(self.segmenter, self.config.tracker)

    def predict(
        self, image: ImageInput, prompt: str | Sequence[str] | None = None
    ) -> sv.Detections:
        """Find and outline things in one image.

        Args:
            image: path, URL, bytes, file, PIL image, or RGB ``uint8`` array ``(h, w, 3)`` (what
                ``cv2.imread`` returns is BGR: give the path instead, or turn the channels round).
            prompt: caption or captions to ask for this once, instead of the ontology's; each is
                then its own class, numbered in the order given.

        Returns:
            ``xyxy``, ``mask``, ``confidence``, ``class_id`` and ``data`` with ``class_name``,
            ``caption`` and ``mask_quality``, by falling confidence: see
            `grounded_sam2.results.to_supervision`.

        Raises:
            ImageError: the image cannot be read.
            PromptError: a caption cannot be asked.
            ConfigError: there is neither ontology nor prompt, and the task needs one.
            CheckpointError: a model cannot be loaded.
        """
        return self.predict_batch([image], prompt)[0]

    def predict_batch(
        self, images: Iterable[ImageInput], prompt: str | Sequence[str] | None = None
    ) -> list[sv.Detections]:
        """Find and outline things in several images; as `predict`, and faster than one by one.

        The images are held in memory together; to go through many, use `label`.
        """
        ontology = self.ontology if prompt is None else one_off(prompt)
        loaded = [load_image(image, config=self.config.images) for image in images]
        classes = ontology.classes() if ontology is not None else []
        wanted = self.config.runtime.batch_size
        step = self._auto_batch_size() if wanted == "auto" else wanted
        return [
            to_supervision(labels, classes)
            for first in range(0, len(loaded), step)
            for labels in self._label(loaded[first : first + step], ontology)
        ]

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
        progress: Progress | None = None,
    ) -> LabelResult:
        """Label a folder of images and write it as datasets.

        Running it again continues where it stopped, does only what has changed, and nothing when
        all is done. An image that cannot be read is recorded and left out.

        Args:
            input_folder: a folder, a file, a pattern, a list file, a table or dataset of images,
                an archive, an address (``s3://…``), or several files: see
                `grounded_sam2.sources.factory`. Images that are no files on this machine are
                kept in the output folder, in ``pictures/``.
            extension: endings to take, in any case; all image formats by default.
            output_folder: where the label store and the datasets go; ``<input_folder>_labeled``
                beside the input by default. Images in it are not labeled, unless all are.
            formats: dataset formats to write when all is labeled: see
                `grounded_sam2.exporters.EXPORTERS`.
            export_options: splits, placement of the images and so on.
            recursive: go into sub-folders.
            column: column of a table or list that holds the images, where it is not clear.
            new_run: label again with other settings in a folder that was labeled already.
            retry_failed: try failed images again.
            prune: drop the labels of images that are no longer there.
            progress: told how it comes along.

        Raises:
            SourceError: there are no images.
            ExportError: an unknown format; a dataset cannot be written, then all is labeled.
            StoreError: the output folder is in use, or holds labels made with other settings.
            RunInterrupted: Ctrl-C; run it again to continue.
            CheckpointError, ConfigError, OntologyError, PromptError: nothing can be labeled so.
        """
        began = time.monotonic()
        for name in formats:
            check_format(name, images_only=True)
        folder = (
            Path(output_folder)
            if output_folder is not None
            else default_output_folder(input_folder)
        )
        source = open_image_source(
            input_folder,
            images_folder=folder / "pictures",
            extensions=extension,
            recursive=recursive,
            exclude=_written_by_us(folder, input_folder),
            column=column,
            limits=self.config.images,
        )
        with LabelStore.create(folder) as store:
            run = label_source(
                source,
                store,
                ModelsWhenNeeded(self),
                ModelsWhenNeeded(self),
                self.ontology,
                self.config,
                models=self._model_names(),
                auto_batch_size=self._auto_batch_size,
                new_run=new_run,
                retry_failed=retry_failed,
                prune=prune,
                progress=progress,
            )
            summary = store.summary()
            try:
                exports = {
                    name: export(name, store, folder / name, export_options)
                    for name in formats
                    if summary.images
                }
            except KeyboardInterrupt:
                raise KeyboardInterrupt(
                    "all images are labeled; run the same command again to write the datasets"
                ) from None
        return LabelResult(folder, run, summary, exports, time.monotonic() - began)

    def _auto_batch_size(self) -> int:
        """Pictures per step on the device that the models will run on."""
        from grounded_sam2.models.devices import batch_size_for, resolve_device

        return batch_size_for(resolve_device(self.config.runtime.device))

    def _model_names(self, masks: str = "segmenter") -> dict[str, str]:
        """What the store records: checkpoints, or the classes of models that were given.

        Args:
            masks: the role of what makes the masks.
        """
        names = {
            "detector": checkpoint_identity(self.config.detector.checkpoint, "detector"),
            masks: checkpoint_identity(self.config.segmenter.checkpoint, "segmenter"),
        }
        for role in names.keys() & self._given.keys():
            model = self._given[role]
            names[role] = f"{type(model).__module__}.{type(model).__qualname__}"
        return names

    def _label(self, images: Sequence[Image], ontology: CaptionOntology | None) -> list[Labels]:
        models = ModelsWhenNeeded(self)
        return predict_labels(images, models, models, ontology, self.config)


def _written_by_us(folder: Path, input_folder: str | Path | Sequence[str | Path]) -> list[Path]:
    """What lies in the output folder and is no input.

    All of it, if it is a folder among the images; if the images lie in it, earlier exports.
    """
    if isinstance(input_folder, (str, Path)):
        output, images = folder.resolve(), Path(input_folder).resolve()
        if images == output or output in images.parents:
            return [folder / name for name in EXPORTERS if (folder / name / EXPORT_MARKER).exists()]
    return [folder]
