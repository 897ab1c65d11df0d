"""Selection of the labels and images of a page that cannot show all."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from grounded_sam2.report.issues import ISSUE_DTYPE, KIND_IDS, KIND_NAMES
from grounded_sam2.report.measures import OBJECT_DTYPE
from grounded_sam2.report.options import ReportOptions
from grounded_sam2.report.scan import Scan
from grounded_sam2.report.selection import select


def issues_of(*rows: tuple[str, int, int, int, float]) -> np.ndarray:
    """Issues from kind, image, position, other and score, sorted by score."""
    issues = np.zeros(len(rows), ISSUE_DTYPE)
    for row, (kind, image, position, other, score) in zip(issues, rows, strict=True):
        row["kind"], row["score"] = KIND_IDS[kind], score
        row["image"], row["position"], row["other"] = image, position, other
    return issues[np.argsort(-issues["score"], kind="stable")]


@pytest.fixture
def scan() -> Scan:
    """A thousand images of four objects each, whose sample begins with the last image."""
    count = 1000
    objects = np.zeros(4 * count, OBJECT_DTYPE)
    objects["image"], objects["position"] = np.divmod(np.arange(4 * count), 4)
    objects["track_id"] = -1
    return Scan(
        classes=("a",),
        splits=("train",),
        item_ids=tuple(map(str, range(count))),
        videos=(),
        video_ids=np.full(count, -1, np.int32),
        frame_indices=np.full(count, -1),
        times=np.full(count, np.nan),
        split_ids=np.zeros(count, np.int32),
        object_counts=np.full(count, 4),
        first_objects=4 * np.arange(count),
        content_ids=np.zeros(count, np.uint64),
        sample_keys=np.arange(count, 0, -1).astype(np.uint64),
        objects=objects,
        duplicates=np.zeros(0, np.void),
        unreadable=Counter(),
    )


def test_labels_are_sorted_by_the_combined_score_of_their_issues(scan) -> None:
    issues = issues_of(
        ("low_quality", 1, 0, -1, 0.6), ("low_confidence", 2, 3, -1, 0.5), ("overlap", 2, 3, 0, 0.5)
    )
    first, second = select(scan, issues, ReportOptions()).labels
    assert (first.image, first.position) == (2, 3)
    assert first.score == pytest.approx(0.75)
    assert [KIND_NAMES[kind] for kind in first.issues["kind"]] == ["low_confidence", "overlap"]
    assert (second.image, second.position) == (1, 0)


def test_every_kind_of_issue_is_represented(scan) -> None:
    many = [("overlap", number, 0, 1, 0.9 - number / 10_000) for number in range(500)]
    issues = issues_of(*many, ("along_box", 700, 0, -1, 0.2), ("size_outlier", 800, 0, -1, 0.3))
    labels = select(scan, issues, ReportOptions(labels=20)).labels
    assert {label.image for label in labels} == {*range(18), 700, 800}
    scores = [label.score for label in labels]
    assert scores == sorted(scores, reverse=True)


def test_images_of_labels_come_before_near_duplicates_before_the_sample(scan) -> None:
    issues = issues_of(("overlap", 5, 0, 1, 0.9), ("near_duplicate", 9, -1, 4, 0.8))
    for limit, selected in ((1, {5}), (3, {5, 4, 9}), (5, {5, 4, 9, 999, 998})):
        assert select(scan, issues, ReportOptions(images=limit)).images == selected


def test_the_size_of_a_group_is_limited(scan) -> None:
    issues = issues_of(*(("near_duplicate", number, -1, 0, 0.4) for number in range(1, 900)))
    selection = select(scan, issues, ReportOptions(images=1000))
    ((group),) = selection.groups
    assert group["image"].tolist() == [1, 2, 3, 4, 5]


def test_the_sample_is_spread_over_the_seconds_of_videos(scan) -> None:
    """The last 600 images are two videos of ten seconds at 30 frames per second."""
    frames = np.arange(600)
    scan.video_ids[400:] = frames // 300
    scan.times[400:] = frames % 300 / 30
    selected = select(scan, issues_of(), ReportOptions(images=420)).images
    assert set(range(400)) <= selected
    drawn = [(scan.video_ids[n], int(scan.times[n])) for n in selected if n >= 400]
    assert sorted(drawn) == [(video, second) for video in (0, 1) for second in range(10)]
    assert len(select(scan, issues_of(), ReportOptions(images=500)).images) == 500


def test_without_issues_only_a_sample_is_selected(scan) -> None:
    selection = select(scan, issues_of(), ReportOptions(images=2))
    assert selection.labels == ()
    assert selection.groups == ()
    assert selection.images == {999, 998}
