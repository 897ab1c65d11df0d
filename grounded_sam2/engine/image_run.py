"""Label every image of a source into a store, resuming where an earlier run ended.

    plan and decode ─► models ─► masks and post-processing ─► store

All four stages work at the same time, with a bounded number of batches between the first and the
last. Each batch is written in one transaction, and batches are cut from the stable order of the
source, so that neither timing nor interruptions change what is stored. A repeated run does what
has changed: it labels new and changed files, sends new captions to the models, and renames classes
without a model.

An image that cannot be read, or that a model fails on, is one row with the reason, and the run
goes on. Failed images are tried again when their file changes or with `retry_failed`: most fail for
a reason that stays, and a repeated command should do nothing when all is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from grounded_sam2.config import Config
from grounded_sam2.engine.batched_inference import BatchedInference, detect_batch
from grounded_sam2.engine.loader import PendingImage, load_batches
from grounded_sam2.engine.memory_budget import MemoryBudget
from grounded_sam2.engine.run_config import (
    OntologyChange,
    image_run_config,
    lowest_confidence,
    package_versions,
)
from grounded_sam2.engine.signals import StopRequest
from grounded_sam2.engine.stages import StagePipeline, StageTimer
from grounded_sam2.engine.summaries import ImageRunSummary, RunInterrupted
from grounded_sam2.engine.work_item import WorkItem, postprocess_item
from grounded_sam2.errors import (
    CheckpointError,
    ConfigError,
    OntologyError,
    PromptError,
    SourceError,
)
from grounded_sam2.inference.grounding import requested_captions
from grounded_sam2.models.protocols import Grounder
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.results import ImageProgress
from grounded_sam2.sources.refs import FailedRef, ImageSource
from grounded_sam2.store import LabelStore

__all__ = ["label_images"]

_CPU_BATCH = 8

_FATAL: tuple[type[Exception], ...] = (CheckpointError, ConfigError, OntologyError)
"""Errors that the next image would meet as well."""


def label_images(
    source: ImageSource,
    store: LabelStore,
    grounder: Grounder,
    ontology: CaptionOntology | None,
    config: Config,
    *,
    models: Mapping[str, str] | None = None,
    auto_batch_size: Callable[[], int] = lambda: _CPU_BATCH,
    new_run: bool = False,
    retry_failed: bool = False,
    prune: bool = False,
    progress: ImageProgress | None = None,
) -> ImageRunSummary:
    """Label all images of a source that the store has no current labels for.

    Args:
        source: images in a stable order, such as a `FolderSource`.
        store: opened with `LabelStore.create`.
        grounder: finds objects and their masks; not called when there is nothing to do, so that
            its models may load lazily.
        ontology: captions and classes; ``None`` for tasks without captions.
        config: thresholds, clean-up, batch size, threads.
        models: model ids to record, by role; the configuration's checkpoints if ``None``.
        auto_batch_size: called when a run begins, for ``runtime.batch_size: auto``; a run that is
            continued keeps its size.
        new_run: allow a run configuration that the store does not hold yet beside those that it
            does. Where only thresholds or clean-up differ, raw predictions are copied from the
            earlier run.
        retry_failed: try failed images again although their files have not changed.
        prune: drop the labels of images that the source no longer holds.
        progress: receives the counts of every committed batch.

    Raises:
        StoreError: the store was made with other settings, and `new_run` is false.
        RunInterrupted: Ctrl-C, after the batches in flight were finished and written.
        KeyboardInterrupt: a second Ctrl-C, which does not wait for them.
        CheckpointError, ConfigError, OntologyError, PromptError, SourceError: no image can be
            labeled.
        SourceError: also when nothing is pruned, because a folder of the source cannot be read, and
            when the disk has no space for an image that must be downloaded.
    """
    began = time.perf_counter()
    captions = requested_captions(ontology, config)
    pairs = None if ontology is None else tuple(ontology.to_dict().items())
    run_config = image_run_config(
        config, ontology, models=models, source=store.relative_path(source.root)
    )
    earlier = store.run_of(run_config)
    batch_size = _batch_size(config, earlier.settings if earlier else {}, auto_batch_size)
    run = store.begin_run(
        run_config,
        ontology=pairs,
        settings=config.with_options({"runtime.batch_size": batch_size}).to_dict(),
        versions=package_versions(),
        new_run=new_run,
    )
    if prune:
        _check_readable(source)
    registered = store.register_items(
        run.id, ((ref.item_id, ref.path) for ref in source), prune=prune
    )
    if progress is not None:
        progress.start(registered.total)
    threads = {"decode": config.runtime.loader_threads, "models": 1, "masks": 1, "store": 1}
    timer = StageTimer(threads)
    budget = MemoryBudget(config.runtime.decoded_megabytes * 2**20)
    batches = load_batches(
        source,
        store,
        run.id,
        config,
        captions,
        batch_size=batch_size,
        retry_failed=retry_failed,
        budget=budget,
        timer=timer,
    )
    inference = BatchedInference(
        grounder,
        min_confidence=lowest_confidence(config),
        # A caption that a model refuses is refused on every image.
        fatal=_FATAL if ontology is None else (*_FATAL, PromptError),
    )

    def postprocess_batch(finish: Callable[[], list[WorkItem]]) -> list[WorkItem]:
        with timer.measure("masks"):
            return [postprocess_item(work, ontology, config) for work in finish()]

    counts = _Counts()
    with (
        closing(budget),  # even on failure: a blocked loader thread would never end
        StagePipeline[list[PendingImage], list[WorkItem]](
            {
                "models": lambda batch: detect_batch(batch, inference, budget, timer),
                "masks": postprocess_batch,
            },
            # One batch in each of the two stages, and `prefetch` decoded ahead of them.
            in_flight=config.runtime.prefetch + 2,
        ) as pipeline,
        closing(batches),
        StopRequest(then=pipeline.stop) as stop,
    ):
        try:
            for finished in pipeline.run(batches):
                with timer.measure("store"):
                    _write(store, run.id, finished)
                    counts.add(finished, progress)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                "stopped at once; run the same command again to continue"
            ) from None
    if registered.removed and not stop.requested:
        _postprocess_removed(store, run.id, captions, ontology, config)
    summary = ImageRunSummary(
        run_id=run.id,
        total=registered.total,
        labeled=counts.labeled,
        failed=counts.failed,
        skipped=counts.skipped,
        postprocessed=counts.postprocessed,
        removed=registered.removed,
        removed_ids=registered.removed_ids,
        pruned=prune,
        change=OntologyChange.between(earlier.ontology, pairs) if earlier else None,
        seconds=time.perf_counter() - began,
        batch_size=batch_size,
        stages=timer.times(),
    )
    if stop.requested:
        raise RunInterrupted.of_images(summary)
    return summary


def _batch_size(
    config: Config, earlier_settings: Mapping[str, Any], auto_batch_size: Callable[[], int]
) -> int:
    wanted = config.runtime.batch_size
    if wanted != "auto":
        return wanted
    earlier = earlier_settings.get("runtime", {}).get("batch_size")
    return earlier if isinstance(earlier, int) else auto_batch_size()


def _check_readable(source: ImageSource) -> None:
    """Refuse to prune while a folder cannot be read: its images only seem to be gone."""
    for ref in source:
        if isinstance(ref, FailedRef):
            raise SourceError(
                f"{ref.reason}; its images may still be there, so that nothing is pruned: make "
                "it readable, or run without --prune"
            )


def _postprocess_removed(
    store: LabelStore,
    run_id: int,
    captions: Sequence[str],
    ontology: CaptionOntology | None,
    config: Config,
) -> None:
    """Post-process anew images that are gone, where their raw predictions suffice."""
    for item_id in store.pending_postprocess(run_id):
        found = store.predictions(run_id, item_id)
        if found is not None and found[1].captions.issuperset(captions):
            item, predictions = found
            work = WorkItem(item, "postprocess", predictions=predictions)
            _write(store, run_id, [postprocess_item(work, ontology, config)])


def _write(store: LabelStore, run_id: int, batch: Sequence[WorkItem]) -> None:
    if outcomes := [work.outcome for work in batch if work.outcome is not None]:
        store.write_batch(run_id, outcomes)
    if touched := [work.item for work in batch if work.is_touched]:
        store.update_file_stamps(run_id, touched)


@dataclass(slots=True)
class _Counts:
    labeled: int = 0
    failed: int = 0
    skipped: int = 0
    postprocessed: int = 0

    def add(self, batch: Sequence[WorkItem], progress: ImageProgress | None) -> None:
        """Count a committed batch."""
        done = [(work, work.outcome) for work in batch if work.outcome is not None]
        without_failed = [work for work, outcome in done if outcome.labels is not None]
        labeled, failed = len(without_failed), len(done) - len(without_failed)
        skipped = len(batch) - len(done)
        self.labeled += labeled
        self.failed += failed
        self.skipped += skipped
        self.postprocessed += sum(not work.used_models for work in without_failed)
        if progress is not None:
            progress.advance(labeled=labeled, failed=failed, skipped=skipped)
