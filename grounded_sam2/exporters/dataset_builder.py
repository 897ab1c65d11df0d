"""What all formats have in common: a consistent view of the store, a folder to build in, counts.

with build_dataset("jsonl", store, folder, options, entries=("images", "labels.jsonl")) as data:
    for image in data.images(rules=ImageFileRules()):
        ...  # write into data.new, count in data.counter
    return data.summary()
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from grounded_sam2.exporters.file_names import ImageFileRules
from grounded_sam2.exporters.images import DatasetImage, read_images, write_images
from grounded_sam2.exporters.options import ExportCounter, ExportOptions, ExportSummary
from grounded_sam2.exporters.staging import staged_export
from grounded_sam2.exporters.thresholds import lowest_stored_confidence
from grounded_sam2.store import LabelStore

__all__ = ["DatasetBuilder", "build_dataset"]

_OF_FRAMES = ("frame_stride", "frame_format", "frame_quality")
"""Options that matter to frames of videos only."""


@dataclass(frozen=True, slots=True)
class DatasetBuilder:
    """A dataset that is being built."""

    format: str
    folder: Path
    """Where it will stand."""
    new: Path
    """Where it is built."""
    run_id: int
    """The run that it is made from."""
    run_key: str
    """Identity of that run."""
    classes: tuple[str, ...]
    has_frames: bool
    """Whether the run has videos, so that formats with columns have some for frames."""
    store: LabelStore
    options: ExportOptions
    counter: ExportCounter

    def images(
        self,
        images: str = "images",
        *,
        rules: ImageFileRules,
        min_side: int = 1,
        split_folders: bool = True,
    ) -> Iterator[DatasetImage]:
        """Put the images into the folder `images` and give their labels. See `write_images`."""
        return write_images(
            self.store,
            self.new / images,
            self.options,
            self.counter,
            rules=rules,
            min_side=min_side,
            split_folders=split_folders,
        )

    def image_bytes(self, *, rules: ImageFileRules) -> Iterator[tuple[DatasetImage, bytes]]:
        """The bytes of the images, put nowhere, and their labels. See `read_images`."""
        return read_images(self.store, self.options, self.counter, rules=rules)

    def summary(self, notes: Sequence[str] = ()) -> ExportSummary:
        """The counts so far.

        Raises:
            ExportError: not one image was exported.
        """
        run = self.store.run(self.options.run_id)
        asked = self.options.min_confidence
        if asked is not None and asked < (kept := lowest_stored_confidence(run)):
            notes = (*notes, f"the store has kept nothing below a confidence of {kept:g}")
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
    """Build a dataset, which appears in its folder when the context ends well.

    Args:
        format_name: which format it is, by its name in `EXPORTERS`.
        store: the labels.
        folder: where it shall be.
        options: how to export.
        entries: names of the files and folders that it consists of.
        depends_on: options that matter to this format only, to be told in its ``export.json``.

    Raises:
        ExportError, StoreError: see `Exporter`.
    """
    folder = Path(folder)
    with store.snapshot():
        classes = store.classes(options.run_id)
        run = store.run(options.run_id)
        has_frames = bool(store.videos(options.run_id))
        if has_frames:
            depends_on = (*depends_on, *_OF_FRAMES)
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
        }
        with staged_export(folder, entries, description) as new:
            counter = ExportCounter(classes, options.split)
            yield DatasetBuilder(
                format_name,
                folder,
                new,
                run.id,
                run.config.key,
                tuple(classes),
                has_frames,
                store,
                options,
                counter,
            )
