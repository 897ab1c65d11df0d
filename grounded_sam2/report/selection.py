"""Which labels and images a page shows, of all that there are.

All numbers of a report are of all images; only what is looked at has to be chosen. The worst of
each kind of issue come first, so that no kind crowds out another, then the worst of all. What is
flagged in one frame of a video mostly is in the next ones too: of a track, only the worst label of
each kind is shown, and of the frames of one second, one before there is a second one.
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

_EACH_KIND = 12
"""Labels of each kind of issue that are shown whatever their score: a row or two of the page."""
_GROUPS = 24
"""Groups of images that look alike, at most."""
_GROUP_SIZE = 6
"""Pictures of one such group, at most."""


@dataclass(frozen=True, slots=True, eq=False)
class SelectedLabel:
    """A label that is worth a look."""

    image: int
    position: int
    score: float
    issues: Issues
    """All about this label, the one of the highest score first."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a page shows."""

    labels: tuple[SelectedLabel, ...]
    """Those most worth a look first."""
    groups: tuple[Issues, ...]
    """Pictures that look alike, by their leader; those of the highest score first."""
    images: frozenset[int]
    """Numbers of the images that are embedded."""


def select(scan: Scan, issues: Issues, options: ReportOptions) -> Selection:
    """Choose what to show.

    Args:
        scan: the run.
        issues: as `find_issues` gives them, the worst first.
        options: how much to show.
    """
    labels = _labels(issues, scan, options.labels)
    groups = _groups(issues)
    wanted = chain(
        (label.image for label in labels),
        chain.from_iterable((int(g["other"][0]), *g["image"].tolist()) for g in groups),
        _sample(scan),
    )
    return Selection(labels, groups, _first(wanted, options.images))


def _labels(issues: Issues, scan: Scan, most: int) -> tuple[SelectedLabel, ...]:
    keys, scores = label_scores(issues)
    score_of = {(p, o): s for (p, o), s in zip(keys.tolist(), scores.tolist(), strict=True)}
    of_labels = issues[issues["position"] >= 0]
    leading = of_labels[_leading(of_labels, scan)]
    worst_of_each = [
        leading[leading["kind"] == kind][["image", "position"]][:_EACH_KIND].tolist()
        for kind in np.unique(leading["kind"])
    ]
    in_turn = (key for keys in zip_longest(*worst_of_each) for key in keys if key is not None)
    may_be_shown = set(leading[["image", "position"]].tolist())
    chosen = _first(chain(in_turn, (key for key in score_of if key in may_be_shown)), most)
    rows: dict[tuple[int, int], list[int]] = {key: [] for key in chosen}
    for row, key in enumerate(of_labels[["image", "position"]].tolist()):
        if key in rows:
            rows[key].append(row)
    order = sorted(chosen, key=lambda key: (-score_of[key], key))
    return tuple(
        SelectedLabel(key[0], key[1], score_of[key], of_labels[rows[key]]) for key in order
    )


def _leading(of_labels: Issues, scan: Scan) -> NDArray[np.bool_]:
    """``(n,)`` whether a issue is the worst of its kind about its track; or about no track."""
    tracks = scan.tracks()[scan.first_objects[of_labels["image"]] + of_labels["position"]]
    leading: NDArray[np.bool_] = tracks < 0
    kinds_of_tracks = np.stack((tracks, of_labels["kind"].astype(np.int64)), axis=1)
    _, first = np.unique(kinds_of_tracks, axis=0, return_index=True)  # the worst come first
    leading[first] = True
    return leading


def _sample(scan: Scan) -> list[int]:
    """All images in the order that they are drawn in: first one of each second of a video."""
    seconds = np.floor(np.nan_to_num(scan.times)).astype(np.int64)
    order = np.lexsort((scan.sample_keys, seconds, scan.video_ids))
    place = np.arange(len(order))
    begins = np.ones(len(order), np.bool_)
    begins[1:] = (np.diff(scan.video_ids[order]) != 0) | (np.diff(seconds[order]) != 0)
    begins |= scan.video_ids[order] < 0
    turns = np.empty(len(order), np.int64)
    turns[order] = place - np.maximum.accumulate(np.where(begins, place, 0))
    drawn: list[int] = np.lexsort((scan.sample_keys, turns)).tolist()
    return drawn


def _groups(issues: Issues) -> tuple[Issues, ...]:
    alike = issues[issues["position"] < 0]
    leaders = dict.fromkeys(alike["other"].tolist())  # in the order of their worst pair
    return tuple(
        alike[alike["other"] == leader][: _GROUP_SIZE - 1] for leader in list(leaders)[:_GROUPS]
    )


def _first(values: Iterable[_T], most: int) -> frozenset[_T]:
    """The first so many different values."""
    chosen: dict[_T, None] = {}
    for value in values:
        if len(chosen) >= most:
            break
        chosen[value] = None
    return frozenset(chosen)
