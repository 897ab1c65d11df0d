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
"""Nothing but what a test adds; synonyms of one class are merged all the same."""


def rectangle(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    dense = np.zeros(SIZE_HW, np.bool_)
    dense[top:bottom, left:right] = True
    return dense


def thing(
    mask: np.ndarray | None,
    class_name: str = "ball",
    caption: str = "red circle",
    confidence: float | None = 0.9,
    mask_quality: float | None = None,
    box: tuple[float, float, float, float] = (1.5, 2.5, 30.5, 40.5),
) -> Label:
    run_lengths = None if mask is None else encode(mask)[0]
    return Label(class_name, caption, box, run_lengths, confidence, mask_quality)


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


def test_background_stays_background() -> None:
    assert clean_up(Labels(SIZE_HW), CleanupConfig()).labels == Labels(SIZE_HW)


def test_a_good_object_is_left_alone() -> None:
    good = thing(A, box=(0.0, 0.0, 20.0, 20.0))
    assert cleaned(CleanupConfig(), good) == (good,)


class TestParts:
    def test_specks_go_and_pin_holes_are_filled(self) -> None:
        dense = A.copy()
        dense[40:43, 50:55] = True  # 15 pixels
        dense[4:8, 4:8] = False  # 16 pixels
        (label,) = cleaned(CleanupConfig(), thing(dense))
        assert label.mask == encode(A)[0]

    def test_larger_parts_and_holes_stay(self) -> None:
        dense = A.copy()
        dense[40:44, 50:54] = True  # 16 pixels
        dense[3:20, 4] = False  # a bay, open below
        dense[2:19, 8] = False  # a hole of 17 pixels
        (label,) = cleaned(CleanupConfig(), thing(dense))
        assert label.mask == encode(dense)[0]

    def test_zero_turns_both_off(self) -> None:
        dense = A.copy()
        dense[5, 5] = False
        dense[50, 50] = True
        (label,) = cleaned(AS_FOUND, thing(dense))
        assert label.mask == encode(dense)[0]

    def test_largest_part_only(self) -> None:
        dense = A | ELSEWHERE
        dense[30, 40:70] = True
        (label,) = cleaned(CleanupConfig(largest_part_only=True), thing(dense))
        assert label.mask is not None
        assert label.mask.area == 410
        assert not label.mask.decode()[:20, :20].any()

    def test_objects_without_pixels_are_dropped(self) -> None:
        empty, specks = np.zeros(SIZE_HW, np.bool_), rectangle(3, 3, 6, 6)
        assert cleaned(CleanupConfig(), thing(empty), thing(specks)) == ()
        assert len(cleaned(AS_FOUND, thing(empty), thing(specks))) == 1


class TestOneObjectForOneThing:
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
        objects = (thing(A, confidence=0.6), thing(MOSTLY_A, other_class, confidence=0.7))
        assert cleaned(config, *objects) == tuple(objects[i] for i in kept)

    def test_boxes_do_not_decide_where_there_are_masks(self) -> None:
        one_box = (0.0, 0.0, 80.0, 60.0)
        assert (
            len(cleaned(CleanupConfig(), thing(A, box=one_box), thing(ELSEWHERE, box=one_box))) == 2
        )

    def test_nms_limit(self) -> None:
        objects = (thing(A), thing(PARTLY_A))
        assert len(cleaned(CleanupConfig(), *objects)) == 2
        assert len(cleaned(CleanupConfig(nms_iou=0.6), *objects)) == 1
        assert len(cleaned(CleanupConfig(nms_iou=0.61), *objects)) == 2

    @pytest.mark.parametrize("nms", ["none", "class_specific", "class_agnostic"])
    def test_two_captions_of_a_class_are_merged_earlier(self, nms: str) -> None:
        config = CleanupConfig(nms=nms)  # type: ignore[arg-type]
        first = thing(A, caption="red circle", confidence=0.5)
        (label,) = cleaned(config, first, thing(HALF_A, caption="red disc", confidence=0.8))
        assert label.caption == "red disc"
        assert len(cleaned(config, first, thing(LITTLE_OF_A, caption="red disc"))) == 2

    def test_a_merge_limit_above_the_nms_limit_does_not_weaken_nms(self) -> None:
        config = CleanupConfig(merge_iou=0.9)
        assert len(cleaned(config, thing(A), thing(MOSTLY_A, caption="red disc"))) == 1

    def test_classes_are_merged_only_when_asked(self) -> None:
        objects = (thing(A, "ball", confidence=0.5), thing(PARTLY_A, "box", "box", confidence=0.8))
        assert len(cleaned(CleanupConfig(), *objects)) == 2
        (label,) = cleaned(CleanupConfig(across_classes=True), *objects)
        assert label.class_name == "box"
        assert len(cleaned(CleanupConfig(across_classes=True, merge_iou=0.7), *objects)) == 2

    def test_objects_without_a_mask_are_compared_by_box(self) -> None:
        boxed = thing(None, box=(0.0, 0.0, 20.0, 18.0), confidence=0.5)
        masked = thing(A, box=(0.0, 0.0, 20.0, 20.0), confidence=0.6)
        also_boxed = thing(None, box=(0.0, 0.0, 20.0, 19.0), confidence=0.4)
        far = thing(None, box=(50.0, 0.0, 60.0, 19.0), confidence=0.1)
        assert cleaned(CleanupConfig(), boxed, masked, also_boxed, far) == (masked, far)
        assert cleaned(CleanupConfig(), boxed, also_boxed) == (boxed,)


class TestWhoWins:
    def test_confidence_then_quality_then_neither(self) -> None:
        config = CleanupConfig(boxes_from_masks=False)
        objects = (
            thing(A, confidence=None),
            thing(A, confidence=None, mask_quality=0.7),
            thing(A, confidence=None, mask_quality=0.99),
            thing(A, confidence=0.2, mask_quality=0.1),
        )
        for count in (4, 3, 2, 1):
            assert cleaned(config, *objects[:count]) == (objects[count - 1],)

    def test_the_earlier_of_equals(self) -> None:
        for confidence in (0.5, None):
            objects = [thing(A, confidence=confidence, caption=f"caption {i}") for i in range(3)]
            (label,) = cleaned(AS_FOUND, *objects)
            assert label.caption == "caption 0"

    def test_what_stays_keeps_its_order(self) -> None:
        low, high = thing(A, confidence=0.1), thing(ELSEWHERE, confidence=0.9)
        assert cleaned(AS_FOUND, low, high) == (low, high)


class TestOverlaps:
    def test_each_pixel_belongs_to_the_more_confident(self) -> None:
        config = CleanupConfig(non_overlapping=True)
        below = thing(rectangle(0, 0, 30, 30), "box", confidence=0.3)
        above = thing(rectangle(10, 10, 40, 40), "ball", confidence=0.8)
        first, second = cleaned(config, below, above)
        assert first.mask is not None
        assert second.mask == above.mask
        assert first.mask.area == 900 - 400
        assert mask_iou([first.mask], [second.mask])[0, 0] == 0

    def test_a_hole_made_by_the_one_above_is_not_filled(self) -> None:
        config = CleanupConfig(non_overlapping=True)
        below = thing(A, "box", confidence=0.3)
        above = thing(rectangle(5, 5, 9, 9), "ball", confidence=0.8)
        first, _ = cleaned(config, below, above)
        assert first.mask is not None
        assert first.mask.area == 400 - 16

    def test_slivers_and_wholly_covered_objects_go(self) -> None:
        config = CleanupConfig(non_overlapping=True)
        above = thing(A, "ball", confidence=0.8)
        covered = thing(rectangle(5, 5, 10, 15), "box", confidence=0.7)
        sliver = thing(rectangle(5, 5, 20, 21), "cone", confidence=0.6)  # 15 pixels stand out
        assert [label.class_name for label in cleaned(config, covered, above, sliver)] == ["ball"]

    def test_overlaps_stay_unless_asked(self) -> None:
        objects = (thing(A, "ball"), thing(LITTLE_OF_A, "box"))
        assert cleaned(AS_FOUND, *objects) == objects

    def test_objects_without_a_mask_cover_nothing(self) -> None:
        config = CleanupConfig(non_overlapping=True)
        boxed = thing(None, "ball", box=(0.0, 0.0, 20.0, 20.0))
        masked = thing(A, "box", confidence=0.1, box=(0.0, 0.0, 20.0, 20.0))
        assert cleaned(config, boxed, masked) == (boxed, masked)


class TestBoxes:
    def test_boxes_become_tight_around_masks(self) -> None:
        boxed = thing(None, "box")
        masked, unmasked = cleaned(CleanupConfig(), thing(ELSEWHERE), boxed)
        assert masked.box_xyxy == (40, 30, 60, 50)
        assert unmasked == boxed

    def test_boxes_of_the_detector_stay_when_asked(self) -> None:
        (label,) = cleaned(CleanupConfig(boxes_from_masks=False), thing(ELSEWHERE))
        assert label.box_xyxy == (1.5, 2.5, 30.5, 40.5)

    def test_boxes_follow_what_was_cut_away(self) -> None:
        config = CleanupConfig(non_overlapping=True)
        below = thing(A, "box", confidence=0.3)
        above = thing(rectangle(0, 0, 12, 20), "ball", confidence=0.8)
        first, _ = cleaned(config, below, above)
        assert first.box_xyxy == (12, 0, 20, 20)


def test_a_mask_of_another_image_is_an_error() -> None:
    stranger = Label("ball", "red circle", (0, 0, 1, 1), Rle((1, 1), b"01"), 0.5, None)
    with pytest.raises(GeometryError, match="mask of 'ball': 1×1 pixels in an image of 60×80"):
        clean_up(Labels(SIZE_HW, (stranger,)), CleanupConfig())
