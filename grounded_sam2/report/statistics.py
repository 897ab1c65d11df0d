"""Counts per class and split, and histograms, from the numbers of a scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.report.issues import Issues
from grounded_sam2.report.options import Thresholds
from grounded_sam2.report.scan import Scan

__all__ = ["ClassRow", "Histogram", "class_rows", "flagged_objects", "histograms"]

_SMALLEST_DECADE = -6
"""Sizes begin at a millionth of an image: a pixel of a megapixel."""
_BINS_PER_DECADE = 10
_SCORE_BINS = 20


@dataclass(frozen=True, slots=True)
class ClassRow:
    """What there is of one class."""

    name: str
    class_id: int
    objects: int
    objects_per_split: tuple[int, ...]
    images: int
    images_per_split: tuple[int, ...]
    tracks: int
    """Tracks that it is the class of, in any frame."""
    boxes_only: int
    """Objects without a mask."""
    by_people: int
    median_share: float | None
    """Of the image's area; ``None`` where there are no objects."""
    median_confidence: float | None
    median_quality: float | None
    flagged: int
    """Objects with at least one issue."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """How a number is distributed, class by class."""

    name: str
    edges: tuple[float, ...]
    """One more than there are bins. The last bin holds its upper edge."""
    counts: tuple[tuple[int, ...], ...]
    """Per class, per bin."""
    unknown: tuple[int, ...]
    """Per class: objects of which the number is not known."""
    bins_per_decade: int = 0
    """Of a logarithmic histogram; 0 if it is not."""
    limit: float | None = None
    """Threshold below which there is a issue."""
    below: tuple[int, ...] = ()
    """Per class: objects below it."""


def class_rows(scan: Scan, issues: Issues) -> list[ClassRow]:
    """A row for each class, in the order of the classes, those without objects included."""
    objects = scan.objects
    splits = scan.split_ids[objects["image"]]
    flagged, tracks = flagged_objects(scan, issues), scan.tracks()
    rows = []
    for class_id, name in enumerate(scan.classes):
        here = objects["class_id"] == class_id
        images = np.unique(objects["image"][here])
        rows.append(
            ClassRow(
                name=name,
                class_id=class_id,
                objects=int(here.sum()),
                objects_per_split=_per_split(splits[here], scan.splits),
                images=len(images),
                images_per_split=_per_split(scan.split_ids[images], scan.splits),
                tracks=len(np.unique(tracks[here & (tracks >= 0)])),
                boxes_only=int((here & ~objects["has_mask"]).sum()),
                by_people=int((here & objects["by_person"]).sum()),
                median_share=_median(objects["share"][here]),
                median_confidence=_median(objects["confidence"][here]),
                median_quality=_median(objects["quality"][here]),
                flagged=int((here & flagged).sum()),
            )
        )
    return rows


def flagged_objects(scan: Scan, issues: Issues) -> NDArray[np.bool_]:
    """``(objects,)`` whether there is a issue about an object."""
    flagged = np.zeros(len(scan.objects), np.bool_)
    of_labels = issues[issues["position"] >= 0]
    flagged[scan.first_objects[of_labels["image"]] + of_labels["position"]] = True
    return flagged


def histograms(scan: Scan, limits: Thresholds) -> list[Histogram]:
    """Of size (share of the image, logarithmic), confidence and mask quality."""
    objects, classes = scan.objects, len(scan.classes)
    decades = np.linspace(_SMALLEST_DECADE, 0, -_SMALLEST_DECADE * _BINS_PER_DECADE + 1)
    shares = np.where(objects["share"] > 0, objects["share"], np.nan)
    size = _histogram("size", 10**decades, shares, objects["class_id"], classes)
    scores = []
    for name, limit in (("confidence", limits.low_confidence), ("quality", limits.low_quality)):
        edges = np.linspace(0, 1, _SCORE_BINS + 1)
        chart = _histogram(name, edges, objects[name], objects["class_id"], classes)
        below = np.bincount(objects["class_id"][objects[name] < limit], minlength=classes)
        scores.append(replace(chart, limit=limit, below=tuple(below.tolist())))
    return [replace(size, bins_per_decade=_BINS_PER_DECADE), *scores]


def _histogram(
    name: str,
    edges: NDArray[np.float64],
    values: NDArray[np.float64],
    class_ids: NDArray[np.int32],
    classes: int,
) -> Histogram:
    known = ~np.isnan(values)
    bins = np.clip(np.searchsorted(edges, values[known], side="right") - 1, 0, len(edges) - 2)
    counts = np.zeros((classes, len(edges) - 1), np.int64)
    np.add.at(counts, (class_ids[known], bins), 1)
    return Histogram(
        name=name,
        edges=tuple(edges.tolist()),
        counts=tuple(tuple(row) for row in counts.tolist()),
        unknown=tuple(np.bincount(class_ids[~known], minlength=classes).tolist()),
    )


def _per_split(split_ids: NDArray[np.int32], splits: Sequence[str]) -> tuple[int, ...]:
    return tuple(np.bincount(split_ids, minlength=len(splits)).tolist())


def _median(values: NDArray[np.floating]) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else None
