"""Clean-up of the objects of an image: tidy masks, no duplicates, tight boxes.

In this order: remove small components and fill small holes of each mask; drop empty masks; suppress
duplicates; remove overlaps; fit boxes to masks. The options and the reasons for their defaults are
in `grounded_sam2.config.CleanupConfig`.

Of two objects, the one with the higher confidence of the detector wins. Objects without a
confidence rank after those with one, by their mask quality, and last those without either. Of
equals, the earlier object wins. Objects that stay keep their order.
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
"""Objects by their index in the input, rising."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Objects of one image after clean-up."""

    labels: Labels
    kept: tuple[int, ...]
    """Index of each object in the input; rising."""


def clean_up(labels: Labels, config: CleanupConfig) -> Cleaned:
    """Clean the objects of one image.

    Masks are decoded one at a time and only within their bounding boxes.

    Args:
        labels: as predicted; objects without a mask are compared by their boxes.
        config: what to clean.

    Returns:
        The objects that stay, in the same order; none for no objects.

    Raises:
        GeometryError: a mask cannot be decoded, or has not the size of the image.
    """
    objects = dict(enumerate(_tidy_mask(x, labels.size_hw, config) for x in labels.objects))
    objects = _drop_empty(objects)
    objects = _suppress_duplicates(objects, config)
    if config.non_overlapping:
        objects = _drop_empty(_remove_overlaps(objects, config))
    if config.boxes_from_masks:
        objects = {
            index: x if x.mask is None else replace(x, box_xyxy=x.mask.bbox_xyxy)
            for index, x in objects.items()
        }
    return Cleaned(replace(labels, objects=tuple(objects.values())), tuple(objects))


def _tidy_mask(label: Label, size_hw: tuple[int, int], config: CleanupConfig) -> Label:
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


def _drop_empty(objects: Objects) -> Objects:
    return {i: label for i, label in objects.items() if label.mask is None or label.mask.area}


def _suppress_duplicates(objects: Objects, config: CleanupConfig) -> Objects:
    indices, labels = list(objects), list(objects.values())
    rank = np.argsort(_by_rank(labels))  # the inverse of the permutation
    overlap = mixed_iou([label.box_xyxy for label in labels], [label.mask for label in labels])
    kept = nms(overlap, -rank, _iou_limits(labels, config))
    return {indices[i]: labels[i] for i in sorted(kept)}


def _by_rank(objects: Sequence[Label]) -> list[int]:
    """Indices of the objects, the one that wins over all others first."""

    def rank(index: int) -> tuple[int, float]:
        label = objects[index]
        if label.confidence is not None:
            return 2, label.confidence
        if label.mask_quality is not None:
            return 1, label.mask_quality
        return 0, 0.0

    return sorted(range(len(objects)), key=rank, reverse=True)


def _iou_limits(objects: Sequence[Label], config: CleanupConfig) -> NDArray[np.float64]:
    """IoU from which on two objects are duplicates, infinite where they never are: ``(n, n)``."""
    classes = np.array([label.class_name for label in objects], np.object_)
    captions = np.array([label.caption for label in objects], np.object_)
    one_class = classes[:, None] == classes[None]
    same_class_captions = one_class & (captions[:, None] != captions[None])
    limits = np.full(one_class.shape, np.inf)
    if config.nms == "class_specific":
        limits[one_class] = config.nms_iou
    elif config.nms == "class_agnostic":
        limits[:] = config.nms_iou
    merged = same_class_captions | ~one_class if config.across_classes else same_class_captions
    limits[merged] = np.minimum(limits[merged], config.merge_iou)
    return limits


def _remove_overlaps(objects: Objects, config: CleanupConfig) -> Objects:
    result = dict(objects)
    indices, labels = list(objects), list(objects.values())
    order = [i for i in _by_rank(labels) if labels[i].mask is not None]
    before = [mask for i in order if (mask := labels[i].mask) is not None]
    for i, old, new in zip(order, before, masks.remove_overlaps(before), strict=True):
        if new != old:
            # The rest of a mask may be slivers. Its new holes belong to other objects: no filling.
            crop, origin_xy = new.decode_crop()
            crop = masks.remove_small_components(crop, config.min_part_area)
            mask = rle.encode_crop(crop, origin_xy, old.size_hw)
            result[indices[i]] = replace(labels[i], mask=mask)
    return result
