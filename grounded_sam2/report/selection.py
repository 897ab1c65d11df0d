"""Selection of the labels and images that the page shows.

The numbers of a report are of all images; only the labels and images to show are selected. The
worst labels of each kind of issue come first, so that no kind displaces another, then the worst of
all. Issues in one frame of a video mostly occur in the next frames too: of a track, only the worst
label of each kind is selected, and the sample takes one frame of each second before it takes
another.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.report.issues import Issues, label_scores
from grounded_sam2.report.options import ReportOptions
from grounded_sam2.report.scan import Scan

__all__ = ["SelectedLabel", "Selection", "select"]

_T = TypeVar("_T")

_LABELS_PER_KIND = 12
"""Labels of each kind of issue that are selected whatever their score: a row or two of the page."""
_MAX_GROUPS = 24
"""Maximum number of groups of near-duplicates."""
_MAX_GROUP_SIZE = 6
"""Maximum number of images of a group."""


@dataclass(frozen=True, slots=True, eq=False)
class SelectedLabel:
    """A label to review."""

    image: int
    position: int
    score: float
    issues: Issues
    """All issues of the label, in descending order of their scores."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The labels and images that the page shows."""

    labels: tuple[SelectedLabel, ...]
    """In descending order of their scores."""
    groups: tuple[Issues, ...]
    """Near-duplicates by their leader, in descending order of their scores."""
    images: frozenset[int]
    """Numbers of the embedded images."""


def select(scan: Scan, issues: Issues, options: ReportOptions) -> Selection:
    """Select the labels and images to show.

    Args:
        scan: the scanned run.
        issues: the issues from `find_issues`, the worst first.
        options: how many labels and images to show.
    """
    labels = _select_labels(issues, scan, options.labels)
    groups = _select_groups(issues)
    candidates = chain(
        (label.image for label in labels),
        chain.from_iterable((int(group["other"][0]), *group["image"].tolist()) for group in groups),
        _sample(scan),
    )
    return Selection(labels, groups, _first(candidates, options.images))


def _select_labels(issues: Issues, scan: Scan, limit: int) -> tuple[SelectedLabel, ...]:
    keys, scores = label_scores(issues)
    score_of = {
        (image, position): score
        for (image, position), score in zip(keys.tolist(), scores.tolist(), strict=True)
    }
    of_labels = issues[issues["position"] >= 0]
    candidates = of_labels[_worst_of_track(of_labels, scan)]
    worst_of_each = [
        candidates[candidates["kind"] == kind][["image", "position"]][:_LABELS_PER_KIND].tolist()
        for kind in np.unique(candidates["kind"])
    ]
    interleaved = (key for keys in zip_longest(*worst_of_each) for key in keys if key is not None)
    allowed = set(candidates[["image", "position"]].tolist())
    selected = _first(chain(interleaved, (key for key in score_of if key in allowed)), limit)
    rows: dict[tuple[int, int], list[int]] = {key: [] for key in selected}
    for row, key in enumerate(of_labels[["image", "position"]].tolist()):
        if key in rows:
            rows[key].append(row)
    order = sorted(selected, key=lambda key: (-score_of[key], key))
    return tuple(
        SelectedLabel(key[0], key[1], score_of[key], of_labels[rows[key]]) for key in order
    )


def _worst_of_track(of_labels: Issues, scan: Scan) -> NDArray[np.bool_]:
    """``(n,)`` whether an issue is the worst of its kind and track, or its label has no track."""
    tracks = scan.tracks()[scan.first_objects[of_labels["image"]] + of_labels["position"]]
    worst: NDArray[np.bool_] = tracks < 0
    kinds_of_tracks = np.stack((tracks, of_labels["kind"].astype(np.int64)), axis=1)
    # Issues are sorted, the worst first.
    _, first = np.unique(kinds_of_tracks, axis=0, return_index=True)
    worst[first] = True
    return worst


def _sample(scan: Scan) -> list[int]:
    """All images in sampling order: first one frame of each second of a video."""
    seconds = np.floor(np.nan_to_num(scan.times)).astype(np.int64)
    order = np.lexsort((scan.sample_keys, seconds, scan.video_ids))
    index = np.arange(len(order))
    begins = np.ones(len(order), np.bool_)
    begins[1:] = (np.diff(scan.video_ids[order]) != 0) | (np.diff(seconds[order]) != 0)
    begins |= scan.video_ids[order] < 0
    rounds = np.empty(len(order), np.int64)  # how many frames of the same second come before
    rounds[order] = index - np.maximum.accumulate(np.where(begins, index, 0))
    drawn: list[int] = np.lexsort((scan.sample_keys, rounds)).tolist()
    return drawn


def _select_groups(issues: Issues) -> tuple[Issues, ...]:
    duplicates = issues[issues["position"] < 0]
    leaders = dict.fromkeys(duplicates["other"].tolist())  # ordered by their worst pair
    return tuple(
        duplicates[duplicates["other"] == leader][: _MAX_GROUP_SIZE - 1]
        for leader in list(leaders)[:_MAX_GROUPS]
    )


def _first(values: Iterable[_T], limit: int) -> frozenset[_T]:
    """The first distinct values, at most `limit`."""
    distinct: dict[_T, None] = {}
    for value in values:
        if len(distinct) >= limit:
            break
        distinct[value] = None
    return frozenset(distinct)
