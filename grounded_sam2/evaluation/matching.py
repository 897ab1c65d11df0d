"""Matching of two runs: images by content, objects by class and overlap."""

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
    """Two labels of the same object."""

    first: int
    second: int
    """Indices into the labels of the image in each run."""
    iou: float


class ImageMatching:
    """One-to-one matching of the images of two runs, by the content of their files.

    The names may differ, because datasets rename images. Images that were never files are matched
    by their ids. Memory: the content key and id of each image of the second run.
    """

    def __init__(self, store: LabelStore, first: int, second: int) -> None:
        self._unmatched: dict[str, list[str]] = {}
        for item in store.done_items(second):
            self._unmatched.setdefault(item.content_key, []).append(item.item_id)
        self._match_of: dict[str, str] = {}
        for item in store.done_items(first):
            candidates = self._unmatched.get(item.content_key)
            if candidates:  # one image may be listed under several names; equal names match first
                match = item.item_id if item.item_id in candidates else candidates[0]
                candidates.remove(match)
                self._match_of[item.item_id] = match

    def __len__(self) -> int:
        return len(self._match_of)

    def match_of(self, item_id: str) -> str | None:
        """Return the id in the second run of an image of the first; ``None`` if it is missing."""
        return self._match_of.get(item_id)

    def unmatched_in_second(self) -> set[str]:
        """Return the ids of the images that are only in the second run."""
        return {item_id for ids in self._unmatched.values() for item_id in ids}


def match_labels(
    first: Sequence[Label], second: Sequence[Label], min_iou: float
) -> list[LabelMatch]:
    """Match the objects of one image one-to-one, maximizing the sum of IoUs.

    Only objects of one class are matched. The IoU is that of the masks, or of the boxes if one of
    the two has no mask.

    Args:
        first: labels of one run.
        second: labels of the other.
        min_iou: minimum IoU of matched objects; objects that do not overlap never match.

    Returns:
        The matches in the order of `first`.
    """
    matches = []
    for name in dict.fromkeys(label.class_name for label in first):
        rows = [index for index, label in enumerate(first) if label.class_name == name]
        columns = [index for index, label in enumerate(second) if label.class_name == name]
        both = [*(first[index] for index in rows), *(second[index] for index in columns)]
        overlap = mixed_iou([each.box_xyxy for each in both], [each.mask for each in both])
        overlap = overlap[: len(rows), len(rows) :]
        matches += [
            LabelMatch(rows[row], columns[column], float(overlap[row, column]))
            for row, column in match_optimal(overlap, min_iou).tolist()
        ]
    return sorted(matches)


def check_run_pair(store: LabelStore, first: int, second: int, min_iou: float) -> None:
    """Raise `StoreError` unless both runs exist and differ, and `min_iou` is within 0 and 1."""
    for run_id in (first, second):
        store.run(run_id)
    if first == second:
        raise StoreError(f"run {first} twice: give two runs")
    if not 0 <= min_iou <= 1:
        raise StoreError(f"min_iou {min_iou}: must lie between 0 and 1")
