from __future__ import annotations

import numpy as np
import pytest
from fixtures.masks import Mask

from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry.polygons import Polygon, mask_to_polygons, masks_to_polygons
from grounded_sam2.geometry.polygons.single_ring import mask_to_single_ring, masks_to_single_rings
from grounded_sam2.geometry.rle import Rle, encode, encode_crop


@pytest.fixture
def batch(dense: Mask, scattered: Mask, holed: Mask) -> list[Rle]:
    """A mask among others, of images of other sizes, some of them empty."""
    others = [scattered, np.zeros((3, 4), np.bool_), holed, np.ones((5, 2), np.bool_)]
    return [encode(mask)[0] for mask in [*others, dense, *others]]


def flat(polygons: list[Polygon]) -> list[list[list[float]]]:
    return [ring.tolist() for polygon in polygons for ring in (polygon.exterior, *polygon.holes)]


def test_results_do_not_depend_on_the_other_masks_of_a_batch(batch: list[Rle]) -> None:
    rings, polygons = masks_to_single_rings(batch), masks_to_polygons(batch)
    assert len(rings) == len(polygons) == len(batch)
    for mask, ring, found in zip(batch, rings, polygons, strict=True):
        np.testing.assert_array_equal(ring, mask_to_single_ring(mask))
        assert flat(found) == flat(mask_to_polygons(mask))


def test_more_masks_than_fit_one_batch() -> None:
    blocks = [
        encode_crop(np.ones((4, 5), np.bool_), (index % 40, index // 40), (60, 60))
        for index in range(1100)
    ]
    for index, ring in enumerate(masks_to_single_rings(blocks)):
        np.testing.assert_allclose(
            ring.min(axis=0), (index % 40 + 0.05, index // 40 + 0.05), atol=0.005
        )


def test_no_masks_have_no_rings() -> None:
    assert masks_to_single_rings([]) == []
    assert masks_to_polygons([]) == []


@pytest.mark.parametrize("make", [masks_to_single_rings, masks_to_polygons])
def test_a_min_iou_out_of_range_is_an_error_even_for_no_masks(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(GeometryError, match="min_iou 2"):
        make([], min_iou=2)


@pytest.mark.parametrize("make", [masks_to_single_rings, masks_to_polygons])
def test_a_damaged_mask_is_an_error(make) -> None:  # type: ignore[no-untyped-def]
    good = encode(np.ones((4, 4), np.bool_))[0]
    with pytest.raises(GeometryError, match="4×5"):
        make([good, Rle((4, 5), good.counts)])
