"""Rules find the issues of planted labels, and none in clean labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from grounded_sam2.report.duplicates import find_duplicates
from grounded_sam2.report.issues import (
    ISSUE_DTYPE,
    ISSUE_KINDS,
    KIND_IDS,
    KIND_NAMES,
    label_scores,
    score,
)
from grounded_sam2.report.measures import OBJECT_DTYPE
from grounded_sam2.report.options import Thresholds
from grounded_sam2.report.rules import find_issues
from grounded_sam2.results import Labels

SIZE_HW = (60, 80)
NO_DUPLICATES = find_duplicates([], [], max_bits=0, max_difference=0)


def test_clean_labels_have_no_issues(crowd, issues_of) -> None:
    assert issues_of(crowd) == []


def test_no_images_have_no_issues(issues_of) -> None:
    assert issues_of([]) == []


@pytest.fixture
def planted(crowd, clean, issues_of, labeled):
    """Find the issues of objects in one image after thirty clean images."""

    def find(*objects, **thresholds):
        return issues_of([*crowd, Labels(SIZE_HW, objects)], **thresholds)

    find.number = len(crowd)
    return find


class TestScoresOfModels:
    def test_a_low_confidence_is_an_issue(self, planted, clean, labeled) -> None:
        assert planted(clean(labeled.disc(), confidence=0.49, mask_quality=0.85)) == [
            ("low_confidence", planted.number, 0)
        ]

    def test_a_low_mask_quality_is_an_issue(self, planted, clean, labeled) -> None:
        assert planted(clean(labeled.disc(), mask_quality=0.7)) == [
            ("low_quality", planted.number, 0)
        ]

    @pytest.mark.parametrize(("confidence", "quality"), [(0.98, 0.5), (0.5, 0.98)])
    def test_a_difference_of_confidence_and_quality_is_an_issue(
        self, planted, clean, labeled, confidence, quality
    ) -> None:
        found = planted(clean(labeled.disc(), confidence=confidence, mask_quality=quality))
        assert ("disagreement", planted.number, 0) in found

    def test_two_low_scores_do_not_disagree(self, planted, clean, labeled) -> None:
        found = planted(clean(labeled.disc(), confidence=0.3, mask_quality=0.4))
        assert {kind for kind, *_ in found} == {"low_confidence", "low_quality"}

    def test_a_value_at_the_threshold_is_no_issue(self, planted, clean, labeled) -> None:
        assert planted(clean(labeled.disc(), confidence=0.5, mask_quality=0.8)) == []

    def test_human_labels_without_scores_have_no_issues(self, planted, clean, labeled) -> None:
        drawn = clean(labeled.disc(), confidence=None, mask_quality=None, origin="human")
        assert planted(drawn) == []

    def test_what_a_person_accepted_has_no_issues(self, planted, clean, labeled) -> None:
        weak = clean(labeled.disc(), confidence=0.1, mask_quality=0.2)
        accepted = clean(labeled.disc(), review="accepted", confidence=0.1, mask_quality=0.2)
        assert planted(accepted) == []
        assert {position for _, _, position in planted(accepted, weak)} == {1}

    def test_thresholds_can_be_changed(self, planted, clean, labeled) -> None:
        weak = clean(labeled.disc(), confidence=0.45, mask_quality=0.75)
        assert planted(weak, low_confidence=0.4, low_quality=0.7) == []


class TestOverlaps:
    def test_an_overlap_is_reported_for_the_less_confident_object(
        self, planted, clean, labeled
    ) -> None:
        first = clean(labeled.disc(radius=15), confidence=0.7)
        second = clean(labeled.disc(radius=16), "box", confidence=0.8)
        assert planted(first, second) == [("overlap", planted.number, 0)]
        assert planted(second, first) == [("overlap", planted.number, 1)]

    def test_of_equal_objects_the_overlap_is_reported_for_the_later_one(
        self, planted, clean, labeled
    ) -> None:
        twin = clean(labeled.disc())
        assert planted(twin, twin) == [("overlap", planted.number, 1)]

    def test_an_overlap_with_a_human_label_is_reported_for_the_other_object(
        self, planted, clean, labeled
    ) -> None:
        drawn = clean(labeled.disc(), confidence=None, mask_quality=None, origin="human")
        assert planted(clean(labeled.disc()), drawn) == [("overlap", planted.number, 0)]

    def test_neighbors_do_not_overlap(self, planted, clean, labeled) -> None:
        left = clean(labeled.disc(center=(30, 20), radius=15))
        assert planted(left, clean(labeled.disc(center=(30, 45), radius=15))) == []

    def test_a_part_inside_its_whole_is_reported_for_the_part(
        self, planted, clean, labeled
    ) -> None:
        part = clean(labeled.disc(radius=12), confidence=0.99)
        assert planted(part, clean(labeled.disc(radius=17))) == [("inside", planted.number, 0)]

    def test_a_part_of_another_class_is_no_issue(self, planted, clean, labeled) -> None:
        part = clean(labeled.disc(radius=12), "box")
        assert planted(part, clean(labeled.disc(radius=17))) == []


class TestBoxesAndBorders:
    def test_a_mask_that_leaves_its_box_is_an_issue(self, planted, clean, labeled) -> None:
        left, top, right, bottom = clean(labeled.disc()).mask.bbox_xyxy
        flows = clean(labeled.disc(), detected_box_xyxy=(left, top, right - 10, bottom))
        assert ("outside_box", planted.number, 0) in planted(flows)

    def test_background_labeled_as_an_object_is_an_issue(self, planted, clean, labeled) -> None:
        found = planted(clean(~labeled.disc()))
        assert ("along_border", planted.number, 0) in found

    def test_an_object_cut_off_by_the_image_border_is_no_issue(
        self, planted, clean, labeled
    ) -> None:
        assert planted(clean(labeled.disc(center=(30, 2)))) == []

    def test_at_a_threshold_of_zero_any_border_pixel_is_an_issue(
        self, planted, clean, labeled
    ) -> None:
        cut = clean(labeled.disc(center=(30, 2)))
        assert planted(cut, along_border=0) == [("along_border", planted.number, 0)]

    def test_a_mask_cut_off_at_its_box_is_an_issue_if_that_is_rare(
        self, crowd, clean, labeled, issues_of
    ):
        mask = labeled.disc(radius=16)
        mask[:30] = False
        cut = clean(mask)
        cut = replace(cut, detected_box_xyxy=cut.mask.bbox_xyxy)
        many = [*crowd * 4, Labels(SIZE_HW, (cut,))]
        assert issues_of(many) == [("along_box", len(crowd) * 4, 0)]
        assert issues_of([*crowd, many[-1], many[-1], many[-1]]) == []


class TestSizes:
    @pytest.mark.parametrize("radius", [3, 40])
    def test_a_size_unlike_all_others_is_an_outlier(self, planted, clean, labeled, radius) -> None:
        found = planted(clean(labeled.disc(radius=radius)), along_border=1)
        assert found == [("size_outlier", planted.number, 0)]

    def test_classes_with_few_objects_have_no_outliers(self, clean, labeled, issues_of) -> None:
        images = [Labels(SIZE_HW, (clean(labeled.disc(radius=15)),))] * 18
        odd = Labels(SIZE_HW, (clean(labeled.disc(radius=3)),))
        assert issues_of([*images, odd]) == []
        assert issues_of([*images, images[0], odd]) == [("size_outlier", 19, 0)]

    def test_less_than_a_factor_of_two_from_the_median_is_no_outlier(
        self, clean, labeled, issues_of
    ) -> None:
        images = [Labels(SIZE_HW, (clean(labeled.disc(radius=15)),))] * 30
        close = Labels(SIZE_HW, (clean(labeled.disc(radius=18)),))
        assert issues_of([*images, close]) == []

    def test_sizes_are_compared_within_a_class(self, crowd, clean, labeled, issues_of) -> None:
        small = [Labels(SIZE_HW, (clean(labeled.disc(radius=4), "box"),))] * 30
        assert issues_of([*crowd, *small]) == []

    def test_an_empty_mask_is_an_outlier(self, planted, clean, labeled) -> None:
        found = planted(clean(np.zeros(SIZE_HW, bool)))
        assert found == [("size_outlier", planted.number, 0)]


class TestNearDuplicates:
    def rows(self, leader_split: int, split: int):
        duplicates = np.zeros(1, NO_DUPLICATES.dtype)
        duplicates["image"], duplicates["leader"], duplicates["bits"] = 1, 0, 3
        splits = np.array([leader_split, split], np.int32)
        return find_issues(np.zeros(0, OBJECT_DTYPE), duplicates, splits, Thresholds())

    def test_the_issue_concerns_the_later_image_as_a_whole(self) -> None:
        (row,) = self.rows(0, 0)
        assert KIND_NAMES[row["kind"]] == "near_duplicate"
        assert (row["image"], row["position"], row["other"]) == (1, -1, 0)

    def test_across_splits_the_score_is_doubled(self) -> None:
        assert self.rows(0, 1)["score"] == pytest.approx(2 * self.rows(0, 0)["score"])


class TestScores:
    def test_half_the_weight_at_the_threshold_and_all_of_it_at_the_worst_value(self) -> None:
        weight = ISSUE_KINDS["low_confidence"].weight
        scores = score("low_confidence", np.array([0.5, 0.25, 0, -1]), 0.5, worst=0)
        assert scores == pytest.approx([weight / 2, weight * 0.75, weight, weight])

    def test_a_threshold_at_the_worst_value_has_the_full_weight(self) -> None:
        assert score("overlap", np.array([1.0]), 1, worst=1) == [ISSUE_KINDS["overlap"].weight]

    def test_issues_of_a_label_are_combined_as_if_independent(self) -> None:
        issues = np.zeros(4, ISSUE_DTYPE)
        issues["image"], issues["position"] = [3, 1, 3, 1], [0, 2, 0, -1]
        issues["score"] = [0.5, 0.6, 0.4, 0.9]
        keys, scores = label_scores(issues)
        assert keys.tolist() == [[3, 0], [1, 2]]
        assert scores == pytest.approx([0.7, 0.6])

    def test_issues_are_sorted_by_score_and_then_by_position(
        self, crowd, clean, labeled, issues_of
    ):
        low = [clean(labeled.disc(), confidence=value) for value in (0.4, 0.3, 0.4)]
        images = [*crowd, *(Labels(SIZE_HW, (label,)) for label in low)]
        order = [p - len(crowd) for kind, p, _ in issues_of(images) if kind == "low_confidence"]
        assert order == [1, 0, 2]

    def test_every_kind_has_a_number_and_a_weight(self) -> None:
        assert list(KIND_IDS.values()) == list(range(len(ISSUE_KINDS)))
        assert all(0 < kind.weight < 1 for kind in ISSUE_KINDS.values())
