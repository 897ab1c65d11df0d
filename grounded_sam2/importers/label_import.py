"""Reads a dataset of existing labels into a label store, as a run of its own.

An import stands in the store beside what models have labeled, under the recipe ``{"import": …}``:
it can be looked at, exported, compared and merged as any other run. Importing the same dataset
again is the same run, brought to what the dataset says now.

Images are noted first and settled in batches, each one transaction, so that a run which was
interrupted shows what it lacks, and the same call completes it. An image that cannot be read is
one row with the reason; an annotation that cannot is counted and named; the import goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, closing, suppress
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from grounded_sam2.config import ImageConfig
from grounded_sam2.engine.image_run import Progress, RunInterrupted, RunSummary
from grounded_sam2.engine.signals import StopRequest
from grounded_sam2.errors import DatasetError, GroundedSAM2Error, one_line
from grounded_sam2.importers.conversion import convert_annotations
from grounded_sam2.importers.dataset import AnnotatedImage, Dataset, ImportOptions
from grounded_sam2.importers.formats.coco import open_coco
from grounded_sam2.importers.formats.hugging_face import open_hugging_face
from grounded_sam2.importers.formats.yolo import open_yolo
from grounded_sam2.importers.recognition import detect_format
from grounded_sam2.importers.summary import ImportSummary, ProblemCounter
from grounded_sam2.results import Origin
from grounded_sam2.sources.image import read_image_header
from grounded_sam2.store import Item, ItemOutcome, LabelStore, RunConfig

__all__ = ["IMPORTERS", "Importer", "check_format", "import_labels"]

Importer: TypeAlias = Callable[[Path, ImportOptions], AbstractContextManager[Dataset]]
"""Opens a dataset. Raises `DatasetError` if it is none, or cannot be read as a whole."""

IMPORTERS: Mapping[str, Importer] = {
    "coco": open_coco,
    "yolo": open_yolo,
    "hf": open_hugging_face,
}
"""Every format by the name that the command line knows it by."""

_BATCH = 64
"""Pictures per transaction: the most that an interruption costs."""


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
    progress: Progress | None = None,
) -> ImportSummary:
    """Read existing labels into the label store of a folder. No model is needed.

    The import becomes the current run of the store. Images stay where they are, except those of a
    Parquet file, which are copied into the output folder.

    Args:
        path: a COCO file or folder; a YOLO folder or its ``data.yaml``; a folder of Parquet files.
        output_folder: folder of the label store; made if it is not there.
        format: ``coco``, ``yolo`` (outlines, boxes or both) or ``hf``; recognized if ``None``.
        images: folder of the images, where they are not where the format has them.
        origin: who made the labels.
        name: tells apart imports of one dataset that should be runs of their own, such as two
            states of it. ``None``: every import of a dataset is the same run.
        crowds: take the regions that COCO marks as crowds for objects too.
        config: limits for images; the defaults if ``None``.
        progress: told how it comes along.

    Returns:
        What came in, and all that could not be read.

    Raises:
        DatasetError: there is no such dataset, or it cannot be read as a whole. Nothing is
            written then.
        StoreError: the output folder cannot be written, or another process is writing it.
        RunInterrupted: Ctrl-C; whole batches are written, and the same call completes the rest.
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
            total = sum(1 for _ in dataset.item_ids())  # what is wrong with the whole shows here
            if not total:
                raise DatasetError(f"'{path}' holds no images")
            run = store.begin_run(
                run_config,
                ontology=tuple((each, each) for each in dataset.classes),
                versions={"grounded-sam2": version("grounded-sam2")},
                new_run=True,
            )
            store.register_items(run.id, ((each, None) for each in dataset.item_ids()), prune=True)
            if progress is not None:
                progress.start(total)
            problems = ProblemCounter()
            results = _results(dataset, origin, config or ImageConfig(), problems)
            _write(store, run.id, results, total, progress)
            problems.add(dataset.unassigned())
        return ImportSummary(format_name, store.summary(run.id), problems.sorted())


def check_format(name: str) -> str:
    """The name, or `DatasetError` if there is no such format; names those that there are."""
    if name not in IMPORTERS:
        raise DatasetError(
            f"format '{name}' cannot be imported; choose from {', '.join(IMPORTERS)}"
        )
    return name


def _write(
    store: LabelStore,
    run_id: int,
    results: Generator[ItemOutcome, None, None],
    total: int,
    progress: Progress | None,
) -> None:
    """Write results batch by batch, until all are or Ctrl-C is pressed."""
    labeled = failed = 0
    with StopRequest() as stop, closing(results):
        while batch := list(islice(results, _BATCH)):
            store.write_batch(run_id, batch)
            failures = sum(result.labels is None for result in batch)
            labeled += len(batch) - failures
            failed += failures
            if progress is not None:
                progress.advance(labeled=len(batch) - failures, failed=failures, skipped=0)
            if stop.requested:
                raise RunInterrupted(RunSummary(run_id, total, labeled, failed, 0))


def _results(
    dataset: Dataset, origin: Origin, config: ImageConfig, problems: ProblemCounter
) -> Generator[ItemOutcome, None, None]:
    for given in dataset.images():
        yield _result(given, origin, config, problems)


def _result(
    given: AnnotatedImage, origin: Origin, config: ImageConfig, problems: ProblemCounter
) -> ItemOutcome:
    item_id, path, stamp = given.ref.item_id, given.ref.path, None
    with suppress(GroundedSAM2Error, OSError):  # what is wrong shows at once, in better words
        stamp = given.ref.stamp()  # before the bytes: a change while reading shows later
    try:
        path = given.ref.fetch()
        header = read_image_header(path, config=config)
        labels, image_problems = convert_annotations(
            given, header.size_hw, header.exif_orientation, origin
        )
    except (GroundedSAM2Error, OSError) as error:
        problems.add(given.problems, of=item_id)
        return ItemOutcome(Item(item_id, path, file_stamp=stamp), None, one_line(error))
    problems.add(image_problems, of=item_id)
    item = Item(
        item_id=item_id,
        path=path,
        content_hash=header.content_hash,
        size_hw=header.size_hw,
        exif_orientation=header.exif_orientation,
        file_stamp=stamp,
    )
    return ItemOutcome(item, labels)
