"""Measurements of objects, on masks whose pixels can be counted."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.geometry.rle import encode
from grounded_sam2.report.measures import OBJECT_DTYPE, measure_objects
from grounded_sam2.results import Label, Labels

SIZE_HW = (20, 30)


def rectangle(left: int, top: int, right: int, bottom: int, **fields) -> Label:
    mask = np.zeros(SIZE_HW, bool)
    mask[top:bottom, left:right] = True
    fields = {"class_name": "a", "confidence": 0.75, "mask_quality": 0.5, **fields}
    return Label(caption="", box_xyxy=(left, top, right, bottom), mask=encode(mask)[0], **fields)


def box(left: float, top: float, right: float, bottom: float, **fields) -> Label:
    fields = {"class_name": "a", "confidence": None, "mask_quality": None, **fields}
    return Label(caption="", box_xyxy=(left, top, right, bottom), mask=None, **fields)


def rows_of(*objects: Label):
    return measure_objects(Labels(SIZE_HW, objects), 7, {"a": 0, "b": 1})


def test_no_objects_give_no_rows() -> None:
    assert rows_of().shape == (0,)
    assert rows_of().dtype == OBJECT_DTYPE


def test_the_attributes_of_a_label_are_copied() -> None:
    rows = rows_of(rectangle(0, 0, 3, 2, class_name="b"), box(0, 0, 30, 10, origin="human"))
    assert rows["image"].tolist() == [7, 7]
    assert rows["position"].tolist() == [0, 1]
    assert rows["class_id"].tolist() == [1, 0]
    assert rows["has_mask"].tolist() == [True, False]
    assert rows["by_person"].tolist() == [False, True]
    assert rows["confidence"][0] == 0.75
    assert rows["quality"][0] == 0.5
    assert np.isnan(rows["confidence"][1])
    assert np.isnan(rows["quality"][1])


def test_the_area_is_that_of_the_mask_or_of_the_box_within_the_image() -> None:
    assert rows_of(rectangle(5, 5, 8, 7))["area_fraction"][0] == 6 / 600
    assert rows_of(box(-100, 0, 15, 20))["area_fraction"][0] == 0.5


def test_an_empty_mask_has_no_area_and_reaches_nothing() -> None:
    (row,) = rows_of(rectangle(0, 0, 0, 0, detected_box_xyxy=(0, 0, 5, 5)))
    assert row["area_fraction"] == 0
    assert row["along_border"] == 0
    assert np.isnan(row["outside_box"])


class TestOverlap:
    def test_the_other_object_is_the_one_with_the_largest_overlap(self) -> None:
        rows = rows_of(rectangle(0, 0, 10, 10), rectangle(9, 0, 19, 10), rectangle(10, 0, 20, 10))
        assert rows["overlap_with"].tolist() == [1, 2, 1]
        assert rows["overlap_iou"] == pytest.approx([10 / 190, 90 / 110, 90 / 110])

    def test_an_object_without_overlap_has_no_other_object(self) -> None:
        rows = rows_of(rectangle(0, 0, 5, 5), rectangle(10, 0, 20, 10))
        assert rows["overlap_with"].tolist() == [-1, -1]
        assert rows["inside_with"].tolist() == [-1, -1]
        assert rows["overlap_iou"].tolist() == [0, 0]

    def test_a_part_lies_inside_its_whole(self) -> None:
        rows = rows_of(rectangle(0, 0, 20, 20), rectangle(2, 2, 6, 6))
        assert rows["overlap_inside"] == pytest.approx([1, 1])
        assert rows["overlap_iou"] == pytest.approx([16 / 400] * 2)

    def test_an_object_of_another_class_is_not_a_part(self) -> None:
        rows = rows_of(rectangle(0, 0, 20, 20), rectangle(2, 2, 6, 6, class_name="b"))
        assert rows["overlap_inside"].tolist() == [0, 0]
        assert rows["overlap_with"].tolist() == [1, 0]

    def test_an_object_without_a_mask_overlaps_by_its_box(self) -> None:
        rows = rows_of(box(0, 0, 10, 10), rectangle(0, 0, 10, 5))
        assert rows["overlap_iou"] == pytest.approx([0.5, 0.5])


class TestDetectedBox:
    @pytest.mark.parametrize(
        ("detected", "outside"),
        [
            ((4, 4, 14, 14), 0),
            ((4, 4, 9, 14), 0.5),
            ((4.6, 4, 14, 14), 0),  # half a pixel is no pixel
            ((20, 4, 30, 14), 1),
            ((-50, -50, 300, 200), 0),
        ],
        ids=["tight", "half", "within a pixel", "elsewhere", "beyond the image"],
    )
    def test_the_fraction_of_the_mask_outside_the_box(self, detected, outside) -> None:
        (row,) = rows_of(rectangle(4, 4, 14, 14, detected_box_xyxy=detected))
        assert row["outside_box"] == outside

    def test_a_rectangle_reaches_whole_sides_of_its_box_and_a_disc_does_not(self, labeled) -> None:
        (row,) = rows_of(rectangle(4, 4, 14, 14, detected_box_xyxy=(4, 4, 14, 14)))
        assert row["along_box"] == 1
        mask = encode(labeled.disc())[0]
        disc = Label("a", "", mask.bbox_xyxy, mask, 0.9, 0.9, detected_box_xyxy=mask.bbox_xyxy)
        (row,) = measure_objects(Labels((60, 80), (disc,)), 0, {"a": 0})
        assert 0.1 < row["along_box"] < 0.6

    def test_sides_on_the_image_border_are_ignored(self) -> None:
        whole = rectangle(0, 0, 30, 20, detected_box_xyxy=(0, 0, 30, 20))
        assert rows_of(whole)["along_box"][0] == 0

    def test_without_a_detector_box_or_a_mask_the_measurement_is_nan(self) -> None:
        (row,) = rows_of(rectangle(4, 4, 14, 14))
        assert np.isnan(row["outside_box"])
        assert np.isnan(row["along_box"])
        (row,) = rows_of(box(4, 4, 14, 14, detected_box_xyxy=(4, 4, 14, 14)))
        assert np.isnan(row["outside_box"])


@pytest.mark.parametrize(
    ("edges", "fraction"),
    [
        ((5, 5, 10, 10), 0),
        ((0, 0, 30, 20), 1),
        ((0, 5, 3, 10), 5 / 100),
        ((25, 15, 30, 20), 10 / 100),
    ],
    ids=["inside", "all of it", "left side", "corner"],
)
def test_the_fraction_of_the_image_border_inside_the_mask(edges, fraction) -> None:
    assert rows_of(rectangle(*edges))["along_border"][0] == pytest.approx(fraction)
