"""Labels every image of a source into a store, however often it takes.

    decode ahead ─► models ─► masks and decisions ─► store

All four are at work at the same time, a bounded number of batches between the first and the last.
Each batch is written in one transaction, and batches are cut from the stable order of the source,
so that neither timing nor interruptions change what is stored. Running again continues; what is
done is what has changed: an image whose file changed is labeled again, a caption that is new is
asked of all images, and a class that was renamed is renamed without a model.

An image that cannot be read, or that a model fails on, is one row with the reason, and the run
goes on. Failed images are tried again when their file changes or when asked (`retry_failed`):
most fail for a reason that stays, and a repeated command should do nothing when all is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

from grounded_sam2.config import Config
from grounded_sam2.engine.batched_inference import Asking
from grounded_sam2.engine.loader import Opened, Opening, opened_batches
from grounded_sam2.engine.memory_budget import MemoryBudget
from grounded_sam2.engine.run_config import OntologyChange, least_confidence, run_config_of
from grounded_sam2.engine.settling import Settled, ask, settle, settle_all
from grounded_sam2.engine.signals import StopRequest
from grounded_sam2.engine.stages import Occupancy, Stages, StageTime
from grounded_sam2.errors import (
    CheckpointError,
    ConfigError,
    OntologyError,
    PromptError,
    SourceError,
)
from grounded_sam2.inference.detect_and_segment import requested_captions
from grounded_sam2.models.protocols import Detector, Segmenter
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.sources.refs import FailedRef, ImageSource
from grounded_sam2.store import LabelStore

__all__ = [
    "Progress",
    "RunInterrupted",
    "RunSummary",
    "label_source",
]

_CPU_BATCH = 8

_FATAL: tuple[type[Exception], ...] = (CheckpointError, ConfigError, OntologyError)
"""Errors that the next image would meet as well."""

_RECORDED_PACKAGES = ("grounded-sam2", "torch", "transformers", "numpy", "pillow", "pycocotools")


class Progress(Protocol):
    """Told how a run comes along. Called in the thread that runs it."""

    def start(self, total: int) -> None:
        """The run begins; its source holds so many images."""
        ...

    def advance(self, *, labeled: int, failed: int, skipped: int) -> None:
        """So many more images are settled and safely written; skipped ones were so before."""
        ...


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What one call of `label_source` did."""

    run_id: int
    total: int
    """Pictures of the source."""
    labeled: int
    failed: int
    skipped: int
    """Pictures that an earlier call had settled."""
    decided: int = 0
    """Of the labeled, those that took no model: only what is made of its answers had changed."""
    removed: int = 0
    """Pictures of the run that the source no longer holds."""
    removed_ids: tuple[str, ...] = ()
    """The first of these."""
    pruned: bool = False
    """Whether their labels were dropped."""
    change: OntologyChange | None = None
    """What is different in the ontology since the call before."""
    seconds: float = 0.0
    batch_size: int = _CPU_BATCH
    stages: tuple[StageTime, ...] = ()

    @property
    def nothing_to_do(self) -> bool:
        """Whether an earlier call had settled everything."""
        return self.labeled == self.failed == 0


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C stopped a run; everything up to the batch in flight is written."""

    def __init__(self, summary: RunSummary) -> None:
        settled = summary.labeled + summary.failed + summary.skipped
        super().__init__(
            f"stopped after {settled} of {summary.total} images; run the same command again to "
            "continue"
        )
        self.summary = summary


def label_source(
    source: ImageSource,
    store: LabelStore,
    detector: Detector,
    segmenter: Segmenter,
    ontology: CaptionOntology | None,
    config: Config,
    *,
    models: Mapping[str, str] | None = None,
    auto_batch_size: Callable[[], int] = lambda: _CPU_BATCH,
    new_run: bool = False,
    retry_failed: bool = False,
    prune: bool = False,
    progress: Progress | None = None,
) -> RunSummary:
    """Label all images of a source that the store has no labels for.

    The models are not called when there is nothing to do, so that they may load when first asked.

    Args:
        source: images in a stable order, such as a `FolderSource`.
        store: opened with `LabelStore.create`.
        detector: finds boxes.
        segmenter: turns boxes into masks.
        ontology: captions and classes; ``None`` for tasks without captions.
        config: thresholds, clean-up, batch size, threads.
        models: model ids to record, by role; the configuration's checkpoints if ``None``.
        auto_batch_size: asked for what ``runtime.batch_size: auto`` means, when a run begins; a
            run that is continued keeps the size that it began with.
        new_run: allow a recipe that the store does not know beside those that it does. Where only
            thresholds or clean-up differ, what the models said is taken over from the earlier run.
        retry_failed: try failed images again although their files have not changed.
        prune: drop the labels of images that the source no longer holds.
        progress: told how it comes along.

    Raises:
        StoreError: the store was made with other settings, and `new_run` is false.
        RunInterrupted: Ctrl-C. What the models have begun is finished and written first.
        KeyboardInterrupt: a second Ctrl-C, which does not wait for it.
        CheckpointError, ConfigError, OntologyError, SourceError: nothing can be labeled so.
        SourceError: also when nothing is pruned, because a folder of the source cannot be read, and
            when the disk has no space for an image that must be fetched.
    """
    began = time.perf_counter()
    captions = requested_captions(ontology, config)
    pairs = None if ontology is None else tuple(ontology.to_dict().items())
    run_config = run_config_of(
        config, ontology, models=models, source=store.relative_path(source.root)
    )
    earlier = store.run_of(run_config)
    batch_size = _batch_size(config, earlier.settings if earlier else {}, auto_batch_size)
    run = store.begin_run(
        run_config,
        ontology=pairs,
        settings=config.with_options({"runtime.batch_size": batch_size}).to_dict(),
        versions=_versions(),
        new_run=new_run,
    )
    if prune:
        _check_readable(source)
    there = store.register_items(run.id, ((ref.item_id, ref.path) for ref in source), prune=prune)
    if progress is not None:
        progress.start(there.total)
    threads = {"decode": config.runtime.loader_threads, "models": 1, "masks": 1, "store": 1}
    occupancy = Occupancy(threads)
    budget = MemoryBudget(config.runtime.decoded_megabytes * 2**20)
    batches = opened_batches(
        source,
        store,
        run.id,
        config,
        captions,
        batch_size=batch_size,
        retry_failed=retry_failed,
        budget=budget,
        occupancy=occupancy,
    )
    asking = Asking(
        detector,
        segmenter,
        min_confidence=least_confidence(config),
        # What is wrong with an ontology's captions is wrong with them on every image.
        fatal=_FATAL if ontology is None else (*_FATAL, PromptError),
    )
    counts = _Counts()
    with (
        # However it ends: who waits for room that nobody will give back would wait for ever.
        closing(budget),
        Stages[list[Opening], list[Settled]](
            {
                "models": lambda batch: ask(batch, asking, budget, occupancy),
                "masks": lambda asked: settle_all(asked, ontology, config, occupancy),
            },
            # One decoded in each of the two stages, and as many ahead of them as is asked for.
            in_flight=config.runtime.prefetch + 2,
        ) as stages,
        closing(batches),
        StopRequest(then=stages.stop) as stop,
    ):
        try:
            for settled in stages.run(batches):
                with occupancy.at_work("store"):
                    counts.add(_write(store, run.id, settled), progress)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                "stopped at once; run the same command again to continue"
            ) from None
    if there.removed and not stop.requested:
        _decide_removed(store, run.id, captions, ontology, config)
    summary = RunSummary(
        run_id=run.id,
        total=there.total,
        labeled=counts.labeled,
        failed=counts.failed,
        skipped=counts.skipped,
        decided=counts.decided,
        removed=there.removed,
        removed_ids=there.removed_ids,
        pruned=prune,
        change=OntologyChange.between(earlier.ontology, pairs) if earlier else None,
        seconds=time.perf_counter() - began,
        batch_size=batch_size,
        stages=occupancy.times(),
    )
    if stop.requested:
        raise RunInterrupted(summary)
    return summary


def _batch_size(
    config: Config, settings_before: Mapping[str, Any], auto_batch_size: Callable[[], int]
) -> int:
    wanted = config.runtime.batch_size
    if wanted != "auto":
        return wanted
    before = settings_before.get("runtime", {}).get("batch_size")
    return before if isinstance(before, int) else auto_batch_size()


def _check_readable(source: ImageSource) -> None:
    """A folder that cannot be read looks like one whose images are gone."""
    for ref in source:
        if isinstance(ref, FailedRef):
            raise SourceError(
                f"{ref.reason}; its images may still be there, so that nothing is pruned: make "
                "it readable, or run without --prune"
            )


def _decide_removed(
    store: LabelStore,
    run_id: int,
    captions: Sequence[str],
    ontology: CaptionOntology | None,
    config: Config,
) -> None:
    """Decide anew about images that are gone, where what the models said is enough for it."""
    for item_id in store.pending_postprocess(run_id):
        found = store.predictions(run_id, item_id)
        if found is not None and found[1].captions.issuperset(captions):
            opened = Opened(found[0], earlier=found[1])
            _write(store, run_id, [settle(opened, None, ontology, config)])


def _write(store: LabelStore, run_id: int, batch: list[Settled]) -> list[Settled]:
    if results := [each.result for each in batch if each.result is not None]:
        store.write_batch(run_id, results)
    if touched := [each.item for each in batch if each.was_touched]:
        store.update_file_stamps(run_id, touched)
    return batch


@dataclass(slots=True)
class _Counts:
    labeled: int = 0
    failed: int = 0
    skipped: int = 0
    decided: int = 0

    def add(self, batch: list[Settled], progress: Progress | None) -> None:
        """Count a batch that is safely written."""
        results = [(each.result, each.took_model) for each in batch if each.result is not None]
        failed = sum(result.labels is None for result, _ in results)
        labeled, skipped = len(results) - failed, len(batch) - len(results)
        self.labeled += labeled
        self.failed += failed
        self.skipped += skipped
        self.decided += sum(not took_model for _, took_model in results)
        if progress is not None:
            progress.advance(labeled=labeled, failed=failed, skipped=skipped)


def _versions() -> dict[str, str]:
    versions = {}
    for package in _RECORDED_PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
