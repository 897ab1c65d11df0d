"""Matching of the images and objects of two runs."""

from __future__ import annotations

from typing import Any

import pytest

from grounded_sam2.evaluation.matching import ImageMatching, match_labels


class TestImages:
    def test_images_are_matched_by_content_whatever_their_names(self, runs: Any) -> None:
        first = runs.add({"a.jpg": [], "b.jpg": []}, content={"a.jpg": "x", "b.jpg": "y"})
        second = runs.add({"b.jpg": [], "c.jpg": []}, content={"b.jpg": "x", "c.jpg": "z"})
        matching = ImageMatching(runs.store, first, second)
        assert len(matching) == 1
        assert matching.match_of("a.jpg") == "b.jpg"
        assert matching.match_of("b.jpg") is None
        assert matching.unmatched_in_second() == {"c.jpg"}

    def test_copies_are_matched_one_to_one_equal_names_first(self, runs: Any) -> None:
        same = dict.fromkeys(("a.jpg", "b.jpg", "c.jpg"), "x")
        first = runs.add({"b.jpg": [], "c.jpg": []}, content=same)
        second = runs.add({"a.jpg": [], "b.jpg": [], "c.jpg": []}, content=same)
        matching = ImageMatching(runs.store, first, second)
        assert [matching.match_of(name) for name in ("b.jpg", "c.jpg")] == ["b.jpg", "c.jpg"]
        assert matching.unmatched_in_second() == {"a.jpg"}

    def test_images_that_were_never_files_are_matched_by_id(self, runs: Any) -> None:
        none = dict.fromkeys(("a.jpg", "b.jpg"))
        first = runs.add({"a.jpg": []}, content=none)
        second = runs.add({"a.jpg": [], "b.jpg": []}, content=none)
        matching = ImageMatching(runs.store, first, second)
        assert matching.match_of("a.jpg") == "a.jpg"
        assert matching.unmatched_in_second() == {"b.jpg"}


class TestLabels:
    @pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (0, 1)])
    def test_no_labels_give_no_matches(self, runs: Any, first: int, second: int) -> None:
        assert match_labels([runs.box(0)] * first, [runs.box(0)] * second, 0.5) == []

    def test_overlapping_labels_of_one_class_match(self, runs: Any) -> None:
        first = [runs.box(0), runs.box(20, "dog")]
        second = [runs.box(20, "dog"), runs.box(20), runs.box(2)]
        assert match_labels(first, second, 0.5) == [(0, 2, pytest.approx(8 / 12)), (1, 0, 1.0)]

    def test_labels_below_the_minimum_iou_do_not_match(self, runs: Any) -> None:
        assert match_labels([runs.box(0)], [runs.box(4)], 0.5) == []
        assert match_labels([runs.box(0)], [runs.box(4)], 0.4) == [(0, 0, pytest.approx(6 / 14))]

    def test_touching_labels_never_match(self, runs: Any) -> None:
        assert match_labels([runs.box(0)], [runs.box(10)], 0) == []

    def test_the_sum_of_ious_is_maximized(self, runs: Any) -> None:
        first, second = [runs.box(0), runs.box(2)], [runs.box(1), runs.box(3)]
        assert [match[:2] for match in match_labels(first, second, 0.5)] == [(0, 0), (1, 1)]
        first, second = [runs.box(0), runs.box(3)], [runs.box(2), runs.box(5)]
        assert [match[:2] for match in match_labels(first, second, 0.4)] == [(0, 0), (1, 1)]

    def test_masks_are_compared_if_both_have_one_and_boxes_otherwise(self, runs: Any) -> None:
        half = runs.masked(0, width=5)
        assert match_labels([half], [runs.masked(0)], 0.1)[0].iou == 0.5
        assert match_labels([half], [runs.box(0)], 0.1)[0].iou == 1
        both = match_labels([half, runs.box(15)], [runs.box(0), runs.masked(15)], 0.1)
        assert both == [(0, 0, 1), (1, 1, 1)]
