from __future__ import annotations

import cv2
import numpy as np
import pytest
from fixtures.masks import Mask, Points
from pycocotools import mask as coco_mask

from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry.overlap import mask_iou
from grounded_sam2.geometry.polygons import (
    exact_polygons,
    has_holes,
    mask_to_polygons,
    mask_to_single_ring,
    masks_to_polygons,
    polygons_to_coco,
    polygons_to_mask,
    polygons_to_rle,
)
from grounded_sam2.geometry.rle import encode, encode_crop


def size(dense: Mask) -> tuple[int, int]:
    height, width = dense.shape
    return height, width


def overlap(a: Mask, b: Mask) -> float:
    """IoU; 1 where both are empty."""
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 1.0


def read_by_ultralytics(ring: Points, size_hw: tuple[int, int]) -> Mask:
    """As ``ultralytics.data.utils.polygon2mask``, from a label file with six decimals."""
    height, width = size_hw
    rows = np.array([[f"{x / width:.6f}", f"{y / height:.6f}"] for x, y in ring], np.float32)
    canvas = np.zeros(size_hw, np.uint8)
    points = (rows.reshape(-1, 2) * np.array((width, height), np.float32)).astype(np.int32)
    if len(points):
        cv2.fillPoly(canvas, [points], color=(1,))
    return canvas.astype(np.bool_)


def read_by_pycocotools(segmentation: list[list[float]], size_hw: tuple[int, int]) -> Mask:
    if not segmentation:
        return np.zeros(size_hw, np.bool_)
    union = coco_mask.merge(coco_mask.frPyObjects(segmentation, *size_hw))
    return np.asarray(coco_mask.decode(union), np.bool_)


@pytest.mark.parametrize("min_iou", [0.9, 0.98, 1.0])
class TestIouWithTheMask:
    def test_of_polygons(self, dense: Mask, min_iou: float) -> None:
        polygons = mask_to_polygons(encode(dense)[0], min_iou=min_iou)
        assert overlap(polygons_to_mask(polygons, size(dense)), dense) >= min_iou

    def test_of_polygons_in_pycocotools(self, dense: Mask, min_iou: float) -> None:
        polygons = mask_to_polygons(dense, min_iou=min_iou)
        read = read_by_pycocotools(polygons_to_coco(polygons), size(dense))
        assert overlap(read, dense) >= min_iou

    def test_of_a_single_ring(self, dense: Mask, min_iou: float) -> None:
        ring = mask_to_single_ring(encode(dense)[0], min_iou=min_iou)
        assert overlap(polygons_to_mask([ring], size(dense)), dense) >= min_iou

    def test_of_a_single_ring_in_pycocotools(self, dense: Mask, min_iou: float) -> None:
        ring = mask_to_single_ring(dense, min_iou=min_iou)
        segmentation = [ring.ravel().tolist()] if len(ring) else []
        read = read_by_pycocotools(segmentation, size(dense))
        assert overlap(read, dense) >= min_iou

    def test_of_a_single_ring_in_ultralytics(self, dense: Mask, min_iou: float) -> None:
        read = read_by_ultralytics(mask_to_single_ring(dense, min_iou=min_iou), size(dense))
        bridges = len(exact_polygons(dense)) > 1
        if bridges and min_iou == 1:
            assert not (dense & ~read).any(), "only bridges are added"
        elif not bridges:
            assert overlap(read, dense) >= min_iou


def test_a_disc_needs_few_points() -> None:
    disc = np.hypot(*(np.indices((200, 200)) - 99.5)) < 80
    exact = len(exact_polygons(disc)[0].exterior)
    assert len(mask_to_polygons(disc)[0].exterior) < exact / 5
    assert len(mask_to_single_ring(disc)) < exact / 5


def test_simplified_polygons_keep_their_holes(holed: Mask) -> None:
    around, within = mask_to_polygons(holed)
    assert len(around.holes) == 1
    assert not within.holes


def test_max_tolerance_keeps_details_that_the_iou_would_allow_to_lose() -> None:
    dense = np.zeros((400, 400), np.bool_)
    dense[10:390, 10:390] = True
    dense[5:10, 100:105] = True  # a detail that barely changes the IoU
    (fine,) = mask_to_polygons(dense)
    assert fine.exterior[:, 1].min() == 5
    (fine,) = mask_to_polygons(dense, min_iou=0.5, max_tolerance=1)
    assert fine.exterior[:, 1].min() == 5
    (coarse,) = mask_to_polygons(dense, min_iou=0.5, max_tolerance=10)
    assert coarse.exterior[:, 1].min() == 10
    assert mask_to_single_ring(dense)[:, 1].min() < 6


