from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry import groups
from grounded_sam2.geometry.polygons.conversion import Polygon, polygons_of, to_polygons
from grounded_sam2.geometry.polygons.single_outline import single_outlines, to_single_outline
from grounded_sam2.geometry.rle import Rle, encode, encode_crop

Mask = NDArray[np.bool_]


@pytest.fixture
def company(dense: Mask, parted: Mask, holed: Mask) -> list[Rle]:
    """A mask among others, of images of other sizes, some of them empty."""
    others = [parted, np.zeros((3, 4), np.bool_), holed, np.ones((5, 2), np.bool_)]
    return [encode(mask)[0] for mask in [*others, dense, *others]]


def flat(polygons: list[Polygon]) -> list[list[list[float]]]:
    return [ring.tolist() for part in polygons for ring in (part.exterior, *part.holes)]


@pytest.mark.parametrize("pixels", [0, 3000, 2**22], ids=["alone", "a few", "together"])
def test_the_company_of_a_mask_changes_nothing(
    company: list[Rle], pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "_MOST_PIXELS", pixels)
    outlines, polygons = single_outlines(company), polygons_of(company)
    assert len(outlines) == len(polygons) == len(company)
    for mask, outline, parts in zip(company, outlines, polygons, strict=True):
        np.testing.assert_array_equal(outline, to_single_outline(mask))
        assert flat(parts) == flat(to_polygons(mask))


def test_more_masks_than_go_well_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "_MOST_MASKS", 3)
    blocks = [
        encode_crop(np.ones((4, 5), np.bool_), (index, 2 * index), (40, 50)) for index in range(8)
    ]
    outlines = single_outlines(blocks)
    for index, outline in enumerate(outlines):
        np.testing.assert_allclose(
            outline.min(axis=0), (index + 0.05, 2 * index + 0.05), atol=0.005
        )


def test_no_masks_have_no_outlines() -> None:
    assert single_outlines([]) == []
    assert polygons_of([]) == []


@pytest.mark.parametrize("make", [single_outlines, polygons_of])
def test_wrong_bounds_are_an_error_even_for_no_masks(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(GeometryError, match="min_iou 2"):
        make([], min_iou=2)


@pytest.mark.parametrize("make", [single_outlines, polygons_of])
def test_a_damaged_mask_is_an_error(make) -> None:  # type: ignore[no-untyped-def]
    good = encode(np.ones((4, 4), np.bool_))[0]
    with pytest.raises(GeometryError, match="4×5"):
        make([good, Rle((4, 5), good.counts)])
