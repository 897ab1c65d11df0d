"""Masks and boxes that people give for objects, checked against their image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Real
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.errors import GeometryError, StoreError
from grounded_sam2.geometry import boxes
from grounded_sam2.geometry.rle import Rle, encode
from grounded_sam2.results import Label
from grounded_sam2.store.records import Item

__all__ = ["MaskInput", "Outline", "outline_of", "with_outline"]

MaskInput: TypeAlias = Rle | NDArray[np.bool_]
"""A mask of the upright image: run-length encoded, or ``(h, w)`` ``bool``."""

Outline: TypeAlias = tuple[tuple[float, float, float, float], Rle | None]
"""Box and mask of an object."""


def outline_of(item: Item, mask: MaskInput | None, box: Sequence[float] | None) -> Outline:
    """Box and mask of an object that a person drew.

    Args:
        item: the image or frame.
        mask: its mask; the box is then tight around it.
        box: xyxy in pixels, half-open, of an object without a mask; clipped to the image.

    Raises:
        StoreError: neither or both are given, the mask has another size than the image or no
            pixels, or the box has no extent inside the image.
    """
    assert item.size_hw is not None, "a labeled item has a size"
    height, width = item.size_hw
    if (mask is None) == (box is None):
        raise StoreError(f"an object of '{item.item_id}': give a mask or a box, and not both")
    if box is not None:
        return _box(item, box), None
    rle = mask if isinstance(mask, Rle) else _encoded(item, np.asarray(mask))
    if rle.size_hw != item.size_hw:
        raise StoreError(
            f"a mask has size {rle.size_hw}, its image '{item.item_id}' ({height}, {width}); masks "
            "must have the size of the upright image"
        )
    try:
        area = rle.area
    except GeometryError as error:
        raise StoreError(f"a mask of '{item.item_id}' is damaged: {error}") from error
    if not area:
        raise StoreError(
            f"a mask of '{item.item_id}' has no pixels; delete or reject the object instead"
        )
    return rle.bbox_xyxy, rle


def _encoded(item: Item, mask: NDArray[np.generic]) -> Rle:
    if mask.ndim != 2 or mask.dtype not in (np.bool_, np.uint8) or not mask.size:
        raise StoreError(
            f"a mask of '{item.item_id}' is an array {mask.shape} of {mask.dtype}; give (h, w) bool"
        )
    return encode(mask.astype(np.bool_)[None])[0]


def _box(item: Item, box: Sequence[float]) -> tuple[float, float, float, float]:
    assert item.size_hw is not None, "a labeled item has a size"
    try:
        clipped = boxes.rounded(boxes.clip([_four_floats(box)], item.size_hw))
    except (OverflowError, TypeError) as error:
        raise StoreError(f"box {box!r}: give four numbers, xyxy in pixels") from error
    if not boxes.valid(clipped)[0]:
        raise StoreError(
            f"box {list(box)} has no extent inside the {item.size_hw[1]}×{item.size_hw[0]} pixels "
            f"of '{item.item_id}'; give x1 < x2 and y1 < y2 in pixels"
        )
    left, top, right, bottom = clipped[0].tolist()
    return left, top, right, bottom


def _four_floats(numbers: Sequence[float]) -> list[float]:
    values = list(numbers)
    # `float` would read text as well.
    if len(values) != 4 or not all(isinstance(each, Real) for each in values):
        raise TypeError("no four numbers")
    return [float(each) for each in values]


def with_outline(label: Label, outline: Outline) -> Label:
    """A label with another box and mask; the quality of its earlier mask is dropped."""
    box_xyxy, mask = outline
    return replace(label, box_xyxy=box_xyxy, mask=mask, mask_quality=None)
