"""Comparison of two runs: matched, missed and extra objects of each class."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from grounded_sam2.evaluation.matching import ImageMatching, check_run_pair, match_labels
from grounded_sam2.store import LabelStore

__all__ = ["ClassComparison", "RunComparison", "compare_runs"]


@dataclass(frozen=True, slots=True)
class ClassComparison:
    """Agreement of two runs on the objects of one class."""

    class_name: str
    matched: int
    """Objects in both runs."""
    missed: int
    """Objects in the first run only."""
    extra: int
    """Objects in the second run only."""
    mean_iou: float | None
    """Of the matched objects; ``None`` if there are none."""


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Agreement of two runs. Objects are compared in the images that are in both."""

    first: int
    second: int
    """Ids of the runs."""
    images: int
    """Images in both runs."""
    images_only_first: int
    images_only_second: int
    classes: tuple[ClassComparison, ...]
    """In the order of the first run's classes, followed by classes of the second run only."""
    total: ClassComparison
    """All classes together."""


def compare_runs(
    store: LabelStore, first: int, second: int, *, min_iou: float = 0.5
) -> RunComparison:
    """Compare two runs, image by image.

    Images are matched by the content of their files, whatever their names. Objects are matched
    within a class by overlap; see `grounded_sam2.evaluation.matching.match_labels`.

    Args:
        store: the store of both runs.
        first: id of the reference run: objects that the second run lacks are missed.
        second: id of the other run.
        min_iou: minimum IoU of matched objects.

    Raises:
        StoreError: there is no such run, both are the same, or `min_iou` is not within 0 and 1.
    """
    with store.snapshot():
        check_run_pair(store, first, second, min_iou)
        matching = ImageMatching(store, first, second)
        names = dict.fromkeys([*store.classes(first), *store.classes(second)])
        tallies = {name: _Tally() for name in names}
        only_first = 0
        for item, labels in store.labels(first):
            match = matching.match_of(item.item_id)
            if match is None:
                only_first += 1
                continue
            others = store.labels_of(second, match)
            assert others is not None, "only labeled images are matched"
            for label in labels.objects:
                tallies[label.class_name].first += 1
            for label in others.objects:
                tallies[label.class_name].second += 1
            for found in match_labels(labels.objects, others.objects, min_iou):
                tally = tallies[labels.objects[found.first].class_name]
                tally.matched += 1
                tally.iou_sum += found.iou
        return RunComparison(
            first=first,
            second=second,
            images=len(matching),
            images_only_first=only_first,
            images_only_second=len(matching.unmatched_in_second()),
            classes=tuple(tally.result(name) for name, tally in tallies.items()),
            total=_total(tallies.values()).result("all classes"),
        )


@dataclass(slots=True)
class _Tally:
    """Running counts of one class."""

    first: int = 0
    second: int = 0
    matched: int = 0
    iou_sum: float = 0.0

    def result(self, class_name: str) -> ClassComparison:
        return ClassComparison(
            class_name=class_name,
            matched=self.matched,
            missed=self.first - self.matched,
            extra=self.second - self.matched,
            mean_iou=self.iou_sum / self.matched if self.matched else None,
        )


def _total(tallies: Iterable[_Tally]) -> _Tally:
    total = _Tally()
    for tally in tallies:
        total.first += tally.first
        total.second += tally.second
        total.matched += tally.matched
        total.iou_sum += tally.iou_sum
    return total