def test_more_than_255_masks_at_once() -> None:
    masks = np.zeros((300, 20, 20), np.bool_)
    for number, mask in enumerate(masks):
        mask[number % 15 : number % 15 + 5, number // 20 : number // 20 + 5] = True
    together = masks_to_polygons(encode(masks))
    assert len(together) == 300
    for polygons, mask in zip(together, masks, strict=True):
        np.testing.assert_array_equal(polygons_to_mask(polygons, (20, 20)), mask)


def test_a_lower_min_iou_gives_fewer_points() -> None:
    disc = np.hypot(*(np.indices((400, 400)) - 199.5)) < 180
    bounds = (0.9, 0.95, 0.98, 0.999, 1)
    for points_of in (
        lambda b: mask_to_polygons(disc, min_iou=b)[0].exterior,
        lambda b: mask_to_single_ring(disc, min_iou=b),
    ):
        counts = [len(points_of(bound)) for bound in bounds]
        assert counts == sorted(set(counts))
        assert counts[0] < counts[2] / 4


def test_a_slanted_line_keeps_the_points_that_pycocotools_needs() -> None:
    steps = np.arange(60)
    dense = np.zeros((72, 96), np.bool_)
    dense[steps // 2 + 10, steps + 20] = True
    read = read_by_pycocotools(polygons_to_coco(mask_to_polygons(dense)), size(dense))
    assert overlap(read, dense) >= 0.98


def test_bridges_that_exceed_the_iou_loss_do_not_prevent_simplification() -> None:
    discs = np.zeros((200, 200), np.bool_)
    for x in (30, 170):
        discs |= np.hypot(*(np.indices((200, 200)) - np.array((100, x))[:, None, None])) < 20
    painted = read_by_ultralytics(mask_to_single_ring(discs, min_iou=1), (200, 200))
    assert overlap(painted, discs) < 0.98
    exact = sum(len(polygon.exterior) for polygon in exact_polygons(discs))
    ring = mask_to_single_ring(discs)
    assert len(ring) < exact / 2
    assert overlap(read_by_ultralytics(ring, (200, 200)), painted) >= 0.98


def test_one_pixel_becomes_four_points_inside_it() -> None:
    dense = np.zeros((4, 6), np.bool_)
    dense[3, 5] = True
    assert mask_to_polygons(dense)[0].exterior.tolist() == [[5, 3], [5, 4], [6, 4], [6, 3]]
    np.testing.assert_allclose(
        mask_to_single_ring(dense),
        [(5.05, 3.05), (5.05, 3.95), (5.95, 3.95), (5.95, 3.05)],
        atol=0.005,
    )


def test_a_small_square_does_not_become_a_triangle() -> None:
    dense = np.zeros((9, 9), np.bool_)
    dense[3:5, 3:5] = True
    assert len(mask_to_polygons(dense)[0].exterior) == 4
    assert len(mask_to_single_ring(dense)) == 4


def test_a_single_ring_stays_inside_the_image(dense: Mask) -> None:
    ring = mask_to_single_ring(dense)
    assert (ring >= 0).all()
    assert (ring <= dense.shape[::-1]).all()
    assert len(ring) >= 3 or not dense.any()


def test_bridges_are_all_that_ultralytics_adds(scattered: Mask) -> None:
    ring = mask_to_single_ring(scattered, min_iou=1)
    read = read_by_ultralytics(ring, size(scattered))
    assert not (scattered & ~read).any()
    gaps = 150 + 100  # pixels between the components
    assert 0 < (read & ~scattered).sum() < gaps


def test_bridges_to_holes_add_no_pixels(holed: Mask) -> None:
    around = polygons_to_mask(
        exact_polygons(holed)[:1], size(holed)
    )  # without the component in the hole
    read = read_by_ultralytics(mask_to_single_ring(around, min_iou=1), size(around))
    np.testing.assert_array_equal(read, around)


def test_coco_polygons_are_flat_and_one_per_component(scattered: Mask) -> None:
    segmentation = polygons_to_coco(mask_to_polygons(scattered))
    assert len(segmentation) == 3
    assert all(len(flat) >= 6 and len(flat) % 2 == 0 for flat in segmentation)
    assert all(isinstance(number, float) for flat in segmentation for number in flat)
    assert polygons_to_coco([]) == []


def test_coco_polygons_keep_holes_by_bridges(holed: Mask) -> None:
    assert has_holes(holed)
    read = read_by_pycocotools(polygons_to_coco(mask_to_polygons(holed, min_iou=1)), size(holed))
    np.testing.assert_array_equal(read, holed)


def test_the_same_mask_gives_the_same_ring_dense_or_encoded(dense: Mask) -> None:
    first, second = mask_to_single_ring(dense), mask_to_single_ring(encode(dense)[0])
    np.testing.assert_array_equal(first, second)


def test_an_empty_mask_has_no_polygons() -> None:
    empty = np.zeros((5, 6), np.bool_)
    assert mask_to_polygons(empty) == []
    assert mask_to_single_ring(empty).shape == (0, 2)


def test_an_object_of_a_huge_image() -> None:
    target = encode_crop(np.hypot(*(np.indices((50, 50)) - 25)) < 20, (49_900, 0), (40_000, 50_000))
    assert (
        mask_iou([polygons_to_rle([mask_to_single_ring(target)], target.size_hw)], [target])[0, 0]
        >= 0.98
    )


@pytest.mark.parametrize("make", [mask_to_polygons, mask_to_single_ring])
def test_wrong_arguments_are_an_error(make) -> None:  # type: ignore[no-untyped-def]
    dense = np.ones((4, 4), np.bool_)
    with pytest.raises(GeometryError, match=r"min_iou 1\.5"):
        make(dense, min_iou=1.5)
    with pytest.raises(GeometryError, match="max_tolerance -1"):
        make(dense, max_tolerance=-1)
    with pytest.raises(GeometryError, match="dtype uint8"):
        make(dense.astype(np.uint8))
