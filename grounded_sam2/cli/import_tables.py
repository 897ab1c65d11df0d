"""What commands print of imports, and of two runs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from grounded_sam2.cli.run_tables import print_counts
from grounded_sam2.cli.tables import say
from grounded_sam2.store import LabelStore

if TYPE_CHECKING:
    from grounded_sam2.evaluation import RunComparison
    from grounded_sam2.importers import ImportSummary

__all__ = ["print_comparison", "print_import"]

_FEW = 5


def print_import(store: LabelStore, summary: ImportSummary) -> None:
    """What an import brought, and what it could not read."""
    print_counts(store, summary.counts)
    for problem in summary.problems:
        say(f"{problem.count} × {problem.reason}")
        for example in problem.examples[:_FEW]:
            say(f"    {example}")
        if problem.count > _FEW:
            say(f"    … and {problem.count - _FEW} more")
    say(f"{summary.format} is run {summary.run_id} of {store.path}")


def print_comparison(compared: RunComparison) -> None:
    """A row for each class."""
    table = Table("class", "matched", "missed", "extra", "mean IoU")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in (*compared.classes, compared.total):
        if row is compared.total:
            table.add_section()
        table.add_row(
            escape(row.class_name),
            str(row.matched),
            str(row.missed),
            str(row.extra),
            "–" if row.mean_iou is None else f"{row.mean_iou:.3f}",
        )
    Console().print(table)
    say(
        f"run {compared.second} against run {compared.first}, {compared.images} images that both "
        "have"
    )
    for run_id, only in (
        (compared.first, compared.images_only_first),
        (compared.second, compared.images_only_second),
    ):
        if only:
            say(f"{only} images only in run {run_id}, not compared")
