"""Contents of the page: the variables of its template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.report.issues import ISSUE_KINDS, IssueKind, Issues, label_scores
from grounded_sam2.report.messages import describe_issue, describe_rule
from grounded_sam2.report.options import Thresholds
from grounded_sam2.report.scan import Scan
from grounded_sam2.report.selection import Selection
from grounded_sam2.report.statistics import (
    Histogram,
    class_rows,
    flagged_objects,
    histograms,
    video_rows,
)
from grounded_sam2.report.views import LabelView
from grounded_sam2.store import ReviewCounts, Run

__all__ = ["RunOverview", "page_contents"]

_MAX_VIDEOS = 200
"""Maximum number of videos that the page lists."""


@dataclass(frozen=True, slots=True)
class RunOverview:
    """The run as a whole."""

    name: str
    """Name of the folder of the label store."""
    run: Run
    run_count: int
    pending: int
    review: ReviewCounts
    failures: tuple[tuple[str, str], ...]
    """Names of failed images and videos with the reasons; the first ones."""
    failed_count: int


def page_contents(
    overview: RunOverview,
    scan: Scan,
    issues: Issues,
    selection: Selection,
    labels: Sequence[LabelView],
    thresholds: Thresholds,
) -> dict[str, Any]:
    """Return all variables of the template except the image cards.

    Args:
        overview: the run.
        scan: its measurements.
        issues: all issues, the worst first.
        selection: the labels and images on the page.
        labels: the labels on the page, in order.
        thresholds: the thresholds, for display.
    """
    return {
        "overview": overview,
        "scan": scan,
        **_counts(scan, issues),
        "kinds": _kind_rows(issues, labels, thresholds),
        "titles": {name: kind.title for name, kind in ISSUE_KINDS.items()},
        "thresholds": asdict(thresholds),
        "labels": labels,
        "label_classes": sorted({view.class_id for view in labels}),
        "rows": class_rows(scan, issues),
        "videos": video_rows(scan, issues)[:_MAX_VIDEOS],
        "shown_images": len(selection.images),
        "groups": [_group_members(group, scan) for group in selection.groups],
        "group_count": len(np.unique(scan.duplicates["leader"])),
        "data": {
            "classes": scan.classes,
            "splits": scan.splits,
            "charts": {chart.name: _chart_data(chart) for chart in histograms(scan, thresholds)},
        },
    }


@dataclass(frozen=True, slots=True)
class _KindRow:
    name: str
    kind: IssueKind
    rule: str
    count: int
    shown: int


def _kind_rows(
    issues: Issues, labels: Sequence[LabelView], thresholds: Thresholds
) -> list[_KindRow]:
    counts = np.bincount(issues["kind"], minlength=len(ISSUE_KINDS)).tolist()
    return [
        _KindRow(
            name=name,
            kind=kind,
            rule=describe_rule(name, thresholds),
            count=count,
            shown=sum(any(name == other for other, _ in view.reasons) for view in labels),
        )
        for (name, kind), count in zip(ISSUE_KINDS.items(), counts, strict=True)
    ]


def _counts(scan: Scan, issues: Issues) -> dict[str, Any]:
    """Single numbers and lists of numbers per split."""
    objects, splits = scan.objects, len(scan.splits)
    background = scan.object_counts == 0
    of_class = np.bincount(objects["class_id"], minlength=len(scan.classes))

    def per_split(split_ids: NDArray[np.int32]) -> list[int]:
        counts: list[int] = np.bincount(split_ids, minlength=splits).tolist()
        return counts

    tracks = scan.tracks()
    return {
        "label_count": len(label_scores(issues)[0]),
        "tracks": len(np.unique(tracks[tracks >= 0])),
        "flagged_tracks": len(np.unique(tracks[(tracks >= 0) & flagged_objects(scan, issues)])),
        "frames": int((scan.video_ids >= 0).sum()),
        "background": int(background.sum()),
        "boxes_only": int((~objects["has_mask"]).sum()),
        "by_people": int(objects["by_person"].sum()),
        "known_boxes": int((~np.isnan(objects["outside_box"])).sum()),
        "per_image": f"{len(objects) / max(len(scan.item_ids), 1):.1f}",
        "empty_classes": int((of_class == 0).sum()),
        "most_objects": int(of_class.max(initial=1)),
        "objects_per_split": per_split(scan.split_ids[objects["image"]]),
        "images_per_split": per_split(scan.split_ids),
        "background_per_split": per_split(scan.split_ids[background]),
    }


@dataclass(frozen=True, slots=True)
class _GroupMember:
    """One image of a group of near-duplicates."""

    image: int
    item_id: str
    note: str
    leak: bool
    """Whether the image that it duplicates is in another split."""


def _group_members(group: Issues, scan: Scan) -> list[_GroupMember]:
    """The images of a group of near-duplicates, the leader first."""
    leader = int(group["other"][0])
    split = scan.splits[scan.split_ids[leader]]
    note = f"in {split}" if len(scan.splits) > 1 else "the first"
    members = [_GroupMember(leader, scan.item_ids[leader], note, leak=False)]
    for issue in group:
        number = int(issue["image"])
        leak = bool(scan.split_ids[number] != scan.split_ids[leader])
        note = describe_issue(issue, scan, brief=True)
        members.append(_GroupMember(number, scan.item_ids[number], note, leak))
    return members


def _chart_data(chart: Histogram) -> dict[str, Any]:
    """A histogram in the form that the script draws."""
    edges, counts = chart.edges, chart.counts
    ticks = [(fraction, f"{fraction:g}") for fraction in (0, 0.25, 0.5, 0.75, 1)]
    if decade := chart.bins_per_decade:
        used = np.flatnonzero(np.sum(counts, axis=0)) if counts else np.zeros(0, np.intp)
        begin = int(used[0]) // decade * decade if used.size else 0
        edges, counts = edges[begin:], tuple(row[begin:] for row in counts)
        # A phone has room for five labels: each decade or every other one, up to the whole image.
        step = decade if len(edges) <= 4 * decade + 1 else 2 * decade
        ticks = [(edge, f"{100 * edge:g} %") for edge in edges[::-step]]
    return {
        "title": chart.name,
        "edges": edges,
        "counts": counts,
        "unknown": chart.unknown,
        "logarithmic": bool(decade),
        "ticks": ticks,
        "limit": chart.limit,
        "below": chart.below,
    }
