"""What belongs together in two runs: images of one content, objects of one class in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from grounded_sam2.errors import StoreError
from grounded_sam2.geometry.matching import match_optimal
from grounded_sam2.geometry.overlap import mixed_iou
from grounded_sam2.results import Label
from grounded_sam2.store import LabelStore

__all__ = ["ImageMatching", "LabelMatch", "check_run_pair", "match_labels"]


class LabelMatch(NamedTuple):
    """Two labels that mean one thing."""

    first: int
    second: int
    """Index into the labels of each run."""
    iou: float


class ImageMatching:
    """Which image of one run is which of another, by the content of their files.

    Their names may differ: a dataset calls its images as it likes. Images that never were files
    are known by their ids. One line per image of the second run is in memory.
    """

    def __init__(self, store: LabelStore, first: int, second: int) -> None:
        self._ids: dict[str, list[str]] = {}
        for item in store.done_items(second):
            self._ids.setdefault(item.content_key, []).append(item.item_id)
        self._matches: dict[str, str] = {}
        for item in store.done_items(first):
            same = self._ids.get(item.content_key)
            if same:  # the same image may be there under several names
                other = item.item_id if item.item_id in same else same[0]
                same.remove(other)
                self._matches[item.item_id] = other

    def __len__(self) -> int:
        return len(self._matches)

    def match_of(self, item_id: str) -> str | None:
        """The id in the second run of an image of the first; ``None`` if it is not there."""
        return self._matches.get(item_id)

    def unmatched_in_second(self) -> set[str]:
        """Ids of the images that the first run has not."""
        return {item_id for same in self._ids.values() for item_id in same}


def match_labels(
    first: Sequence[Label], second: Sequence[Label], min_iou: float
) -> list[LabelMatch]:
    """Pair objects of one image, each at most once, so that the sum of IoUs is the highest.

    Only objects of one class are paired. The IoU is that of masks, and of boxes where one of the
    two has no mask.

    Args:
        first: of one run.
        second: of the other.
        min_iou: pairs with less are none.

    Returns:
        In the order of the first.
    """
    pairs = []
    for name in dict.fromkeys(label.class_name for label in first):
        rows = [index for index, label in enumerate(first) if label.class_name == name]
        columns = [index for index, label in enumerate(second) if label.class_name == name]
        both = [*(first[index] for index in rows), *(second[index] for index in columns)]
        overlap = mixed_iou([each.box_xyxy for each in both], [each.mask for each in both])
        overlap = overlap[: len(rows), len(rows) :]
        pairs += [
            LabelMatch(rows[row], columns[column], float(overlap[row, column]))
            for row, column in match_optimal(overlap, min_iou).tolist()
        ]
    return sorted(pairs)


def check_run_pair(store: LabelStore, first: int, second: int, min_iou: float) -> None:
    """Raise `StoreError` unless both runs are there and differ, and `min_iou` is a share."""
    for run_id in (first, second):
        store.run(run_id)
    if first == second:
        raise StoreError(f"run {first} twice: give two runs")
    if not 0 <= min_iou <= 1:
        raise StoreError(f"min_iou {min_iou}: must lie between 0 and 1")
