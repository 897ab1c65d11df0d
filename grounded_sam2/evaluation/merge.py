"""Both of two runs in one, each thing once.

The merged run stands beside the two it is made of, under a recipe that names them: merging the same
runs again brings it to what they say now. What only one run has, image or object, is taken over
as it is. Of two labels that mean one thing, the one that a person made is taken; of two by people,
or two by models, that of the first run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path

from grounded_sam2.errors import StoreError
from grounded_sam2.evaluation.matching import (
    ImageMatching,
    LabelMatch,
    check_run_pair,
    match_labels,
)
from grounded_sam2.results import Label, Labels
from grounded_sam2.sources.names import UniqueIds
from grounded_sam2.store import ItemOutcome, LabelStore, OntologyPairs, RunConfig, StoreSummary

__all__ = ["merge_labels", "merge_runs"]

_BATCH = 64


def merge_runs(
    folder: str | Path, first: int, second: int, *, min_iou: float = 0.5
) -> StoreSummary:
    """Write a run that holds what either of two runs holds. It becomes the current run.

    Images are the same if the content of their files is, whatever their names; the first run's
    name is taken. Objects are the same if they are of one class and overlap; see
    `grounded_sam2.evaluation.matching.match_labels`.

    Args:
        folder: of the label store.
        first: id of a run.
        second: id of another run.
        min_iou: objects that overlap less are two.

    Returns:
        Counts of the merged run.

    Raises:
        StoreError: there is no such run, both are one, one holds videos, `min_iou` is not within 0
            and 1, or another process is writing.
    """
    # What is read while the merged run is written is one state of the store.
    with LabelStore.open(folder) as before, LabelStore.create(folder) as store, before.snapshot():
        check_run_pair(before, first, second, min_iou)
        for run_id in (first, second):
            if before.videos(run_id):
                raise StoreError(
                    f"run {run_id} holds videos: the tracks of two runs cannot be merged; compare "
                    "the runs, or export each"
                )
        pairs = ImageMatching(before, first, second)
        runs = [before.run(run_id) for run_id in (first, second)]
        run = store.begin_run(
            RunConfig(
                models={"merge of runs": f"{first}, {second}"},
                inference={"runs": [each.config.key for each in runs], "min_iou": min_iou},
            ),
            ontology=_ontology(runs[0].ontology or (), runs[1].ontology or ()),
            versions={"grounded-sam2": version("grounded-sam2")},
            new_run=True,
        )
        new_ids = _new_ids(before, first, second, pairs)
        ids = [item.item_id for item in before.done_items(first)]
        store.register_items(
            run.id, ((each, None) for each in [*ids, *new_ids.values()]), prune=True
        )
        results = _results(before, first, second, pairs, new_ids, min_iou)
        while batch := list(islice(results, _BATCH)):
            store.write_batch(run.id, batch)
        return store.summary(run.id)


def merge_labels(
    first: Sequence[Label], second: Sequence[Label], pairs: Sequence[LabelMatch]
) -> tuple[Label, ...]:
    """The labels of one image: those of the first, then those that only the second has."""
    merged = list(first)
    for pair in pairs:
        if second[pair.second].origin == "human" and first[pair.first].origin != "human":
            merged[pair.first] = second[pair.second]
    paired = {pair.second for pair in pairs}
    return (*merged, *(label for index, label in enumerate(second) if index not in paired))


def _results(
    store: LabelStore,
    first: int,
    second: int,
    pairs: ImageMatching,
    new_ids: dict[str, str],
    min_iou: float,
) -> Iterator[ItemOutcome]:
    for item, labels in store.labels(first):
        partner = pairs.match_of(item.item_id)
        others = None if partner is None else store.labels_of(second, partner)
        if others is not None:
            same = match_labels(labels.objects, others.objects, min_iou)
            labels = Labels(labels.size_hw, merge_labels(labels.objects, others.objects, same))
        yield ItemOutcome(item, labels)
    for item, labels in store.labels(second):
        if item.item_id in new_ids:
            yield ItemOutcome(replace(item, item_id=new_ids[item.item_id]), labels)


def _new_ids(store: LabelStore, first: int, second: int, pairs: ImageMatching) -> dict[str, str]:
    """Ids in the merged run of the images that only the second has, by their ids there."""
    taken = UniqueIds()
    for item in store.done_items(first):
        taken.claim(item.item_id, otherwise="")
    return {
        item_id: taken.claim(item_id, otherwise=f"run-{second}")
        for item_id in sorted(pairs.unmatched_in_second())
    }


def _ontology(first: OntologyPairs, second: OntologyPairs) -> OntologyPairs:
    """Captions and classes of both; where they differ on a caption, as in the first."""
    known = dict(first)
    return (*first, *((caption, name) for caption, name in second if caption not in known))
