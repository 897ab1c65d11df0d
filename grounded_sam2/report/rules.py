"""When there is a issue: one rule per kind, over the numbers of all objects at once."""

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
"""Share of a class up to which something is called rare in it. Of round or slanting things, some
lie straight by chance."""
_WORST_SIZE = 10.0
"""Robust z-score from which on a size is as unusual as can be."""
_LEAST_FACTOR = 2.0
"""Sizes that differ less from the median of their class are never outliers, however alike the
others are."""
_SAME_SPLIT = 0.5
"""Factor of the score of images that look alike, where it does not mix training and test."""
_TINY = 1e-9
"""A threshold of 0 means any at all, not none."""


def find_issues(
    objects: ObjectMeasures,
    duplicates: Duplicates,
    split_ids: NDArray[np.int32],
    limits: Thresholds,
) -> Issues:
    """Find everything flagged.

    Args:
        objects: all objects of a run, in order.
        duplicates: images that look like others.
        split_ids: ``(images,)`` number of the split of each image.
        limits: from where on there is a issue.

    Returns:
        ``(n,)``, those of the highest score first; of equal ones, the earlier object.
    """
    found = [
        _overlaps(objects, limits),
        _insides(objects, limits),
        _below(objects, "low_confidence", "confidence", limits.low_confidence),
        _below(objects, "low_quality", "quality", limits.low_quality),
        _disagreements(objects, limits.disagreement),
        _above(objects, "outside_box", limits.outside_box),
        _along_box(objects, limits),
        _above(objects, "along_border", limits.along_border),
        _size_outliers(objects, limits),
        _alike(duplicates, split_ids, limits),
    ]
    issues = np.concatenate(found)
    order = np.lexsort((issues["kind"], issues["position"], issues["image"], -issues["score"]))
    return issues[order]


def _rows(
    objects: ObjectMeasures,
    kind: str,
    where: NDArray[np.bool_],
    value: NDArray[np.floating],
    threshold: float,
    worst: float,
    other: NDArray[np.int32] | None = None,
) -> Issues:
    """Issues of one kind about the objects where there is one; `value` is one number for each."""
    chosen, values = objects[where], value[where].astype(np.float64)
    rows = np.zeros(len(chosen), ISSUE_DTYPE)
    rows["kind"] = KIND_IDS[kind]
    rows["image"], rows["position"] = chosen["image"], chosen["position"]
    rows["other"] = -1 if other is None else other[where]
    rows["value"], rows["threshold"] = values, threshold
    rows["score"] = score(kind, np.abs(values), threshold, worst)
    return rows


def _below(objects: ObjectMeasures, kind: str, column: str, threshold: float) -> Issues:
    value = objects[column]
    return _rows(objects, kind, value < threshold, value, threshold, worst=0)


def _above(objects: ObjectMeasures, kind: str, threshold: float) -> Issues:
    value = objects[kind]
    return _rows(objects, kind, value >= max(threshold, _TINY), value, threshold, worst=1)


def _disagreements(objects: ObjectMeasures, threshold: float) -> Issues:
    value = objects["confidence"] - objects["quality"]
    return _rows(
        objects, "disagreement", np.abs(value) >= max(threshold, _TINY), value, threshold, worst=1
    )


def _overlaps(objects: ObjectMeasures, limits: Thresholds) -> Issues:
    value = objects["overlap_iou"]
    where = _is_overlap(objects, limits) & ~_outranks(objects, _other(objects, "overlap_with"))
    return _rows(objects, "overlap", where, value, limits.overlap_iou, 1, objects["overlap_with"])


def _insides(objects: ObjectMeasures, limits: Thresholds) -> Issues:
    value, other = objects["overlap_inside"], _other(objects, "inside_with")
    smaller = objects["share"] < objects["share"][other]
    counted = _is_overlap(objects, limits) & (objects["inside_with"] == objects["overlap_with"])
    where = (value >= max(limits.overlap_inside, _TINY)) & smaller & ~counted
    return _rows(objects, "inside", where, value, limits.overlap_inside, 1, objects["inside_with"])


