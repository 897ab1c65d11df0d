"""Merging of two runs into a third, with each object once.

The merged run is added next to the two runs; its run configuration names them, so that merging the
same runs again updates it to their current labels. Images and objects of one run only are copied
unchanged. Of two matching labels the human one is kept; if both or neither are human, that of the
first run.
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
    """Write the union of two runs as a run, which becomes the current run.

    Images are matched by the content of their files, whatever their names; the first run's name is
    used. Objects are matched within a class by overlap; see
    `grounded_sam2.evaluation.matching.match_labels`.

    Args:
        folder: folder of the label store.
        first: id of a run.
        second: id of another run.
        min_iou: minimum IoU of matched objects.

    Returns:
        Counts of the merged run.

    Raises:
        StoreError: there is no such run, both are the same, one contains videos, `min_iou` is not
            within 0 and 1, or another process is writing.
    """
    # The snapshot keeps the labels that are read constant while the merged run is written.
    with LabelStore.open(folder) as before, LabelStore.create(folder) as store, before.snapshot():
        check_run_pair(before, first, second, min_iou)
        for run_id in (first, second):
            if before.videos(run_id):
                raise StoreError(
                    f"run {run_id} contains videos: the tracks of two runs cannot be merged; "
                    "compare the runs, or export each"
                )
        matching = ImageMatching(before, first, second)
        runs = [before.run(run_id) for run_id in (first, second)]
        run = store.begin_run(
            RunConfig(
                models={"merge of runs": f"{first}, {second}"},
                inference={"runs": [each.config.key for each in runs], "min_iou": min_iou},
            ),
            ontology=_merge_ontologies(runs[0].ontology or (), runs[1].ontology or ()),
            versions={"grounded-sam2": version("grounded-sam2")},
            new_run=True,
        )
        new_ids = _new_ids(before, first, second, matching)
        ids = [item.item_id for item in before.done_items(first)]
        store.register_items(
            run.id, ((each, None) for each in [*ids, *new_ids.values()]), prune=True
        )
        outcomes = _merge_images(before, first, second, matching, new_ids, min_iou)
        while batch := list(islice(outcomes, _BATCH)):
            store.write_batch(run.id, batch)
        return store.summary(run.id)


def merge_labels(
    first: Sequence[Label], second: Sequence[Label], matches: Sequence[LabelMatch]
) -> tuple[Label, ...]:
    """Merge the labels of one image: those of the first run, then the unmatched of the second."""
    merged = list(first)
    for match in matches:
        if second[match.second].origin == "human" and first[match.first].origin != "human":
            merged[match.first] = second[match.second]
    matched = {match.second for match in matches}
    return (*merged, *(label for index, label in enumerate(second) if index not in matched))


def _merge_images(
    store: LabelStore,
    first: int,
    second: int,
    matching: ImageMatching,
    new_ids: dict[str, str],
    min_iou: float,
) -> Iterator[ItemOutcome]:
    for item, labels in store.labels(first):
        match = matching.match_of(item.item_id)
        others = None if match is None else store.labels_of(second, match)
        if others is not None:
            matches = match_labels(labels.objects, others.objects, min_iou)
            labels = Labels(labels.size_hw, merge_labels(labels.objects, others.objects, matches))
        yield ItemOutcome(item, labels)
    for item, labels in store.labels(second):
        if item.item_id in new_ids:
            yield ItemOutcome(replace(item, item_id=new_ids[item.item_id]), labels)


def _new_ids(store: LabelStore, first: int, second: int, matching: ImageMatching) -> dict[str, str]:
    """Ids in the merged run of the images of the second run only, by their ids there."""
    taken = UniqueIds()
    for item in store.done_items(first):
        taken.claim(item.item_id, otherwise="")
    return {
        item_id: taken.claim(item_id, otherwise=f"run-{second}")
        for item_id in sorted(matching.unmatched_in_second())
    }


def _merge_ontologies(first: OntologyPairs, second: OntologyPairs) -> OntologyPairs:
    """Captions and classes of both runs; the first wins where they differ on a caption."""
    known = dict(first)
    return (*first, *((caption, name) for caption, name in second if caption not in known))
