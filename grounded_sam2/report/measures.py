"""Measurements of every object, one row of a structured array each; rules are applied later.

The rows of a whole store fit into memory (90 bytes per object), so that unusual values are found
with respect to all objects of a class. An unknown number is NaN: no confidence, no mask, no box of
the detector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.geometry import boxes
from grounded_sam2.geometry.overlap import mixed_iou
from grounded_sam2.results import Label, Labels

__all__ = ["OBJECT_DTYPE", "ObjectMeasures", "measure_objects"]

OBJECT_DTYPE = np.dtype(
    [
        ("image", np.int32),  # image number, in the order of the store
        ("position", np.int32),  # index in the objects of the image
        ("class_id", np.int32),
        ("track_id", np.int32),  # within its video; -1 for an object without a track
        ("has_mask", np.bool_),
        ("by_person", np.bool_),
        ("is_accepted", np.bool_),  # by a person, who then needs not look at it again
        ("confidence", np.float64),
        ("quality", np.float64),
        ("area_fraction", np.float64),  # area as a fraction of the image's
        ("overlap_iou", np.float64),  # with the object that it overlaps most
        ("overlap_with", np.int32),  # index of that object; -1 for none
        (
            "overlap_inside",
            np.float64,
        ),  # of two of one class, fraction of the smaller inside the larger
        ("inside_with", np.int32),  # index of the other one; -1 for none
        ("outside_box", np.float64),  # fraction of the mask outside the detector's box
        ("along_box", np.float64),  # largest fraction of a side of that box that the mask reaches
        ("along_border", np.float64),  # fraction of the image border that the mask covers
    ]
)
ObjectMeasures = NDArray[np.void]
"""Rows of `OBJECT_DTYPE`: ``(n,)``, a structured array."""

_TOLERANCE = 1
"""Tolerance in pixels for a mask that reaches a side of a box: boxes are not exact."""


def measure_objects(labels: Labels, image: int, class_ids: Mapping[str, int]) -> ObjectMeasures:
    """Measure the objects of one image.

    Args:
        labels: labels of the image.
        image: number of the image.
        class_ids: number of each class name.

    Returns:
        ``(n,)`` of `OBJECT_DTYPE` in the order of the objects; ``(0,)`` for background.
    """
    objects = labels.objects
    rows = np.zeros(len(objects), OBJECT_DTYPE)
    if not objects:
        return rows
    height, width = labels.size_hw
    rows["image"] = image
    rows["position"] = np.arange(len(objects))
    rows["class_id"] = [class_ids[label.class_name] for label in objects]
    rows["track_id"] = [-1 if label.track_id is None else label.track_id for label in objects]
    rows["has_mask"] = [label.mask is not None for label in objects]
    rows["by_person"] = [label.origin == "human" for label in objects]
    rows["is_accepted"] = [label.review == "accepted" for label in objects]
    rows["confidence"] = [_or_nan(label.confidence) for label in objects]
    rows["quality"] = [_or_nan(label.mask_quality) for label in objects]
    box_areas = boxes.areas(boxes.clip([label.box_xyxy for label in objects], labels.size_hw))
    areas = np.empty(len(objects))
    for number, (row, label) in enumerate(zip(rows, objects, strict=True)):
        if label.mask is None:
            areas[number] = box_areas[number]
            row["outside_box"] = row["along_box"] = row["along_border"] = np.nan
        else:
            crop, origin_xy = label.mask.decode_crop()
            areas[number] = np.count_nonzero(crop)
            row["along_border"] = _along_border(crop, origin_xy, labels.size_hw)
            row["outside_box"], row["along_box"] = _compare_with_box(
                crop, origin_xy, label.detected_box_xyxy, labels.size_hw
            )
    rows["area_fraction"] = areas / (height * width)
    _measure_overlaps(rows, objects, areas)
    return rows


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def _measure_overlaps(
    rows: ObjectMeasures, objects: Sequence[Label], areas: NDArray[np.float64]
) -> None:
    iou = mixed_iou([label.box_xyxy for label in objects], [label.mask for label in objects])
    np.fill_diagonal(iou, 0)
    # |a ∩ b| = (|a| + |b|) · IoU / (1 + IoU)
    intersection = (areas[:, None] + areas[None]) * iou / (1 + iou)
    smaller = np.minimum(areas[:, None], areas[None])
    inside = intersection / np.where(smaller > 0, smaller, 1)
    # An object inside one of another class is not an issue: a wheel lies within a car.
    inside[rows["class_id"][:, None] != rows["class_id"][None]] = 0
    index = np.arange(len(objects))
    for name, other, values in (
        ("overlap_iou", "overlap_with", iou),
        ("overlap_inside", "inside_with", np.minimum(inside, 1)),
    ):
        best = values.argmax(axis=1)
        rows[name] = values[index, best]
        rows[other] = np.where(values[index, best] > 0, best, -1)


def _along_border(
    crop: NDArray[np.bool_], origin_xy: tuple[int, int], size_hw: tuple[int, int]
) -> float:
    """Fraction of the outermost pixels of an image inside the mask; 0 for an empty mask."""
    if not crop.size:
        return 0.0
    (left, top), (height, width) = origin_xy, size_hw
    covered = 0
    for line, at_border in (
        (crop[0], top == 0),
        (crop[-1], top + crop.shape[0] == height),
        (crop[:, 0], left == 0),
        (crop[:, -1], left + crop.shape[1] == width),
    ):
        covered += int(np.count_nonzero(line)) if at_border else 0
    return covered / (2 * (height + width))


def _compare_with_box(
    crop: NDArray[np.bool_],
    origin_xy: tuple[int, int],
    detected_xyxy: tuple[float, float, float, float] | None,
    size_hw: tuple[int, int],
) -> tuple[float, float]:
    """``outside_box`` and ``along_box`` of a mask; NaN without a detector box or mask pixels."""
    if detected_xyxy is None or not crop.size:
        return np.nan, np.nan
    box = boxes.clip([detected_xyxy], size_hw)[0]
    local = box - (*origin_xy, *origin_xy)
    x_min, y_min = np.maximum(np.floor(local[:2]), 0).astype(int)
    x_max, y_max = np.maximum(np.ceil(local[2:]), 0).astype(int)
    inside = np.count_nonzero(crop[y_min:y_max, x_min:x_max])
    return 1 - inside / np.count_nonzero(crop), _along_box(crop, local, box, size_hw)


def _along_box(
    crop: NDArray[np.bool_],
    local_xyxy: NDArray[np.float64],
    box_xyxy: NDArray[np.float64],
    size_hw: tuple[int, int],
) -> float:
    """Largest fraction of a side of the box that the mask reaches.

    Sides on the image border are ignored: the object may continue outside the image.
    """
    height, width = size_hw
    x_min, y_min, x_max, y_max = np.rint(local_xyxy).astype(int)
    if x_max <= x_min or y_max <= y_min:
        return np.nan
    largest = 0.0
    for pixels, side, (begin, end), at_border in (
        (crop.T, x_min, (y_min, y_max), box_xyxy[0] < 1),
        (crop.T, x_max - 1, (y_min, y_max), box_xyxy[2] > width - 1),
        (crop, y_min, (x_min, x_max), box_xyxy[1] < 1),
        (crop, y_max - 1, (x_min, x_max), box_xyxy[3] > height - 1),
    ):
        if at_border:
            continue
        near = pixels[
            max(side - _TOLERANCE, 0) : max(side + _TOLERANCE + 1, 0), max(begin, 0) : max(end, 0)
        ]
        largest = max(largest, float(np.count_nonzero(near.any(axis=0))) / (end - begin))
    return largest