def _is_overlap(objects: ObjectMeasures, limits: Thresholds) -> NDArray[np.bool_]:
    overlaps: NDArray[np.bool_] = objects["overlap_iou"] >= max(limits.overlap_iou, _TINY)
    return overlaps


def _other(objects: ObjectMeasures, column: str) -> NDArray[np.intp]:
    """Index of the other object of each: rows of one image stand together, in order."""
    here = np.arange(len(objects))
    return np.where(objects[column] >= 0, here - objects["position"] + objects[column], here)


def _outranks(objects: ObjectMeasures, other: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether an object is the better half of a pair, so that the issue is about the other one.

    The better half has the higher confidence, of equal ones the higher quality, or comes first.
    What people have drawn is better than what a model says.
    """
    rank = np.lexsort(
        (
            np.arange(len(objects)),
            -np.nan_to_num(objects["quality"], nan=-1),
            -np.nan_to_num(objects["confidence"], nan=-1),
            ~objects["by_person"],
        )
    )
    place = np.empty(len(objects), np.intp)
    place[rank] = np.arange(len(objects))
    mutual = other[other] == np.arange(len(objects))
    return mutual & (place < place[other])


def _along_box(objects: ObjectMeasures, limits: Thresholds) -> Issues:
    value = objects["along_box"]
    touching = value >= max(limits.along_box, _TINY)

    def is_rare(of_class: NDArray[np.bool_]) -> NDArray[np.bool_]:
        known = of_class & ~np.isnan(value)
        rare = known.sum() >= limits.enough and touching[known].mean() <= _RARE
        return touching & of_class if rare else np.zeros(len(objects), np.bool_)

    return _rows(
        objects, "along_box", _per_class(objects, is_rare), value, limits.along_box, worst=1
    )


def _size_outliers(objects: ObjectMeasures, limits: Thresholds) -> Issues:
    size = np.log(np.maximum(objects["share"], _TINY))
    z_score = np.zeros(len(objects))

    def is_outlier(of_class: NDArray[np.bool_]) -> NDArray[np.bool_]:
        if of_class.sum() < limits.enough:
            return np.zeros(len(objects), np.bool_)
        deviation = size - np.median(size[of_class])
        # 0.6745 makes the median absolute deviation of normal numbers their standard deviation.
        spread = max(float(np.median(np.abs(deviation[of_class]))) / 0.6745, _TINY)
        z_score[of_class] = (deviation / spread)[of_class]
        far = np.abs(deviation) >= np.log(_LEAST_FACTOR)
        return of_class & far & (np.abs(z_score) >= limits.size_outlier)

    where = _per_class(objects, is_outlier)
    worst = max(_WORST_SIZE, limits.size_outlier)
    return _rows(objects, "size_outlier", where, z_score, limits.size_outlier, worst)


def _per_class(
    objects: ObjectMeasures, rule: Callable[[NDArray[np.bool_]], NDArray[np.bool_]]
) -> NDArray[np.bool_]:
    """Where a rule that looks at one class at a time holds: ``(n,)``."""
    where = np.zeros(len(objects), np.bool_)
    for class_id in np.unique(objects["class_id"]):
        where |= rule(objects["class_id"] == class_id)
    return where


def _alike(duplicates: Duplicates, split_ids: NDArray[np.int32], limits: Thresholds) -> Issues:
    rows = np.zeros(len(duplicates), ISSUE_DTYPE)
    rows["kind"] = KIND_IDS["near_duplicate"]
    rows["image"], rows["position"] = duplicates["image"], -1
    rows["other"] = duplicates["leader"]
    rows["value"], rows["threshold"] = duplicates["bits"], limits.duplicate_bits
    # Fewer bits are worse, and 0 is the worst.
    alike = score("near_duplicate", rows["value"], limits.duplicate_bits, worst=0)
    same = split_ids[duplicates["image"]] == split_ids[duplicates["leader"]]
    rows["score"] = np.where(same, _SAME_SPLIT, 1) * alike
    return rows
