"""Import of a labeled dataset into a label store, as a run of its own.

The run has the run configuration ``{"import": …}`` and can be inspected, exported, compared and
merged like any other run. Importing the same dataset again updates the same run to the dataset's
current state.

All images are registered first and then written in batches, one transaction each, so that an
interrupted run shows what is missing, and the same call completes it. An image that cannot be read
is one row with the reason; an annotation that cannot be read is counted and listed; the import goes
on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from grounded_sam2.config import ImageConfig
from grounded_sam2.engine.signals import StopRequest
from grounded_sam2.engine.summaries import ImageRunSummary, RunInterrupted
from grounded_sam2.errors import DatasetError, GroundedSAM2Error, one_line, printable
from grounded_sam2.importers.conversion import convert_annotations
from grounded_sam2.importers.dataset import (
    AnnotatedImage,
    Dataset,
    DatasetProblem,
    ImportOptions,
)
from grounded_sam2.importers.formats.coco import find_annotation_files, open_coco
from grounded_sam2.importers.formats.hugging_face import find_shards, open_hugging_face
from grounded_sam2.importers.formats.yolo import find_data_yaml, open_yolo
from grounded_sam2.results import ImageProgress, Origin
from grounded_sam2.sources.image import read_image_header
from grounded_sam2.store import Item, ItemOutcome, LabelStore, RunConfig, StoreSummary

__all__ = [
    "IMPORTERS",
    "ImportSummary",
    "Importer",
    "ProblemSummary",
    "check_format",
    "detect_format",
    "import_labels",
]

Importer: TypeAlias = Callable[[Path, ImportOptions], AbstractContextManager[Dataset]]
"""Opens a dataset. Raises `DatasetError` if the path is not one, or cannot be read as a whole."""

IMPORTERS: Mapping[str, Importer] = {
    "coco": open_coco,
    "yolo": open_yolo,
    "hf": open_hugging_face,
}
"""All formats by their names on the command line."""

_MAX_EXAMPLES = 20


@dataclass(frozen=True, slots=True)
class ProblemSummary:
    """Annotations, rows or files with the same problem."""

    reason: str
    """What is wrong, and what was done about it."""
    count: int
    examples: tuple[str, ...]
    """The first 20, each with its name and details."""


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """Result of one call of `import_labels`."""

    format: str
    counts: StoreSummary
    """Counts of the run of the import."""
    problems: tuple[ProblemSummary, ...]
    """The most frequent first. Failed images are not included: the store has each with its reason
    (`grounded_sam2.store.LabelStore.failures`)."""

    @property
    def run_id(self) -> int:
        """Id of the run of the import."""
        return self.counts.run_id


def import_labels(
    path: str | Path,
    output_folder: str | Path,
    *,
    format: str | None = None,
    images: str | Path | None = None,
    origin: Origin = "human",
    name: str | None = None,
    crowds: bool = False,
    config: ImageConfig | None = None,
    progress: ImageProgress | None = None,
    batch_size: int = 64,
) -> ImportSummary:
    """Import a labeled dataset into the label store of a folder. No model is needed.

    The import becomes the current run of the store. Images stay where they are, except those of a
    Parquet file, which are copied into the output folder.

    Args:
        path: a COCO file or folder; a YOLO folder or its ``data.yaml``; a folder of Parquet files.
        output_folder: folder of the label store; created if it does not exist.
        format: ``coco``, ``yolo`` (outlines, boxes or both) or ``hf``; detected if ``None``.
        images: folder of the images, if they are not where the format expects them.
        origin: who made the labels.
        name: distinguishes imports of one dataset that should be runs of their own, such as two
            states of it. ``None``: all imports of a dataset are the same run.
        crowds: import the regions that COCO marks as crowds as objects.
        config: limits for images; the defaults if ``None``.
        progress: receives the progress.
        batch_size: images per transaction, the most that an interruption can lose.

    Returns:
        Counts of the run, and everything that could not be read.

    Raises:
        DatasetError: there is no such dataset, or it cannot be read as a whole. No run is written
            then.
        StoreError: the output folder cannot be written, or another process is writing it.
        RunInterrupted: Ctrl-C; complete batches are written, and the same call completes the rest.
    """
    path = Path(path)
    format_name = check_format(format) if format is not None else detect_format(path)
    with LabelStore.create(output_folder) as store:
        run_config = RunConfig(
            models={"import": format_name} | ({"name": name} if name is not None else {}),
            inference={
                "images": None if images is None else store.relative_path(Path(images)),
                "origin": origin,
                "crowds": crowds,
            },
            source=store.relative_path(path),
        )
        options = ImportOptions(
            images=None if images is None else Path(images),
            crowds=crowds,
            images_folder=store.folder / "pictures" / run_config.key[:12],
        )
        with IMPORTERS[format_name](path, options) as dataset:
            total = sum(1 for _ in dataset.item_ids())  # fails here if the dataset as a whole does
            if not total:
                raise DatasetError(f"'{path}' contains no images")
            run = store.begin_run(
                run_config,
                ontology=tuple((each, each) for each in dataset.classes),
                versions={"grounded-sam2": version("grounded-sam2")},
                new_run=True,
            )
            store.register_items(run.id, ((each, None) for each in dataset.item_ids()), prune=True)
            if progress is not None:
                progress.start(total)
            problems = _ProblemCounter()
            outcomes = _convert_images(dataset, origin, config or ImageConfig(), problems)
            _write_batches(store, run.id, outcomes, total, batch_size, progress)
            problems.add(dataset.unassigned())
        return ImportSummary(format_name, store.summary(run.id), problems.summaries())


def check_format(name: str) -> str:
    """Return the name of a format; raise `DatasetError` with the known names for any other."""
    if name not in IMPORTERS:
        raise DatasetError(
            f"format '{name}' cannot be imported; choose from {', '.join(IMPORTERS)}"
        )
    return name


def detect_format(path: Path) -> str:
    """Return the name of the format of a dataset.

    Args:
        path: its folder, or the file that describes it.

    Raises:
        DatasetError: it does not exist, or is in no format that can be imported.
    """
    if not path.exists():
        raise DatasetError(f"'{printable(path)}' does not exist")
    if find_data_yaml(path) is not None:
        return "yolo"
    if find_shards(path):
        return "hf"
    if path.is_dir() or path.suffix.lower() == ".json":
        find_annotation_files(path)
        return "coco"
    raise DatasetError(
        f"'{printable(path)}' is not a dataset that can be imported; give a COCO file or folder, a "
        "YOLO folder or its data.yaml, or a folder of Parquet files"
    )


class _ProblemCounter:
    """Counts problems during an import, in memory that does not grow with their number."""

    def __init__(self) -> None:
        self._by_reason: dict[str, ProblemSummary] = {}

    def add(self, problems: Iterable[DatasetProblem], *, item_id: str = "") -> None:
        """Count problems.

        Args:
            problems: may be empty.
            item_id: the image that they belong to.
        """
        for problem in problems:
            known = self._by_reason.get(problem.reason, ProblemSummary(problem.reason, 0, ()))
            examples = known.examples
            if len(examples) < _MAX_EXAMPLES:
                where = f"{problem.where} of {item_id}" if item_id else problem.where
                examples += (f"{where}: {problem.detail}" if problem.detail else where,)
            self._by_reason[problem.reason] = replace(
                known, count=known.count + 1, examples=examples
            )

    def summaries(self) -> tuple[ProblemSummary, ...]:
        """Return the counted problems, the most frequent first."""
        return tuple(sorted(self._by_reason.values(), key=lambda summary: -summary.count))


def _write_batches(
    store: LabelStore,
    run_id: int,
    outcomes: Generator[ItemOutcome, None, None],
    total: int,
    batch_size: int,
    progress: ImageProgress | None,
) -> None:
    """Write outcomes batch by batch, until the end or until Ctrl-C is pressed."""
    labeled = failed = 0
    with StopRequest() as stop, closing(outcomes):
        while batch := list(islice(outcomes, batch_size)):
            store.write_batch(run_id, batch)
            failures = sum(outcome.labels is None for outcome in batch)
            labeled += len(batch) - failures
            failed += failures
            if progress is not None:
                progress.advance(labeled=len(batch) - failures, failed=failures, skipped=0)
            if stop.requested:
                raise RunInterrupted.of_images(ImageRunSummary(run_id, total, labeled, failed, 0))


def _convert_images(
    dataset: Dataset, origin: Origin, config: ImageConfig, problems: _ProblemCounter
) -> Generator[ItemOutcome, None, None]:
    for image in dataset.images():
        yield _convert_image(image, origin, config, problems)


def _convert_image(
    image: AnnotatedImage, origin: Origin, config: ImageConfig, problems: _ProblemCounter
) -> ItemOutcome:
    item_id, path, stamp = image.ref.item_id, image.ref.path, None
    with suppress(GroundedSAM2Error, OSError):  # fetch below fails with a better message
        stamp = image.ref.stamp()  # before the bytes are read, so that a later change is noticed
    try:
        path = image.ref.fetch()
        header = read_image_header(path, config=config)
        labels, image_problems = convert_annotations(
            image, header.size_hw, header.exif_orientation, origin
        )
    except (GroundedSAM2Error, OSError) as error:
        problems.add(image.problems, item_id=item_id)
        return ItemOutcome(Item(item_id, path, file_stamp=stamp), None, one_line(error))
    problems.add(image_problems, item_id=item_id)
    item = Item(
        item_id=item_id,
        path=path,
        content_hash=header.content_hash,
        size_hw=header.size_hw,
        exif_orientation=header.exif_orientation,
        file_stamp=stamp,
    )
    return ItemOutcome(item, labels)
