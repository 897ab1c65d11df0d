"""From what the models said to what a dataset should hold: one object for one thing.

In this order: specks and pin-holes of each mask; masks left empty; objects that are one thing,
found twice; overlaps; boxes. The options and the reasons for their defaults are in
`grounded_sam2.config.CleanupConfig`.

Which of two objects wins: the higher confidence of the detector. Objects without one come after
those with one, ordered by their mask quality and last those without either. Where that leaves a
tie, the earlier object wins. What stays, stays in its order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.config import CleanupConfig
from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry import masks, rle
from grounded_sam2.geometry.matching import nms
from grounded_sam2.geometry.overlap import mixed_iou
from grounded_sam2.results import Label, Labels

__all__ = ["Cleaned", "clean_up"]


Objects: TypeAlias = dict[int, Label]
"""Objects by their place among those that were given, rising."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What clean-up left of the objects of one image."""

    labels: Labels
    kept: tuple[int, ...]
    """Which of the objects that were given each of these is; rising."""


def clean_up(labels: Labels, config: CleanupConfig) -> Cleaned:
    """Clean the objects of one image.

    Masks are decoded one at a time and only within their bounding boxes.

    Args:
        labels: as the models found them; objects without a mask are compared by their boxes.
        config: what to do.

    Returns:
        Fewer or as many objects, in the same order; none for no objects.

    Raises:
        GeometryError: a mask is damaged or not of the size of the image.
    """
    objects = dict(enumerate(_with_tidy_mask(x, labels.size_hw, config) for x in labels.objects))
    objects = _without_empty(objects)
    objects = _one_per_thing(objects, config)
    if config.non_overlapping:
        objects = _without_empty(_without_overlaps(objects, config))
    if config.boxes_from_masks:
        objects = {
            index: x if x.mask is None else replace(x, box_xyxy=x.mask.bbox_xyxy)
            for index, x in objects.items()
        }
    return Cleaned(replace(labels, objects=tuple(objects.values())), tuple(objects))


def _with_tidy_mask(label: Label, size_hw: tuple[int, int], config: CleanupConfig) -> Label:
    if label.mask is None:
        return label
    if label.mask.size_hw != size_hw:
        raise GeometryError(
            f"mask of {label.class_name!r}: {label.mask.size_hw[0]}×{label.mask.size_hw[1]} "
            f"pixels in an image of {size_hw[0]}×{size_hw[1]}; masks must have its size"
        )
    crop, origin_xy = label.mask.decode_crop()
    crop = masks.remove_small_components(crop, config.min_part_area)
    crop = masks.fill_holes(crop, config.max_hole_area)
    if config.largest_part_only:
        crop = masks.largest_component(crop)
    return replace(label, mask=rle.encode_crop(crop, origin_xy, size_hw))


def _without_empty(objects: Objects) -> Objects:
    return {i: label for i, label in objects.items() if label.mask is None or label.mask.area}


def _one_per_thing(objects: Objects, config: CleanupConfig) -> Objects:
    indices, labels = list(objects), list(objects.values())
    rank = np.argsort(_by_importance(labels))  # the inverse of the permutation
    overlap = mixed_iou([label.box_xyxy for label in labels], [label.mask for label in labels])
    kept = nms(overlap, -rank, _limits(labels, config))
    return {indices[place]: labels[place] for place in sorted(kept)}


def _by_importance(objects: Sequence[Label]) -> list[int]:
    """Indices of the objects, the one that wins against all others first."""

    def importance(index: int) -> tuple[int, float]:
        label = objects[index]
        if label.confidence is not None:
            return 2, label.confidence
        if label.mask_quality is not None:
            return 1, label.mask_quality
        return 0, 0.0

    return sorted(range(len(objects)), key=importance, reverse=True)


def _limits(objects: Sequence[Label], config: CleanupConfig) -> NDArray[np.float64]:
    """``(n, n)`` IoU from which on two objects are one thing; infinite where they never are."""
    classes = np.array([label.class_name for label in objects], np.object_)
    captions = np.array([label.caption for label in objects], np.object_)
    one_class = classes[:, None] == classes[None]
    synonyms = one_class & (captions[:, None] != captions[None])
    limits = np.full(one_class.shape, np.inf)
    if config.nms == "class_specific":
        limits[one_class] = config.nms_iou
    elif config.nms == "class_agnostic":
        limits[:] = config.nms_iou
    merged = synonyms | ~one_class if config.across_classes else synonyms
    limits[merged] = np.minimum(limits[merged], config.merge_iou)
    return limits


def _without_overlaps(objects: Objects, config: CleanupConfig) -> Objects:
    result = dict(objects)
    indices, labels = list(objects), list(objects.values())
    order = [place for place in _by_importance(labels) if labels[place].mask is not None]
    before = [mask for place in order if (mask := labels[place].mask) is not None]
    for place, old, new in zip(order, before, masks.remove_overlaps(before), strict=True):
        if new != old:
            # What others leave of a mask may be slivers. Its new holes belong to them: no filling.
            crop, origin_xy = new.decode_crop()
            crop = masks.remove_small_components(crop, config.min_part_area)
            mask = rle.encode_crop(crop, origin_xy, old.size_hw)
            result[indices[place]] = replace(labels[place], mask=mask)
    return result
