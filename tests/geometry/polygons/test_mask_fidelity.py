from __future__ import annotations

import numpy as np
import pytest
from fixtures.masks import square

from grounded_sam2.geometry.polygons.mask_fidelity import (
    area_ratio,
    pixel_center_iou,
    pycocotools_iou,
    ultralytics_iou,
    ultralytics_masks,
)
from grounded_sam2.geometry.polygons.polygon_batch import PolygonBatch
from grounded_sam2.geometry.polygons.rasterization import polygons_to_mask
from grounded_sam2.geometry.polygons.tracing import trace_masks
from grounded_sam2.geometry.rle import Rle, decode_crops, encode_crop

ALL = np.arange(3)


@pytest.fixture
def masks() -> list[Rle]:
    """Squares of 10, 6 and 4 pixels in images of different sizes."""
    sides = {10: (40, 50), 6: (9, 20), 4: (100, 30)}
    return [
        encode_crop(np.ones((side, side), np.bool_), (3, 2), size_hw)
        for side, size_hw in sides.items()
    ]


def test_exact_polygons_have_full_fidelity_by_every_metric(masks: list[Rle]) -> None:
    crops = decode_crops(masks)
    exact = trace_masks(crops.pixels)
    areas = crops.areas.astype(np.float64)
    assert area_ratio(areas, exact, ALL).tolist() == [1, 1, 1]
    assert pixel_center_iou(crops, exact, ALL).tolist() == [1, 1, 1]
    assert pycocotools_iou(masks, crops, exact, ALL).tolist() == [1, 1, 1]


def test_polygons_are_compared_with_the_masks_of_the_given_indices(masks: list[Rle]) -> None:
    crops = decode_crops(masks)
    # The last mask exactly, then a quarter of the first mask, in its corner.
    polygons = PolygonBatch.from_polygons([[square(0, 0, 4)], [square(5, 5, 5)]])
    indices = np.array([2, 0])
    areas = crops.areas.astype(np.float64)
    assert area_ratio(areas, polygons, indices).tolist() == [1, 0.25]
    assert pixel_center_iou(crops, polygons, indices).tolist() == [1, 0.25]
    assert pycocotools_iou(masks, crops, polygons, indices).tolist() == [1, 0.25]
    # Ultralytics sets the pixels under the outline as well, as far as there are any.
    assert ultralytics_iou(crops.pixels, polygons, indices).tolist() == [1, 0.25]


def test_components_are_united_and_holes_excluded() -> None:
    mask = np.zeros((20, 20), np.bool_)
    mask[:, :4] = mask[:, 10:14] = True
    mask[5:8, 11:13] = False
    (crops, rles) = (decode_crops([rle := encode_crop(mask, (0, 0), (20, 20))]), [rle])
    exact = trace_masks(crops.pixels)
    assert len(exact.rings_per_polygon) == 2
    assert pixel_center_iou(crops, exact, ALL[:1]).tolist() == [1]
    assert pycocotools_iou(rles, crops, exact, ALL[:1]).tolist() == [1]
    overlapping = PolygonBatch.from_polygons([[square(0, 0, 4), square(2, 0, 4)]])
    expected = polygons_to_mask([square(0, 0, 4), square(2, 0, 4)], (20, 14)) & mask[:, :14]
    share = expected.sum() / (mask.sum() + 24 - expected.sum())
    assert pixel_center_iou(crops, overlapping, ALL[:1]).tolist() == [share]
    assert pycocotools_iou(rles, crops, overlapping, ALL[:1]).tolist() == [share]


def test_ultralytics_sets_the_pixels_under_the_ring() -> None:
    (painted,) = ultralytics_masks(PolygonBatch.from_polygons([[square(1.9, 1.9, 3)]]), [(8, 9)])
    assert painted.shape == (8, 9)
    assert np.argwhere(painted).min() == 1
    assert painted.sum() == 16


def test_no_polygons_have_no_fidelity(masks: list[Rle]) -> None:
    crops, none = decode_crops(masks), np.zeros(0, np.intp)
    polygons = PolygonBatch.from_polygons([])
    areas = crops.areas.astype(np.float64)
    assert area_ratio(areas, polygons, none).shape == (0,)
    assert pixel_center_iou(crops, polygons, none).shape == (0,)
    assert pycocotools_iou(masks, crops, polygons, none).shape == (0,)
    assert ultralytics_iou(crops.pixels, polygons, none).shape == (0,)
