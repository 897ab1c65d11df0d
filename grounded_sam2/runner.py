"""Labels every picture of a source into a store, however often it takes.

Pictures are decoded ahead in threads, labeled in batches, and each batch is written in one
transaction. Batches are cut from the stable order of the source before finished items are left
out, so that a run which was interrupted forms the same ones. Running again continues; a picture
is labeled again only when its file has changed.

A picture that cannot be read, or that a model fails on, is one row with the reason, and the run
goes on. Failed pictures are tried again when their file changes or when asked (`retry_failed`):
most fail for a reason that stays, and a repeated command should do nothing when all is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

from grounded_sam2.config import Config
from grounded_sam2.errors import CheckpointError, ConfigError, OntologyError, PromptError
from grounded_sam2.interrupts import StopRequest
from grounded_sam2.labeling import label_images
from grounded_sam2.models.protocols import Detector, Segmenter
from grounded_sam2.ontology import CaptionOntology
from grounded_sam2.prefetch import Opened, PictureSource, opened_batches, reason
from grounded_sam2.results import Image, Labels
from grounded_sam2.store import ItemResult, LabelStore, Recipe

__all__ = [
    "PictureSource",
    "Progress",
    "RunInterrupted",
    "RunSummary",
    "label_source",
    "recipe_of",
]

_ONLY_SPEED = {("detector", "batch_size"), ("segmenter", "prompts_per_batch")}
"""Options of the models that change no label, like all of ``runtime``: they may change in a run."""

_FATAL: tuple[type[Exception], ...] = (CheckpointError, ConfigError, OntologyError)
"""Errors that the next picture would meet as well."""

_RECORDED_PACKAGES = ("grounded-sam2", "torch", "transformers", "numpy", "pillow", "pycocotools")


class Progress(Protocol):
    """Told how a run comes along. Called in the thread that runs it."""

    def start(self, total: int) -> None:
        """The run begins; its source holds so many pictures."""
        ...

    def advance(self, *, labeled: int, failed: int, skipped: int) -> None:
        """So many more pictures are settled and safely written; skipped ones were so before."""
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

    @property
    def nothing_to_do(self) -> bool:
        """Whether an earlier call had settled everything."""
        return self.labeled == self.failed == 0


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C stopped a run; everything up to the batch in flight is written."""

    def __init__(self, summary: RunSummary) -> None:
        settled = summary.labeled + summary.failed + summary.skipped
        super().__init__(
            f"stopped after {settled} of {summary.total} pictures; run the same command again to "
            "continue"
        )
        self.summary = summary


def recipe_of(
    config: Config,
    ontology: CaptionOntology | None,
    *,
    models: Mapping[str, str] | None = None,
    source: str | None = None,
) -> Recipe:
    """What determines the labels: models, ontology, and the options that change results.

    Args:
        config: the configuration. ``runtime``, ``images`` and batch sizes are left out.
        ontology: captions and classes, or ``None``.
        models: model ids by role; the configuration's checkpoints if ``None``.
        source: where the pictures are, as `LabelStore.relative` writes it.
    """
    options = {
        section: {
            key: value
            for key, value in values.items()
            if key != "checkpoint" and (section, key) not in _ONLY_SPEED
        }
        for section, values in config.to_dict().items()
        if section in ("detector", "segmenter", "cleanup")
    }
    checkpoints = {
        "detector": config.detector.checkpoint,
        "segmenter": config.segmenter.checkpoint,
    }
    pairs = None
    if ontology is not None:
        pairs = tuple((c, ontology.caption_to_class(c)) for c in ontology.prompts())
    return Recipe(
        models=dict(checkpoints if models is None else models),
        config=options,
        ontology=pairs,
        source=source,
    )


def label_source(
    source: PictureSource,
    store: LabelStore,
    detector: Detector,
    segmenter: Segmenter,
    ontology: CaptionOntology | None,
    config: Config,
    *,
    models: Mapping[str, str] | None = None,
    new_run: bool = False,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> RunSummary:
    """Label all pictures of a source that the store has no labels for.

    The models are not called when there is nothing to do, so that they may load when first asked.

    Args:
        source: pictures in a stable order, such as a `FolderSource`.
        store: opened with `LabelStore.create`.
        detector: finds boxes.
        segmenter: turns boxes into masks.
        ontology: captions and classes; ``None`` for tasks without captions.
        config: thresholds, clean-up, batch size, threads.
        models: model ids to record, by role; the configuration's checkpoints if ``None``.
        new_run: allow a recipe that the store does not know beside those that it does.
        retry_failed: try failed pictures again although their files have not changed.
        progress: told how it comes along.

    Raises:
        StoreError: the store was made with other settings, and `new_run` is false.
        RunInterrupted: Ctrl-C. The batch in flight is finished and written first; a second Ctrl-C
            does not wait for it.
        CheckpointError, ConfigError, OntologyError, SourceError: nothing can be labeled so.
    """
    run = store.begin_run(
        recipe_of(config, ontology, models=models, source=store.relative(source.root)),
        settings=config.to_dict(),
        versions=_versions(),
        new_run=new_run,
    )
    total = store.register(run.id, ((ref.item_id, ref.path) for ref in source))
    if progress is not None:
        progress.start(total)
    label = partial(
        label_images, detector=detector, segmenter=segmenter, ontology=ontology, config=config
    )
    # What is wrong with an ontology's captions is wrong with them on every picture.
    fatal = _FATAL if ontology is None else (*_FATAL, PromptError)
    labeled = failed = skipped = 0
    batches = opened_batches(source, store, run.id, config, retry_failed=retry_failed)
    with StopRequest() as stop, closing(batches):
        for batch in batches:
            results = _settle(batch, label, fatal)
            store.write_batch(run.id, results)
            failures = sum(result.labels is None for result in results)
            labeled += len(results) - failures
            failed += failures
            skipped += len(batch) - len(results)
            if progress is not None:
                progress.advance(
                    labeled=len(results) - failures,
                    failed=failures,
                    skipped=len(batch) - len(results),
                )
            if stop.requested:
                break
    summary = RunSummary(run.id, total, labeled, failed, skipped)
    if stop.requested:
        raise RunInterrupted(summary)
    return summary


def _settle(
    batch: Sequence[Opened],
    label: Callable[[Sequence[Image]], list[Labels]],
    fatal: tuple[type[Exception], ...],
) -> list[ItemResult]:
    """Results of the pictures of a batch that need any, in order."""
    frames = [opened.frame for opened in batch if opened.frame is not None]
    answers = iter(_label([frame.image for frame in frames], label, fatal))
    results = []
    for opened in batch:
        answer = next(answers) if opened.frame is not None else opened.error
        if isinstance(answer, Labels):
            results.append(ItemResult(opened.item(), answer))
        elif answer is not None:
            results.append(ItemResult(opened.item(), None, answer))
    return results


def _label(
    images: Sequence[Image],
    label: Callable[[Sequence[Image]], list[Labels]],
    fatal: tuple[type[Exception], ...],
) -> list[Labels | str]:
    """Labels of each picture, or the reason why there are none.

    When a model fails on a batch, its pictures are tried one by one, so that only the culprit
    fails; and none does where the batch as a whole was too large for the memory.
    """
    if not images:
        return []
    try:
        return list(label(images))
    except fatal:
        raise
    except Exception as error:
        if len(images) == 1:
            return [reason(error)]
    return [answer for image in images for answer in _label([image], label, fatal)]


def _versions() -> dict[str, str]:
    versions = {}
    for package in _RECORDED_PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
