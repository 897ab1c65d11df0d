"""What commands print: detections, summaries, runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from grounded_sam2.errors import printable
from grounded_sam2.geometry.rle import encode

if TYPE_CHECKING:
    import supervision as sv

    from grounded_sam2.exporters import ExportSummary
    from grounded_sam2.report import ReportSummary

__all__ = [
    "detections_json",
    "one_line",
    "print_detections",
    "print_export",
    "print_report",
    "say",
]


def print_detections(detections: sv.Detections) -> None:
    """A row for each object."""
    table = Table("class", "caption", "confidence", "mask quality", "box (x1 y1 x2 y2)")
    table.columns[-1].no_wrap = True  # words may break, numbers may not
    for found in _objects(detections):
        table.add_row(
            escape(found["class"]),
            escape(found["caption"]),
            _score(found["confidence"]),
            _score(found["mask_quality"]),
            " ".join(f"{edge:.1f}" for edge in found["box_xyxy"]),
        )
    if len(detections):
        Console().print(table)
    else:
        say("nothing found")


def detections_json(detections: sv.Detections) -> str:
    """The objects as JSON; masks as COCO run lengths."""
    objects = list(_objects(detections))
    if detections.mask is not None:
        for found, mask in zip(objects, encode(detections.mask), strict=True):
            found["segmentation"] = mask.to_coco()
    return json.dumps({"objects": objects}, ensure_ascii=False, indent=2)


def print_export(summary: ExportSummary) -> None:
    """Where a dataset is, what it holds and what it lacks."""
    splits = ", ".join(f"{name} {count}" for name, count in summary.images.items())
    say(
        f"{summary.format}: {summary.folder} "
        f"({splits} images; {sum(summary.objects.values())} objects)"
    )
    for skipped in summary.skipped:
        say(f"  left out: {skipped.count} images {skipped.reason} (such as {skipped.example})")
    for note in summary.notes:
        say(f"  note: {note}")


def print_report(summary: ReportSummary) -> None:
    """Where a report is, and what it found."""
    from grounded_sam2.report import ISSUE_KINDS

    table = Table("issue", "count")
    table.columns[1].justify = "right"
    for name, count in summary.issues.items():
        if count:
            table.add_row(ISSUE_KINDS[name].title, str(count))
    if table.row_count:
        Console().print(table)
    say(f"{summary.flagged} of {summary.objects} labels are worth a look")
    if summary.unreadable:
        say(f"{summary.unreadable} of {summary.images} images cannot be shown; the page says why")
    say(
        f"report: {summary.page} ({summary.shown_images} of {summary.images} images, "
        f"{summary.page_bytes / 1e6:.1f} MB)"
    )
    if summary.json is not None:
        say(f"doubts: {summary.json}")


def _objects(detections: sv.Detections) -> list[dict[str, Any]]:
    """The objects as plain values, without their masks."""
    confidence = detections.confidence
    return [
        {
            "class": str(detections.data["class_name"][i]),
            "caption": str(detections.data["caption"][i]),
            "confidence": None if confidence is None else _rounded(confidence[i]),
            "mask_quality": _rounded(detections.data["mask_quality"][i]),
            "box_xyxy": [round(float(edge), 2) for edge in detections.xyxy[i]],
        }
        for i in range(len(detections))
    ]


def _rounded(score: float) -> float | None:
    return None if np.isnan(score) else round(float(score), 4)


def _score(score: float | None) -> str:
    return "–" if score is None else f"{score:.3f}"


def say(text: str) -> None:
    """Print a line, whatever the names of files in it would do to a terminal."""
    # Not through rich: it would break long paths, and take square brackets in them for markup.
    print(one_line(text))


def one_line(text: str) -> str:
    """Text with its control characters written as escapes: names of files may hold any."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in printable(text))
