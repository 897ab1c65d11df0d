"""Counts of classes, and histograms."""

from __future__ import annotations

import numpy as np
import pytest

from grounded_sam2.report.options import ReportOptions, Thresholds
from grounded_sam2.report.rules import find_issues
from grounded_sam2.report.scan import scan_run
from grounded_sam2.report.statistics import class_rows, histograms
from grounded_sam2.results import Label


@pytest.fixture
def scan_labeled(labeled):
    def run(**options):
        return scan_run(labeled.store, labeled.run.id, ReportOptions(**options))

    return run


def issues_of(scan):
    return find_issues(scan.objects, scan.duplicates, scan.split_ids, ReportOptions().thresholds)


class TestClasses:
    def test_a_row_has_counts_and_medians(self, labeled, clean, scan_labeled) -> None:
        person = clean(None, box_xyxy=(0, 0, 40, 60), confidence=None, mask_quality=None)
        labeled.add("a.png", clean(labeled.disc(), confidence=0.8), person, seed=1)
        labeled.add("b.png", clean(labeled.disc(), "box", confidence=0.2), seed=2)
        labeled.add("c.png", seed=3)
        scan = scan_labeled()
        ball, box, nothing = class_rows(scan, issues_of(scan))
        assert (ball.name, ball.objects, ball.images, ball.boxes_only) == ("ball", 2, 1, 1)
        assert ball.median_confidence == pytest.approx(0.8)
        assert ball.median_area_fraction == pytest.approx((0.5 + labeled.disc().mean()) / 2)
        assert (ball.flagged, box.flagged) == (0, 1)
        assert (nothing.name, nothing.objects, nothing.median_area_fraction) == ("Katze ü", 0, None)

    def test_objects_and_images_are_counted_per_split(self, labeled, clean, scan_labeled) -> None:
        labeled.add("val/a.png", clean(labeled.disc()), clean(labeled.disc(center=(5, 5))))
        labeled.add("train/a.png", clean(labeled.disc()), seed=1)
        scan = scan_labeled(split={"train": 0.5, "val": 0.5}, split_by="folder")
        ball = class_rows(scan, issues_of(scan))[0]
        assert ball.objects_per_split == (1, 2)
        assert ball.images_per_split == (1, 1)
        assert scan.object_counts.tolist() == [1, 2]  # in the order of the names

    def test_without_images_all_classes_have_no_objects(self, scan_labeled) -> None:
        scan = scan_labeled()
        assert [row.objects for row in class_rows(scan, issues_of(scan))] == [0, 0, 0]


class TestHistograms:
    def scored(self, labeled, value: float | None) -> Label:
        return labeled.label(labeled.disc(), confidence=value, mask_quality=value)

    @pytest.mark.parametrize(
        ("value", "bin_number"), [(0.0, 0), (0.049, 0), (0.05, 1), (0.999, 19), (1.0, 19)]
    )
    def test_a_score_is_counted_in_one_bin(self, labeled, scan_labeled, value, bin_number) -> None:
        labeled.add("a.png", self.scored(labeled, value))
        _, confidence, quality = histograms(scan_labeled(), Thresholds())
        for chart in (confidence, quality):
            assert chart.counts[0][bin_number] == 1
            assert np.sum(chart.counts) == 1

    def test_unknown_values_are_counted_separately(self, labeled, scan_labeled) -> None:
        labeled.add("a.png", self.scored(labeled, None))
        size, confidence, _ = histograms(scan_labeled(), Thresholds())
        assert confidence.unknown == (1, 0, 0)
        assert np.sum(confidence.counts) == 0
        assert size.unknown == (0, 0, 0)

    def test_values_below_a_threshold_are_counted_exactly(self, labeled, scan_labeled) -> None:
        labeled.add("a.png", *(self.scored(labeled, value) for value in (0.41, 0.42, 0.43, None)))
        thresholds = Thresholds(low_confidence=0.42, low_quality=0.9)
        _, confidence, quality = histograms(scan_labeled(), thresholds)
        assert (confidence.limit, confidence.below) == (0.42, (1, 0, 0))
        assert (quality.limit, quality.below) == (0.9, (3, 0, 0))

    def test_sizes_range_from_a_pixel_to_the_whole_image(self, labeled, scan_labeled) -> None:
        labeled.add(
            "a.png",
            labeled.label(labeled.pixel(0, 0)),
            labeled.label(np.ones((60, 80), bool), "box"),
            labeled.label(np.zeros((60, 80), bool)),
        )
        chart = histograms(scan_labeled(), Thresholds())[0]
        (pixel,), (whole,) = (np.flatnonzero(row) for row in chart.counts[:2])
        assert chart.edges[pixel] <= 1 / 4800 < chart.edges[pixel + 1]
        assert whole == len(chart.edges) - 2
        assert chart.unknown == (1, 0, 0)  # an empty mask has no logarithm

    def test_without_images_all_bins_are_empty(self, scan_labeled) -> None:
        assert [np.sum(chart.counts) for chart in histograms(scan_labeled(), Thresholds())] == [
            0,
            0,
            0,
        ]
