from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fixtures.masks import Mask, mask
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry import rle
from grounded_sam2.geometry.compressed_counts import compress_counts
from grounded_sam2.geometry.rle import Rle


def by_pycocotools(dense: Mask) -> dict[str, Any]:
    result: dict[str, Any] = coco_mask.encode(np.asfortranarray(dense.view(np.uint8)))
    return result


def test_encoding_equals_that_of_pycocotools(dense: Mask) -> None:
    (ours,) = rle.encode(dense)
    assert ours.size_hw == dense.shape
    assert ours.counts == by_pycocotools(dense)["counts"]


def test_decoding_restores_the_pixels(dense: Mask) -> None:
    decoded = rle.encode(dense)[0].decode()
    assert decoded.dtype == np.bool_
    assert decoded.flags.c_contiguous
    np.testing.assert_array_equal(decoded, dense)


def test_area_and_box_are_those_of_the_pixels(dense: Mask) -> None:
    (ours,) = rle.encode(dense)
    x, y, width, height = coco_mask.toBbox(by_pycocotools(dense))
    assert ours.area == dense.sum()
    assert ours.bbox_xyxy == (x, y, x + width, y + height)


def test_a_crop_and_its_origin_restore_the_mask(dense: Mask) -> None:
    (ours,) = rle.encode(dense)
    crop, (left, top) = ours.decode_crop()
    x0, y0, x1, y1 = ours.bbox_xyxy
    assert crop.shape == (y1 - y0, x1 - x0)
    np.testing.assert_array_equal(crop, dense[int(y0) : int(y1), int(x0) : int(x1)])
    assert rle.encode_crop(crop, (left, top), ours.size_hw) == ours


def test_coco_counts_are_read_as_text_bytes_and_list(dense: Mask) -> None:
    (ours,) = rle.encode(dense)
    coco = ours.to_coco()
    assert coco == {"size": list(dense.shape), "counts": by_pycocotools(dense)["counts"].decode()}
    assert Rle.from_coco(coco) == ours
    assert Rle.from_coco({**coco, "counts": ours.counts}) == ours
    assert Rle.from_coco({**coco, "counts": ours.run_lengths().tolist()}) == ours


def test_pycocotools_reads_the_coco_segmentation(dense: Mask) -> None:
    np.testing.assert_array_equal(coco_mask.decode(rle.encode(dense)[0].to_coco()), dense)


def test_reading_coco_makes_run_lengths_canonical() -> None:
    read = Rle.from_coco({"size": [3, 3], "counts": [3, 0, 0, 2, 0, 1, 3, 0, 0]})
    assert read == rle.encode(mask(".#.", ".#.", ".#."))[0]
    assert Rle.from_coco({"size": [2, 1], "counts": [0, 0, 0, 2]}) == rle.encode(mask("#", "#"))[0]


@pytest.mark.parametrize("shape", [(1, 20_000), (20_000, 1)])
def test_very_long_images(shape: tuple[int, int]) -> None:
    dense = np.random.default_rng(0).random(shape) < 0.5
    (ours,) = rle.encode(dense)
    assert ours.counts == by_pycocotools(dense)["counts"]
    np.testing.assert_array_equal(ours.decode(), dense)


def test_an_object_of_a_huge_image() -> None:
    crop = np.ones((2, 3), np.bool_)
    huge = rle.encode_crop(crop, (59_997, 49_998), (50_000, 60_000))
    assert huge.area == 6
    assert huge.bbox_xyxy == (59_997, 49_998, 60_000, 50_000)
    np.testing.assert_array_equal(huge.decode_crop()[0], crop)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_stack_is_encoded_in_order_whatever_its_memory_layout(share: float) -> None:
    stack = np.random.default_rng(1).random((4, 9, 7)) < share
    expected = [rle.encode(np.array(one))[0] for one in stack]
    assert rle.encode(stack) == expected
    assert rle.encode(np.asfortranarray(stack)) == expected
    assert rle.encode(stack[:, ::-1, ::-1][:, ::-1, ::-1]) == expected
    np.testing.assert_array_equal(rle.decode(expected), stack)


def test_no_masks_give_empty_results() -> None:
    assert rle.encode(np.zeros((0, 5, 6), np.bool_)) == []
    assert rle.decode([]).shape == (0, 0, 0)
    assert rle.decode([], (5, 6)).shape == (0, 5, 6)
    assert rle.areas([]).shape == (0,)
    assert rle.bounding_boxes([]).shape == (0, 4)


def test_areas_and_boxes_of_several_masks() -> None:
    masks = [*rle.encode(mask("##.", "...")), *rle.encode(mask("...", "..."))]
    assert rle.areas(masks).tolist() == [2, 0]
    assert rle.bounding_boxes(masks).tolist() == [[0, 0, 2, 1], [0, 0, 0, 0]]


def test_masks_of_different_images_are_not_decoded_together() -> None:
    small, large = rle.encode(mask("#"))[0], rle.encode(mask("##"))[0]
    with pytest.raises(GeometryError, match="1×1 and 1×2"):
        rle.decode([small, large])
    with pytest.raises(GeometryError, match="3×3 and 1×1"):
        rle.decode([small], (3, 3))


