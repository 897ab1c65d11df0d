"""The first look at a run: every label measured, every picture shrunk to an impression.

What is kept of a picture are some hundred bytes, its name and its objects' numbers, so that tens
of thousands fit into memory with room to spare; masks and pixels are let go at once.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.exporters.splits import split_of
from grounded_sam2.report.duplicates import (
    Duplicates,
    Impression,
    find_duplicates,
    impression,
)
from grounded_sam2.report.measures import OBJECT, Objects, measure
from grounded_sam2.report.options import ReportOptions
from grounded_sam2.report.pictures import Unreadable, ahead, read_picture
from grounded_sam2.results import Labels
from grounded_sam2.store import Item, LabelStore

__all__ = ["Survey", "look_at"]

_SIDE = 72
"""Pixels that a picture is decoded to at least, before it becomes an impression of 24 a side."""


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """All pictures and objects of a run as numbers. A picture's number is its place in here."""

    classes: tuple[str, ...]
    splits: tuple[str, ...]
    item_ids: tuple[str, ...]
    split_ids: NDArray[np.int32]
    """``(pictures,)`` number of the split."""
    object_counts: NDArray[np.int64]
    """``(pictures,)``; 0 is background."""
    contents: NDArray[np.uint64]
    """``(pictures,)`` equal where the files are equal, byte by byte; 0 where that is not known."""
    lots: NDArray[np.uint64]
    """``(pictures,)`` what the sample is drawn by: a seeded hash of the file's content."""
    objects: Objects
    """``(objects,)`` in the order of the pictures."""
    duplicates: Duplicates
    unreadable: Counter[str]
    """Pictures that cannot be shown, by reason."""

    def measured(self, picture: int, position: int) -> np.void:
        """The row of `OBJECT` of one object: those of a picture stand together."""
        row: np.void = self.objects[np.searchsorted(self.objects["picture"], picture) + position]
        return row


def look_at(
    store: LabelStore,
    run_id: int,
    options: ReportOptions,
    advance: Callable[[], None] = lambda: None,
) -> Survey:
    """Go through all labeled pictures of a run once.

    Args:
        store: the labels.
        run_id: the run.
        options: splits, thresholds, where the pictures are.
        advance: called when a picture is done.
    """
    classes = store.classes(run_id)
    class_ids = {name: number for number, name in enumerate(classes)}
    splits = tuple(options.split)
    item_ids: list[str] = []
    split_ids: list[int] = []
    groups: list[str | None] = []
    contents: list[int] = []
    lots: list[int] = []
    measured: list[Objects] = [np.zeros(0, OBJECT)]
    impressions: list[Impression] = []
    seen: list[int] = []
    unreadable: Counter[str] = Counter()

    def look(given: tuple[Item, Labels]) -> Impression | Unreadable:
        image = read_picture(given[0], options.pictures_from, _SIDE)
        return image if isinstance(image, Unreadable) else impression(image)

    for (item, labels), seen_as in ahead(look, store.labels(run_id), options.threads):
        number = len(item_ids)
        item_ids.append(item.item_id)
        split = split_of(item, options.split, options.seed, by_folder=options.split_by == "folder")
        split_ids.append(splits.index(split))
        groups.append(item.group)
        contents.append(0 if item.content_hash is None else _number(item.content))
        lots.append(_number(f"{options.seed} sample {item.content}"))
        measured.append(measure(labels, number, class_ids))
        if isinstance(seen_as, Unreadable):
            unreadable[seen_as.reason] += 1
        else:
            impressions.append(seen_as)
            seen.append(number)
        advance()
    objects = np.concatenate(measured)
    return Survey(
        classes=tuple(classes),
        splits=splits,
        item_ids=tuple(item_ids),
        split_ids=np.array(split_ids, np.int32),
        object_counts=np.bincount(objects["picture"], minlength=len(item_ids)),
        contents=np.array(contents, np.uint64),
        lots=np.array(lots, np.uint64),
        objects=objects,
        duplicates=find_duplicates(
            impressions,
            seen,
            [groups[picture] for picture in seen],
            max_bits=options.thresholds.duplicate_bits,
            max_difference=options.thresholds.duplicate_difference,
        ),
        unreadable=unreadable,
    )


def _number(text: str) -> int:
    """64 bits that are the same for the same text only."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
