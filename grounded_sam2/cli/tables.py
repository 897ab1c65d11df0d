"""Printed output: detections, exports, imports, reports, comparisons of runs."""

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
    from pathlib import Path

    import supervision as sv

    from grounded_sam2.evaluation import RunComparison
    from grounded_sam2.exporters import ExportSummary
    from grounded_sam2.importers import ImportSummary
    from grounded_sam2.report import ReportSummary

__all__ = [
    "count_table",
    "detections_json",
    "print_comparison",
    "print_detections",
    "print_export",
    "print_import",
    "print_line",
    "print_report",
    "terminal_text",
]

_EXAMPLES = 5


def count_table(*columns: str, title: str | None = None) -> Table:
    """An empty table whose columns after the first hold right-aligned numbers."""
    table = Table(*columns, title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def print_detections(detections: sv.Detections) -> None:
    """Print one row per object, or "nothing found"."""
    if not len(detections):
        print_line("nothing found")
        return
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
    Console().print(table)


def detections_json(detections: sv.Detections) -> str:
    """The objects as JSON; masks as COCO run lengths."""
    objects = list(_objects(detections))
    if detections.mask is not None:
        for found, mask in zip(objects, encode(detections.mask), strict=True):
            found["segmentation"] = mask.to_coco()
    return json.dumps({"objects": objects}, ensure_ascii=False, indent=2)


def print_export(summary: ExportSummary) -> None:
    """Print a dataset's folder, its counts, and what was left out."""
    splits = ", ".join(f"{name} {count}" for name, count in summary.images.items())
    print_line(
        f"{summary.format}: {summary.folder} "
        f"({splits} images; {sum(summary.objects.values())} objects)"
    )
    for skipped in summary.skipped:
        print_line(
            f"  left out: {skipped.count} images {skipped.reason} (such as {skipped.example})"
        )
    for note in summary.notes:
        print_line(f"  note: {note}")


def print_import(summary: ImportSummary, store: Path) -> None:
    """Print the annotations that could not be read, with examples, and the new run's id."""
    for problem in summary.problems:
        print_line(f"{problem.count} × {problem.reason}")
        for example in problem.examples[:_EXAMPLES]:
            print_line(f"    {example}")
        if problem.count > _EXAMPLES:
            print_line(f"    … and {problem.count - _EXAMPLES} more")
    print_line(f"{summary.format} is run {summary.run_id} of {store}")


def print_report(summary: ReportSummary) -> None:
    """Print the number of labels with each kind of issue, and the report's files."""
    from grounded_sam2.report import ISSUE_KINDS

    table = count_table("issue", "count")
    for name, count in summary.issues.items():
        if count:
            table.add_row(ISSUE_KINDS[name].title, str(count))
    if table.row_count:
        Console().print(table)
    print_line(f"{summary.flagged} of {summary.objects} labels to review")
    review = summary.review
    print_line(f"{review.accepted} reviewed, {review.unreviewed} unreviewed")
    if summary.unreadable:
        print_line(
            f"{summary.unreadable} of {summary.images} images cannot be shown; the page gives the "
            "reasons"
        )
    print_line(
        f"report: {summary.page} ({summary.shown_images} of {summary.images} images, "
        f"{summary.page_bytes / 1e6:.1f} MB)"
    )
    if summary.json is not None:
        print_line(f"issues: {summary.json}")


def print_comparison(compared: RunComparison) -> None:
    """Print one row per class, a row of totals, and the images that only one run has."""
    table = count_table("class", "matched", "missed", "extra", "mean IoU")
    for row in (*compared.classes, compared.total):
        if row is compared.total:
            table.add_section()
        table.add_row(
            escape(row.class_name),
            str(row.matched),
            str(row.missed),
            str(row.extra),
            _score(row.mean_iou),
        )
    Console().print(table)
    print_line(
        f"run {compared.second} against run {compared.first}, {compared.images} images that both "
        "have"
    )
    for run_id, only in (
        (compared.first, compared.images_only_first),
        (compared.second, compared.images_only_second),
    ):
        if only:
            print_line(f"{only} images only in run {run_id}, not compared")


def print_line(text: str) -> None:
    """Print one line, with control characters escaped."""
    # Not through rich, which would break long paths and read square brackets in them as markup.
    print(terminal_text(text))


def terminal_text(text: str) -> str:
    """The text with its control characters escaped: file names may hold any."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in printable(text))


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
            "uid": str(detections.data["uid"][i]),
        }
        for i in range(len(detections))
    ]


def _rounded(score: float) -> float | None:
    return None if np.isnan(score) else round(float(score), 4)


def _score(score: float | None) -> str:
    return "–" if score is None else f"{score:.3f}"
