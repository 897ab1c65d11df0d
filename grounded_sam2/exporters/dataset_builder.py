"""The part of an export that all formats share: store snapshot, staging folder and counters.

with build_dataset("jsonl", store, folder, options, entries=("images", "labels.jsonl")) as data:
    for image in data.write_images(rules=ImageFileRules()):
        ...  # write into data.staging, count in data.counter
    return data.summary()
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from grounded_sam2.exporters.file_names import ImageFileRules
from grounded_sam2.exporters.images import DatasetImage, read_images, write_images
from grounded_sam2.exporters.options import ExportCounter, ExportOptions, ExportSummary
from grounded_sam2.exporters.staging import staged_export
from grounded_sam2.exporters.thresholds import lowest_stored_confidence
from grounded_sam2.store import LabelStore

__all__ = ["DatasetBuilder", "build_dataset"]

_FRAME_OPTIONS = ("frame_stride", "frame_format", "frame_quality")
"""Options that affect video frames only."""


@dataclass(frozen=True, slots=True)
class DatasetBuilder:
    """A dataset under construction."""

    format: str
    folder: Path
    """Final folder of the dataset."""
    staging: Path
    """Folder in which it is built."""
    run_id: int
    """The exported run."""
    run_key: str
    """Hash that identifies the configuration of the run."""
    classes: tuple[str, ...]
    has_frames: bool
    """Whether the run has videos; formats with columns then have columns for frames."""
    has_reviews: bool
    """Whether people decided about any object of the run; formats then have a field for it."""
    store: LabelStore
    options: ExportOptions
    counter: ExportCounter
    resources: ExitStack
    """What is closed at the end of the export, even if it fails."""

    def write_images(
        self,
        images: str = "images",
        *,
        rules: ImageFileRules,
        min_side: int = 1,
        split_folders: bool = True,
    ) -> Iterator[DatasetImage]:
        """Write the images to the folder `images`. See `images.write_images`."""
        written = write_images(
            self.store,
            self.staging / images,
            self.options,
            self.counter,
            rules=rules,
            min_side=min_side,
            split_folders=split_folders,
        )
        return self.resources.enter_context(closing(written))

    def read_images(self, *, rules: ImageFileRules) -> Iterator[tuple[DatasetImage, bytes]]:
        """Yield the images with the bytes of their files. See `images.read_images`."""
        images = read_images(self.store, self.options, self.counter, rules=rules)
        return self.resources.enter_context(closing(images))

    def summary(self, notes: Sequence[str] = ()) -> ExportSummary:
        """Return the counts so far.

        Raises:
            ExportError: no image was exported.
        """
        run = self.store.run(self.options.run_id)
        requested = self.options.min_confidence
        if requested is not None and requested < (lowest := lowest_stored_confidence(run)):
            notes = (*notes, f"the store has kept nothing below a confidence of {lowest:g}")
        return self.counter.summary(self.format, self.folder, notes)


@contextmanager
def build_dataset(
    format_name: str,
    store: LabelStore,
    folder: str | Path,
    options: ExportOptions,
    *,
    entries: Sequence[str],
    depends_on: Sequence[str] = (),
) -> Iterator[DatasetBuilder]:
    """Build a dataset, which appears in its folder when the context exits normally.

    Args:
        format_name: name of the format in `EXPORTERS`.
        store: the labels.
        folder: final folder of the dataset.
        options: options of the export.
        entries: names of the files and folders that the dataset consists of.
        depends_on: options that affect this format only; they are recorded in ``export.json``.

    Raises:
        ExportError, StoreError: see `Exporter`.
    """
    folder = Path(folder)
    with store.snapshot():
        classes = store.classes(options.run_id)
        run = store.run(options.run_id)
        has_frames = bool(store.videos(options.run_id))
        if has_frames:
            depends_on = (*depends_on, *_FRAME_OPTIONS)
        description = {
            "format": format_name,
            "run": run.config.key,
            "split": dict(options.split),
            "split_by": options.split_by,
            "seed": options.seed,
            "images": options.images,
            "min_confidence": options.min_confidence,
            "min_mask_quality": options.min_mask_quality,
            **{name: getattr(options, name) for name in depends_on},
            **_review_options(options),
        }
        with staged_export(folder, entries, description) as staging, ExitStack() as resources:
            yield DatasetBuilder(
                format=format_name,
                folder=folder,
                staging=staging,
                run_id=run.id,
                run_key=run.config.key,
                classes=tuple(classes),
                has_frames=has_frames,
                has_reviews=_has_reviews(store, run.id),
                store=store,
                options=options,
                counter=ExportCounter(classes, options.split),
                resources=resources,
            )


def _has_reviews(store: LabelStore, run_id: int) -> bool:
    review = store.summary(run_id).review
    return bool(review.accepted or review.rejected)


def _review_options(options: ExportOptions) -> dict[str, object]:
    """The options of reviews, if any is given: most datasets are exported without."""
    if not options.skips_unreviewed_images and options.unreviewed is None:
        return {}
    return {"reviewed_only": options.reviewed_only, "unreviewed": options.unreviewed}
