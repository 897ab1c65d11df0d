"""IoU of objects of which some have masks and some only boxes."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry.overlap import mixed_iou
from grounded_sam2.geometry.rle import encode_crop


def rectangle(left: int, top: int, right: int, bottom: int):
    return encode_crop(np.ones((bottom - top, right - left), bool), (left, top), (20, 30))


def test_masks_count_where_both_have_one_and_boxes_where_one_has_none() -> None:
    # The first two have boxes that are equal, and masks that share nothing.
    boxes = [(0, 0, 10, 10), (0, 0, 10, 10), (0, 0, 10, 20)]
    masks = [rectangle(0, 0, 5, 10), rectangle(5, 0, 10, 10), None]
    assert mixed_iou(boxes, masks).tolist() == [[1, 0, 0.5], [0, 1, 0.5], [0.5, 0.5, 1]]


def test_only_boxes() -> None:
    assert mixed_iou([(0, 0, 4, 4), (2, 0, 6, 4)], [None, None])[0, 1] == pytest.approx(1 / 3)


def test_no_objects() -> None:
    assert mixed_iou([], []).shape == (0, 0)


def test_masks_of_two_images() -> None:
    other = encode_crop(np.ones((2, 2), bool), (0, 0), (5, 5))
    with pytest.raises(GeometryError, match="one image"):
        mixed_iou([(0, 0, 2, 2)] * 2, [rectangle(0, 0, 2, 2), other])
