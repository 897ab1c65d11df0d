from __future__ import annotations

import numpy as np
import pytest
from fixtures.masks import mask

from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry import rle
from grounded_sam2.geometry.overlap import mask_containment, mask_intersection, mask_iou, mixed_iou
from grounded_sam2.geometry.rle import Rle, encode_crop


def rectangle(left: int, top: int, right: int, bottom: int) -> Rle:
    return rle.rectangle((left, top, right, bottom), (20, 30))


def test_mask_iou_is_the_iou_of_the_pixels() -> None:
    stack = np.random.default_rng(2).random((5, 20, 30)) < np.linspace(0, 1, 5)[:, None, None]
    masks = rle.encode(stack)
    flat = stack.reshape(5, -1)
    union = (flat[:, None] | flat[None]).sum(axis=-1)
    expected = (flat[:, None] & flat[None]).sum(axis=-1) / np.maximum(union, 1)
    np.testing.assert_allclose(mask_iou(masks, masks[:3]), expected[:, :3])
    assert mask_iou(masks, masks)[0, 0] == 0, "an empty mask overlaps no mask"


def test_containment_is_relative_to_the_first_mask() -> None:
    half, whole, none = (
        rle.encode(m)[0] for m in (mask("##..", "...."), mask("####", "...."), mask("....", "...."))
    )
    np.testing.assert_allclose(
        mask_containment([half, whole, none], [half, whole, none]),
        [[1, 1, 0], [0.5, 1, 0], [0, 0, 0]],
    )
    assert mask_containment([], [half]).shape == (0, 1)
    with pytest.raises(GeometryError, match="one image"):
        mask_containment([half], rle.encode(mask("#")))


def test_intersection_has_the_pixels_of_both_masks() -> None:
    a, b = np.random.default_rng(3).random((2, 20, 30)) < 0.5
    both = mask_intersection(*rle.encode(np.stack([a, b])))
    np.testing.assert_array_equal(both.decode(), a & b)
    with pytest.raises(GeometryError, match="one image"):
        mask_intersection(*rle.encode(mask("##")), *rle.encode(mask("#")))


def test_no_masks_give_an_empty_matrix() -> None:
    one = rle.encode(mask("#"))
    for overlap in (mask_iou, mask_containment):
        assert overlap([], []).shape == (0, 0)
        assert overlap(one, []).shape == (1, 0)
        assert overlap([], one).shape == (0, 1)


def test_masks_of_different_images_are_an_error() -> None:
    small, large = rle.encode(mask("#")), rle.encode(mask("##"))
    for overlap in (mask_iou, mask_containment):
        with pytest.raises(GeometryError, match="1×1 and 1×2"):
            overlap(small, large)


def test_mixed_iou_is_of_masks_where_both_have_one_and_of_boxes_elsewhere() -> None:
    # The first two have equal boxes and disjoint masks.
    boxes = [(0, 0, 10, 10), (0, 0, 10, 10), (0, 0, 10, 20)]
    masks = [rectangle(0, 0, 5, 10), rectangle(5, 0, 10, 10), None]
    assert mixed_iou(boxes, masks).tolist() == [[1, 0, 0.5], [0, 1, 0.5], [0.5, 0.5, 1]]


def test_mixed_iou_of_boxes_alone() -> None:
    assert mixed_iou([(0, 0, 4, 4), (2, 0, 6, 4)], [None, None])[0, 1] == pytest.approx(1 / 3)


def test_mixed_iou_of_no_objects() -> None:
    assert mixed_iou([], []).shape == (0, 0)


def test_mixed_iou_of_masks_of_different_images_is_an_error() -> None:
    other = encode_crop(np.ones((2, 2), bool), (0, 0), (5, 5))
    with pytest.raises(GeometryError, match="one image"):
        mixed_iou([(0, 0, 2, 2)] * 2, [rectangle(0, 0, 2, 2), other])