@pytest.mark.parametrize(
    "corners",
    [(0, 0, 4, 3), (1, 1, 2, 2), (1, 0, 3, 3), (0, 2, 4, 3), (2, 2, 2, 3), (4, 3, 4, 3)],
)
def test_a_rectangle_has_the_pixels_of_a_box(corners: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = corners
    dense = np.zeros((3, 4), np.bool_)
    dense[top:bottom, left:right] = True
    assert rle.rectangle(corners, (3, 4)) == rle.encode(dense)[0]


@pytest.mark.parametrize(
    ("corners", "message"), [((0, 0, 5, 1), "outside"), ((2, 1, 1, 2), "swapped")]
)
def test_a_rectangle_outside_the_image_or_with_swapped_corners_is_an_error(
    corners: tuple[int, int, int, int], message: str
) -> None:
    with pytest.raises(GeometryError, match=message):
        rle.rectangle(corners, (3, 4))


@pytest.mark.parametrize("margins", [(0, 0, 0, 0), (3, 0, 2, 0), (0, 2, 0, 3), (1, 4, 2, 3)])
def test_pasting_pads_the_mask_of_a_window(dense: Mask, margins: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = margins
    whole = np.pad(dense, ((top, bottom), (left, right)))
    pasted = rle.paste(rle.encode(dense)[0], (left, top), (whole.shape[0], whole.shape[1]))
    assert pasted == rle.encode(whole)[0]


def test_pasting_makes_run_lengths_canonical() -> None:
    split = Rle((2, 2), compress_counts(np.array([1, 1, 0, 1, 1])))
    assert rle.paste(split, (1, 1), (3, 4)) == rle.encode(mask("....", "..#.", ".#.."))[0]


def test_pasting_into_a_huge_image_writes_few_counts() -> None:
    pasted = rle.paste(rle.encode(mask("##", "##"))[0], (39_990, 29_990), (30_000, 40_000))
    assert pasted.bbox_xyxy == (39_990, 29_990, 39_992, 29_992)
    assert len(pasted.counts) < 40


def test_a_window_outside_the_image_is_an_error() -> None:
    with pytest.raises(GeometryError, match="2×2 at x=3, y=0: reaches outside the image of 4×4"):
        rle.paste(rle.encode(mask("##", "##"))[0], (3, 0), (4, 4))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 3), np.uint8), "dtype uint8"),
        (np.zeros(3, np.bool_), r"shape \(3,\)"),
        (np.zeros((2, 0, 3), np.bool_), "0×3"),
    ],
)
def test_arrays_that_are_no_masks_are_an_error(array: NDArray[Any], message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        rle.encode(array)


def test_a_crop_outside_the_image_is_an_error() -> None:
    with pytest.raises(GeometryError, match="outside the image of 4×4"):
        rle.encode_crop(np.ones((2, 2), np.bool_), (3, 0), (4, 4))


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [2, 2]}, "needs 'size'"),
        ({"size": [2], "counts": "4"}, "needs 'size'"),
        ({"size": [0, 2], "counts": "0"}, "0×2"),
        ({"size": [2, 2], "counts": "3"}, "cover 3 pixels instead of 4"),
        ({"size": [2, 2], "counts": ""}, "cover 0 pixels instead of 4"),
        ({"size": [2, 2], "counts": [5, -1]}, "cover 4 pixels"),
        ({"size": [2, 2], "counts": "Ünicode"}, "neither compressed text"),
        ({"size": [2, 2], "counts": ["many"]}, "neither compressed text"),
        ({"size": [2, 2], "counts": "zz"}, "not COCO-compressed"),
    ],
)
def test_damaged_coco_segmentations_are_an_error(
    segmentation: dict[str, Any], message: str
) -> None:
    with pytest.raises(GeometryError, match=message):
        Rle.from_coco(segmentation)


@pytest.mark.parametrize(
    ("max_masks", "max_pixels"),
    [
        pytest.param(1024, 0, id="one mask each"),
        pytest.param(2, 2**22, id="two masks each"),
        pytest.param(1024, 3000, id="as many as have 3000 pixels"),
        pytest.param(1024, 2**22, id="all at once"),
    ],
)
def test_batches_of_crops_hold_all_masks_in_order(
    dense: Mask, scattered: Mask, holed: Mask, max_masks: int, max_pixels: int
) -> None:
    masks = [rle.encode(each)[0] for each in (scattered, mask("...", "..."), holed, dense, dense)]
    expected = rle.decode_crops(masks)
    batches = list(rle.decode_crops_in_batches(masks, max_masks=max_masks, max_pixels=max_pixels))
    assert [each for batch, _ in batches for each in batch] == masks
    pixels = [each for _, crops in batches for each in crops.pixels]
    for ours, theirs in zip(pixels, expected.pixels, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for field in ("origins_xy", "sizes_hw", "images_hw", "areas"):
        ours = np.concatenate([getattr(crops, field) for _, crops in batches])
        np.testing.assert_array_equal(ours, getattr(expected, field))
    for batch, crops in batches:
        assert len(batch) <= max_masks
        assert len(batch) == 1 or sum(each.size for each in crops.pixels) <= max_pixels


def test_no_masks_make_no_batches() -> None:
    assert list(rle.decode_crops_in_batches([])) == []
