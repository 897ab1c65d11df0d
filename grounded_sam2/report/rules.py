"""Rules that find issues: one per kind, vectorized over the measurements of all objects."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.report.duplicates import Duplicates
from grounded_sam2.report.issues import ISSUE_DTYPE, KIND_IDS, Issues, score
from grounded_sam2.report.measures import ObjectMeasures
from grounded_sam2.report.options import Thresholds

__all__ = ["find_issues"]

_RARE = 0.01
"""Fraction of a class up to which a property is rare in it. Some round or slanted objects have
straight sides by chance."""
_WORST_SIZE = 10.0
"""Robust z-score of a size with the full weight."""
_MIN_FACTOR = 2.0
"""Minimum factor between an outlier and the median size of its class, however similar the other
sizes are."""
_SAME_SPLIT_FACTOR = 0.5
"""Factor of the score of near-duplicates within one split, which do not mix training and test."""
_EPSILON = 1e-9
"""Smallest value that exceeds a threshold of 0: a value of 0 is not an issue."""


def find_issues(
    objects: ObjectMeasures,
    duplicates: Duplicates,
    split_ids: NDArray[np.int32],
    thresholds: Thresholds,
) -> Issues:
    """Find all issues of a run.

    Args:
        objects: measurements of all objects of the run, in order.
        duplicates: near-duplicates of earlier images.
        split_ids: ``(images,)`` number of the split of each image.
        thresholds: thresholds of the rules.

    Returns:
        ``(n,)`` in descending order of the scores; of equal ones, the earlier object first. Objects
        that a person accepted have none.
    """
    found = [
        _overlaps(objects, thresholds),
        _insides(objects, thresholds),
        _below(objects, "low_confidence", "confidence", thresholds.low_confidence),
        _below(objects, "low_quality", "quality", thresholds.low_quality),
        _disagreements(objects, thresholds.disagreement),
        _above(objects, "outside_box", thresholds.outside_box),
        _along_box(objects, thresholds),
        _above(objects, "along_border", thresholds.along_border),
        _size_outliers(objects, thresholds),
        _near_duplicates(duplicates, split_ids, thresholds),
    ]
    issues = np.concatenate(found)
    issues = issues[~np.isin(_keys(issues), _keys(objects[objects["is_accepted"]]))]
    order = np.lexsort((issues["kind"], issues["position"], issues["image"], -issues["score"]))
    return issues[order]


def _keys(rows: NDArray[np.void]) -> NDArray[np.int64]:
    """A number for the object of each row, by image and position."""
    keys: NDArray[np.int64] = rows["image"].astype(np.int64) << 32 | rows["position"]
    return keys


def _rows(
    objects: ObjectMeasures,
    kind: str,
    where: NDArray[np.bool_],
    value: NDArray[np.floating],
    threshold: float,
    worst: float,
    other: NDArray[np.int32] | None = None,
) -> Issues:
    """Issues of one kind, of the objects selected by `where`; `value` is given for all objects."""
    selected, values = objects[where], value[where].astype(np.float64)
    rows = np.zeros(len(selected), ISSUE_DTYPE)
    rows["kind"] = KIND_IDS[kind]
    rows["image"], rows["position"] = selected["image"], selected["position"]
    rows["other"] = -1 if other is None else other[where]
    rows["value"], rows["threshold"] = values, threshold
    rows["score"] = score(kind, np.abs(values), threshold, worst)
    return rows


def _below(objects: ObjectMeasures, kind: str, column: str, threshold: float) -> Issues:
    value = objects[column]
    return _rows(objects, kind, value < threshold, value, threshold, worst=0)


def _above(objects: ObjectMeasures, kind: str, threshold: float) -> Issues:
    value = objects[kind]
    return _rows(objects, kind, value >= max(threshold, _EPSILON), value, threshold, worst=1)


def _disagreements(objects: ObjectMeasures, threshold: float) -> Issues:
    value = objects["confidence"] - objects["quality"]
    return _rows(
        objects,
        "disagreement",
        np.abs(value) >= max(threshold, _EPSILON),
        value,
        threshold,
        worst=1,
    )


def _overlaps(objects: ObjectMeasures, thresholds: Thresholds) -> Issues:
    value = objects["overlap_iou"]
    where = _is_overlap(objects, thresholds) & ~_outranks(objects, _other(objects, "overlap_with"))
    return _rows(
        objects, "overlap", where, value, thresholds.overlap_iou, 1, objects["overlap_with"]
    )


def _insides(objects: ObjectMeasures, thresholds: Thresholds) -> Issues:
    value, other = objects["overlap_inside"], _other(objects, "inside_with")
    smaller = objects["area_fraction"] < objects["area_fraction"][other]
    counted = _is_overlap(objects, thresholds) & (objects["inside_with"] == objects["overlap_with"])
    where = (value >= max(thresholds.overlap_inside, _EPSILON)) & smaller & ~counted
    return _rows(
        objects, "inside", where, value, thresholds.overlap_inside, 1, objects["inside_with"]
    )


def _is_overlap(objects: ObjectMeasures, thresholds: Thresholds) -> NDArray[np.bool_]:
    overlaps: NDArray[np.bool_] = objects["overlap_iou"] >= max(thresholds.overlap_iou, _EPSILON)
    return overlaps


def _other(objects: ObjectMeasures, column: str) -> NDArray[np.intp]:
    """Index of the other object of each object; rows of one image are adjacent, in order."""
    index = np.arange(len(objects))
    return np.where(objects[column] >= 0, index - objects["position"] + objects[column], index)


def _outranks(objects: ObjectMeasures, other: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether an object is the more reliable one of a pair, so that the issue concerns the other.

    Human labels are more reliable than those of models; then the order is by confidence, quality
    and position.
    """
    order = np.lexsort(
        (
            np.arange(len(objects)),
            -np.nan_to_num(objects["quality"], nan=-1),
            -np.nan_to_num(objects["confidence"], nan=-1),
            ~objects["by_person"],
        )
    )
    rank = np.empty(len(objects), np.intp)
    rank[order] = np.arange(len(objects))
    mutual = other[other] == np.arange(len(objects))
    return mutual & (rank < rank[other])


