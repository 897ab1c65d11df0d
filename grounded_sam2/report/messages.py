"""Texts of the report: descriptions of issues and rules, numbers, and JSON records of issues."""

from __future__ import annotations

from typing import Any

import numpy as np

from grounded_sam2.geometry.image_hash import HASH_BITS
from grounded_sam2.report.issues import ISSUE_KINDS, KIND_NAMES
from grounded_sam2.report.options import Thresholds
from grounded_sam2.report.scan import Scan

__all__ = ["describe_issue", "describe_rule", "format_percent", "format_time", "issue_record"]


def format_percent(fraction: float) -> str:
    """Format a fraction with two significant digits: ``42 %``, ``3.0 %``, ``0.0042 %``."""
    value = 100 * fraction
    if value >= 9.95 or value == 0:
        return f"{value:.0f} %"
    return f"{value:#.2g} %" if value >= 1e-4 else "< 0.0001 %"


def format_time(seconds: float) -> str:
    """Format a time in a video: ``0:04.1``, ``1:02:03.4``; empty for NaN."""
    if np.isnan(seconds):
        return ""
    minutes, tenths = divmod(round(10 * seconds), 600)
    hours, minutes = divmod(minutes, 60)
    prefix = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{prefix}:{tenths // 10:02}.{tenths % 10}"


def describe_rule(kind: str, thresholds: Thresholds) -> str:
    """Return the condition of an issue of this kind."""
    inside, outside_box, along_border, along_box = (
        format_percent(fraction)
        for fraction in (
            thresholds.overlap_inside,
            thresholds.outside_box,
            thresholds.along_border,
            thresholds.along_box,
        )
    )
    return {
        "overlap": f"IoU with another object of {thresholds.overlap_iou:g} or more; reported for "
        "the less confident one",
        "inside": f"{inside} or more lies in a larger object of its class",
        "outside_box": f"{outside_box} or more of the mask lies outside the detector's box",
        "low_confidence": f"confidence below {thresholds.low_confidence:g}",
        "low_quality": f"mask quality below {thresholds.low_quality:g}",
        "disagreement": f"confidence and mask quality {thresholds.disagreement:g} or more apart",
        "along_border": f"covers {along_border} or more of the image border",
        "size_outlier": "robust z-score of the size within its class of "
        f"{thresholds.size_outlier:g} or more, and at least twice or at most half the median; "
        f"classes of {thresholds.enough} objects or more",
        "along_box": f"runs along {along_box} or more of a side of the detector's box, as at most "
        "1 in 100 of its class do",
        "near_duplicate": f"{thresholds.duplicate_bits} or fewer of {HASH_BITS} bits of their "
        "cosine hashes differ, and their colors by at most "
        f"{thresholds.duplicate_difference:g} of their contrast; of a video, its first frame with "
        "objects is compared",
    }[kind]


def describe_issue(issue: np.void, scan: Scan, *, brief: bool = False) -> str:
    """Return the details of an issue, to follow the title of its kind.

    Args:
        issue: a row of `Issues`.
        scan: the scanned run.
        brief: omit the name of the other image, where it is shown next to it.
    """
    kind, value, other = KIND_NAMES[issue["kind"]], float(issue["value"]), int(issue["other"])
    if kind == "near_duplicate":
        return _describe_duplicate(issue, scan, brief=brief)
    row = scan.object_row(int(issue["image"]), int(issue["position"]))
    if kind in ("low_confidence", "low_quality"):
        return f"{value:.2f}"
    if kind == "disagreement":
        return f"{row['confidence']:.2f} and {row['quality']:.2f}"
    if kind in ("overlap", "inside"):
        class_id = scan.object_row(int(issue["image"]), other)["class_id"]
        other_class = f"“{scan.classes[class_id]}”"
        if kind == "overlap":
            return f"{other_class}, IoU {value:.2f}"
        return f"{format_percent(value)} of it in {other_class}"
    if kind == "outside_box":
        return f"{format_percent(value)} of it outside"
    if kind == "along_box":
        return f"along {format_percent(value)} of a side"
    if kind == "along_border":
        return f"covers {format_percent(value)} of it"
    return f"{'larger' if value > 0 else 'smaller'} than others of its class, z {abs(value):.1f}"


def issue_record(issue: np.void, scan: Scan) -> dict[str, Any]:
    """Return an issue as a JSON record.

    ``object`` and ``other_object`` are indices into the image's objects in the store; ``None`` for
    an issue of the whole image. ``track`` and ``time``, in seconds, are those of a video frame;
    otherwise ``None``.
    """
    image, position, other = (int(issue[name]) for name in ("image", "position", "other"))
    kind = KIND_NAMES[issue["kind"]]
    of_label = position >= 0
    row = scan.object_row(image, position) if of_label else None
    time = float(scan.times[image])
    return {
        "kind": kind,
        "score": round(float(issue["score"]), 4),
        "item": scan.item_ids[image],
        "object": position if of_label else None,
        "class": None if row is None else scan.classes[row["class_id"]],
        "track": None if row is None or row["track_id"] < 0 else int(row["track_id"]),
        "time": None if np.isnan(time) else round(time, 3),
        "value": round(float(issue["value"]), 4),
        "threshold": float(issue["threshold"]),
        "other_item": None if of_label else scan.item_ids[other],
        "other_object": other if of_label and other >= 0 else None,
        "reason": f"{ISSUE_KINDS[kind].title}: {describe_issue(issue, scan)}",
    }


def _describe_duplicate(issue: np.void, scan: Scan, *, brief: bool) -> str:
    image, leader = int(issue["image"]), int(issue["other"])
    split, leader_split = (scan.splits[scan.split_ids[number]] for number in (image, leader))
    if scan.content_ids[image] and scan.content_ids[image] == scan.content_ids[leader]:
        text = "the same file" if brief else f"the same file as {scan.item_ids[leader]}"
    else:
        bits = f"{int(issue['value'])} of {HASH_BITS} bits differ"
        text = bits if brief else f"{bits} from {scan.item_ids[leader]}"
    return text if split == leader_split else f"{text}; in {split}, the other in {leader_split}"
