"""Clean-up of the objects of an image."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.config import CleanupConfig
from grounded_sam2.errors import GeometryError
from grounded_sam2.geometry.overlap import mask_iou
from grounded_sam2.geometry.rle import Rle, encode
from grounded_sam2.inference.cleanup import clean_up
from grounded_sam2.results import Label, Labels

SIZE_HW = (60, 80)
AS_FOUND = CleanupConfig(min_part_area=0, max_hole_area=0, boxes_from_masks=False, nms="none")
"""No clean-up except duplicates between captions of one class; tests add options."""


def rectangle(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    dense = np.zeros(SIZE_HW, np.bool_)
    dense[top:bottom, left:right] = True
    return dense


def make_label(
    mask: np.ndarray | None,
    class_name: str = "ball",
    caption: str = "red circle",
    confidence: float | None = 0.9,
    mask_quality: float | None = None,
    box: tuple[float, float, float, float] = (1.5, 2.5, 30.5, 40.5),
) -> Label:
    encoded = None if mask is None else encode(mask)[0]
    return Label(class_name, caption, box, encoded, confidence, mask_quality)


def cleaned(config: CleanupConfig, *objects: Label) -> tuple[Label, ...]:
    result = clean_up(Labels(SIZE_HW, objects), config).labels
    assert result.size_hw == SIZE_HW
    return result.objects


A = rectangle(0, 0, 20, 20)
"""400 pixels."""
MOSTLY_A = rectangle(0, 0, 20, 16)
"""IoU 0.8 with A."""
PARTLY_A = rectangle(0, 0, 20, 12)
"""IoU 0.6 with A."""
HALF_A = rectangle(0, 0, 20, 10)
"""IoU 0.5 with A."""
LITTLE_OF_A = rectangle(0, 0, 20, 8)
"""IoU 0.4 with A."""
ELSEWHERE = rectangle(40, 30, 60, 50)


def test_an_image_without_objects_has_none_after_clean_up() -> None:
    assert clean_up(Labels(SIZE_HW), CleanupConfig()).labels == Labels(SIZE_HW)


def test_a_clean_object_is_unchanged() -> None:
    good = make_label(A, box=(0.0, 0.0, 20.0, 20.0))
    assert cleaned(CleanupConfig(), good) == (good,)


class TestParts:
    def test_small_parts_are_removed_and_small_holes_filled(self) -> None:
        dense = A.copy()
        dense[40:43, 50:55] = True  # 15 pixels
        dense[4:8, 4:8] = False  # 16 pixels
        (label,) = cleaned(CleanupConfig(), make_label(dense))
        assert label.mask == encode(A)[0]

    def test_larger_parts_and_holes_stay(self) -> None:
        dense = A.copy()
        dense[40:44, 50:54] = True  # 16 pixels
        dense[3:20, 4] = False  # a bay, open below
        dense[2:19, 8] = False  # a hole of 17 pixels
        (label,) = cleaned(CleanupConfig(), make_label(dense))
        assert label.mask == encode(dense)[0]

    def test_zero_turns_both_off(self) -> None:
        dense = A.copy()
        dense[5, 5] = False
        dense[50, 50] = True
        (label,) = cleaned(AS_FOUND, make_label(dense))
        assert label.mask == encode(dense)[0]

    def test_largest_part_only(self) -> None:
        dense = A | ELSEWHERE
        dense[30, 40:70] = True
        (label,) = cleaned(CleanupConfig(largest_part_only=True), make_label(dense))
        assert label.mask is not None
        assert label.mask.area == 410
        assert not label.mask.decode()[:20, :20].any()

    def test_objects_without_pixels_are_dropped(self) -> None:
        empty, specks = np.zeros(SIZE_HW, np.bool_), rectangle(3, 3, 6, 6)
        assert cleaned(CleanupConfig(), make_label(empty), make_label(specks)) == ()
        assert len(cleaned(AS_FOUND, make_label(empty), make_label(specks))) == 1


class TestDuplicates:
    @pytest.mark.parametrize(
        ("nms", "other_class", "kept"),
        [
            ("none", "ball", [0, 1]),
            ("class_specific", "ball", [1]),
            ("class_specific", "box", [0, 1]),
            ("class_agnostic", "ball", [1]),
            ("class_agnostic", "box", [1]),
        ],
    )
    def test_nms_on_masks(self, nms: str, other_class: str, kept: list[int]) -> None:
        config = CleanupConfig(boxes_from_masks=False, nms=nms)  # type: ignore[arg-type]
        objects = (make_label(A, confidence=0.6), make_label(MOSTLY_A, other_class, confidence=0.7))
        assert cleaned(config, *objects) == tuple(objects[i] for i in kept)

    def test_boxes_are_not_compared_where_there_are_masks(self) -> None:
        one_box = (0.0, 0.0, 80.0, 60.0)
        assert (
            len(
                cleaned(
                    CleanupConfig(), make_label(A, box=one_box), make_label(ELSEWHERE, box=one_box)
                )
            )
            == 2
        )

    def test_the_nms_limit_is_inclusive(self) -> None:
        objects = (make_label(A), make_label(PARTLY_A))
        assert len(cleaned(CleanupConfig(), *objects)) == 2
        assert len(cleaned(CleanupConfig(nms_iou=0.6), *objects)) == 1
        assert len(cleaned(CleanupConfig(nms_iou=0.61), *objects)) == 2

    @pytest.mark.parametrize("nms", ["none", "class_specific", "class_agnostic"])
    def test_captions_of_one_class_are_merged_at_a_lower_overlap(self, nms: str) -> None:
        config = CleanupConfig(nms=nms)  # type: ignore[arg-type]
        first = make_label(A, caption="red circle", confidence=0.5)
        (label,) = cleaned(config, first, make_label(HALF_A, caption="red disc", confidence=0.8))
        assert label.caption == "red disc"
        assert len(cleaned(config, first, make_label(LITTLE_OF_A, caption="red disc"))) == 2

    def test_a_merge_limit_above_the_nms_limit_does_not_weaken_nms(self) -> None:
        config = CleanupConfig(merge_iou=0.9)
        assert len(cleaned(config, make_label(A), make_label(MOSTLY_A, caption="red disc"))) == 1

    def test_classes_are_merged_only_with_across_classes(self) -> None:
        objects = (
            make_label(A, "ball", confidence=0.5),
            make_label(PARTLY_A, "box", "box", confidence=0.8),
        )
        assert len(cleaned(CleanupConfig(), *objects)) == 2
        (label,) = cleaned(CleanupConfig(across_classes=True), *objects)
        assert label.class_name == "box"
        assert len(cleaned(CleanupConfig(across_classes=True, merge_iou=0.7), *objects)) == 2

    def test_objects_without_a_mask_are_compared_by_box(self) -> None:
        boxed = make_label(None, box=(0.0, 0.0, 20.0, 18.0), confidence=0.5)
        masked = make_label(A, box=(0.0, 0.0, 20.0, 20.0), confidence=0.6)
        also_boxed = make_label(None, box=(0.0, 0.0, 20.0, 19.0), confidence=0.4)
        far = make_label(None, box=(50.0, 0.0, 60.0, 19.0), confidence=0.1)
        assert cleaned(CleanupConfig(), boxed, masked, also_boxed, far) == (masked, far)
        assert cleaned(CleanupConfig(), boxed, also_boxed) == (boxed,)


class TestRanking:
    def test_confidence_wins_over_mask_quality_and_quality_over_neither(self) -> None:
        config = CleanupConfig(boxes_from_masks=False)
        objects = (
            make_label(A, confidence=None),
            make_label(A, confidence=None, mask_quality=0.7),
            make_label(A, confidence=None, mask_quality=0.99),
            make_label(A, confidence=0.2, mask_quality=0.1),
        )
        for count in (4, 3, 2, 1):
            assert cleaned(config, *objects[:count]) == (objects[count - 1],)

    def test_the_earlier_of_equals_wins(self) -> None:
        for confidence in (0.5, None):
            objects = [
                make_label(A, confidence=confidence, caption=f"caption {i}") for i in range(3)
            ]
            (label,) = cleaned(AS_FOUND, *objects)
            assert label.caption == "caption 0"

    def test_objects_that_stay_keep_their_order(self) -> None:
        low, high = make_label(A, confidence=0.1), make_label(ELSEWHERE, confidence=0.9)
        assert cleaned(AS_FOUND, low, high) == (low, high)


class TestOverlaps:
    def test_each_pixel_belongs_to_the_more_confident_object(self) -> None:
        config = CleanupConfig(non_overlapping=True)
        below = make_label(rectangle(0, 0, 30, 30), "box", confidence=0.3)
        above = make_label(rectangle(10, 10, 40, 40), "ball", confidence=0.8)
        first, second = cleaned(config, below, above)
        assert first.mask is not None
        assert second.mask == above.mask
        assert first.mask.area == 900 - 400
        assert mask_iou([first.mask], [second.mask])[0, 0] == 0

    def test_a_hole_left_by_the_object_above_is_not_filled(self) -> None:
        config = CleanupConfig(non_overlapping=True)
        below = make_label(A, "box", confidence=0.3)
        above = make_label(rectangle(5, 5, 9, 9), "ball", confidence=0.8)
        first, _ = cleaned(config, below, above)
        assert first.mask is not None
        assert first.mask.area == 400 - 16

    def test_slivers_and_covered_objects_are_dropped(self) -> None:
        config = CleanupConfig(non_overlapping=True)
        above = make_label(A, "ball", confidence=0.8)
        covered = make_label(rectangle(5, 5, 10, 15), "box", confidence=0.7)
        sliver = make_label(rectangle(5, 5, 20, 21), "cone", confidence=0.6)  # 15 pixels stand out
        assert [label.class_name for label in cleaned(config, covered, above, sliver)] == ["ball"]

    def test_overlaps_stay_by_default(self) -> None:
        objects = (make_label(A, "ball"), make_label(LITTLE_OF_A, "box"))
        assert cleaned(AS_FOUND, *objects) == objects

    def test_objects_without_a_mask_cover_nomake_label(self) -> None:
        config = CleanupConfig(non_overlapping=True)
        boxed = make_label(None, "ball", box=(0.0, 0.0, 20.0, 20.0))
        masked = make_label(A, "box", confidence=0.1, box=(0.0, 0.0, 20.0, 20.0))
        assert cleaned(config, boxed, masked) == (boxed, masked)


class TestBoxes:
    def test_boxes_become_tight_around_masks(self) -> None:
        boxed = make_label(None, "box")
        masked, unmasked = cleaned(CleanupConfig(), make_label(ELSEWHERE), boxed)
        assert masked.box_xyxy == (40, 30, 60, 50)
        assert unmasked == boxed

    def test_boxes_of_the_detector_stay_without_boxes_from_masks(self) -> None:
        (label,) = cleaned(CleanupConfig(boxes_from_masks=False), make_label(ELSEWHERE))
        assert label.box_xyxy == (1.5, 2.5, 30.5, 40.5)

    def test_boxes_fit_masks_after_overlaps_are_removed(self) -> None:
        config = CleanupConfig(non_overlapping=True)
        below = make_label(A, "box", confidence=0.3)
        above = make_label(rectangle(0, 0, 12, 20), "ball", confidence=0.8)
        first, _ = cleaned(config, below, above)
        assert first.box_xyxy == (12, 0, 20, 20)


def test_a_mask_of_another_image_is_an_error() -> None:
    stranger = Label("ball", "red circle", (0, 0, 1, 1), Rle((1, 1), b"01"), 0.5, None)
    with pytest.raises(GeometryError, match="mask of 'ball': 1×1 pixels in an image of 60×80"):
        clean_up(Labels(SIZE_HW, (stranger,)), CleanupConfig())