def _along_box(objects: ObjectMeasures, thresholds: Thresholds) -> Issues:
    value = objects["along_box"]
    touching = value >= max(thresholds.along_box, _EPSILON)

    def is_rare(of_class: NDArray[np.bool_]) -> NDArray[np.bool_]:
        known = of_class & ~np.isnan(value)
        rare = known.sum() >= thresholds.enough and touching[known].mean() <= _RARE
        return touching & of_class if rare else np.zeros(len(objects), np.bool_)

    return _rows(
        objects, "along_box", _per_class(objects, is_rare), value, thresholds.along_box, worst=1
    )


def _size_outliers(objects: ObjectMeasures, thresholds: Thresholds) -> Issues:
    size = np.log(np.maximum(objects["area_fraction"], _EPSILON))
    z_score = np.zeros(len(objects))

    def is_outlier(of_class: NDArray[np.bool_]) -> NDArray[np.bool_]:
        if of_class.sum() < thresholds.enough:
            return np.zeros(len(objects), np.bool_)
        deviation = size - np.median(size[of_class])
        # 0.6745 scales the median absolute deviation to the standard deviation of normal values.
        spread = max(float(np.median(np.abs(deviation[of_class]))) / 0.6745, _EPSILON)
        z_score[of_class] = (deviation / spread)[of_class]
        far = np.abs(deviation) >= np.log(_MIN_FACTOR)
        return of_class & far & (np.abs(z_score) >= thresholds.size_outlier)

    where = _per_class(objects, is_outlier)
    worst = max(_WORST_SIZE, thresholds.size_outlier)
    return _rows(objects, "size_outlier", where, z_score, thresholds.size_outlier, worst)


def _per_class(
    objects: ObjectMeasures, rule: Callable[[NDArray[np.bool_]], NDArray[np.bool_]]
) -> NDArray[np.bool_]:
    """Apply a rule to one class at a time; return where it holds: ``(n,)``."""
    where = np.zeros(len(objects), np.bool_)
    for class_id in np.unique(objects["class_id"]):
        where |= rule(objects["class_id"] == class_id)
    return where


def _near_duplicates(
    duplicates: Duplicates, split_ids: NDArray[np.int32], thresholds: Thresholds
) -> Issues:
    rows = np.zeros(len(duplicates), ISSUE_DTYPE)
    rows["kind"] = KIND_IDS["near_duplicate"]
    rows["image"], rows["position"] = duplicates["image"], -1
    rows["other"] = duplicates["leader"]
    rows["value"], rows["threshold"] = duplicates["bits"], thresholds.duplicate_bits
    # Fewer bits are worse; 0 is the worst.
    scores = score("near_duplicate", rows["value"], thresholds.duplicate_bits, worst=0)
    same = split_ids[duplicates["image"]] == split_ids[duplicates["leader"]]
    rows["score"] = np.where(same, _SAME_SPLIT_FACTOR, 1) * scores
    return rows
