"""How far two runs agree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from grounded_sam2.evaluation.matching import ImageMatching, check_run_pair, match_labels
from grounded_sam2.store import LabelStore

__all__ = ["ClassComparison", "RunComparison", "compare_runs"]


@dataclass(frozen=True, slots=True)
class ClassComparison:
    """How far two runs agree on objects of one class."""

    class_name: str
    matched: int
    """Objects that both have."""
    missed: int
    """Objects that only the first has."""
    extra: int
    """Objects that only the second has."""
    mean_iou: float | None
    """Of the matched; ``None`` if there are none."""


@dataclass(frozen=True, slots=True)
class RunComparison:
    """How far two runs agree. Objects are compared in the images that both have."""

    first: int
    second: int
    """Ids of the runs."""
    images: int
    """Pictures that both have."""
    images_only_first: int
    images_only_second: int
    classes: tuple[ClassComparison, ...]
    """In the order of the first run's classes; then those that only the second has."""
    total: ClassComparison
    """Of all classes."""


def compare_runs(
    store: LabelStore, first: int, second: int, *, min_iou: float = 0.5
) -> RunComparison:
    """Compare two runs, image by image.

    Images are the same if the content of their files is, whatever their names. Objects are the
    same if they are of one class and overlap; see `grounded_sam2.evaluation.matching.match_labels`.

    Args:
        store: holds both.
        first: id of the run that is taken for the truth: what the second lacks is missed.
        second: id of the other run.
        min_iou: objects that overlap less are two.

    Raises:
        StoreError: there is no such run, both are one, or `min_iou` is not within 0 and 1.
    """
    with store.snapshot():
        check_run_pair(store, first, second, min_iou)
        pairs = ImageMatching(store, first, second)
        names = dict.fromkeys([*store.classes(first), *store.classes(second)])
        tallies = {name: _Tally() for name in names}
        only_first = 0
        for item, labels in store.labels(first):
            partner = pairs.match_of(item.item_id)
            if partner is None:
                only_first += 1
                continue
            others = store.labels_of(second, partner)
            assert others is not None, "pairs are made of what is labeled"
            for label in labels.objects:
                tallies[label.class_name].first += 1
            for label in others.objects:
                tallies[label.class_name].second += 1
            for pair in match_labels(labels.objects, others.objects, min_iou):
                tally = tallies[labels.objects[pair.first].class_name]
                tally.matched += 1
                tally.iou_sum += pair.iou
        return RunComparison(
            first=first,
            second=second,
            images=len(pairs),
            images_only_first=only_first,
            images_only_second=len(pairs.unmatched_in_second()),
            classes=tuple(tally.result(name) for name, tally in tallies.items()),
            total=_total(tallies.values()).result("all classes"),
        )


@dataclass(slots=True)
class _Tally:
    """Counts of one class while the images go by."""

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
