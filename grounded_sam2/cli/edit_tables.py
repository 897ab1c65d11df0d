"""Printed output of people's edits: objects of an image, its history, counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from grounded_sam2.cli.tables import print_line, terminal_text

if TYPE_CHECKING:
    from grounded_sam2.store import Edit, LabelStore

__all__ = ["print_edits", "print_history", "print_objects"]


def print_edits(store: LabelStore, run_id: int | None, count: int) -> None:
    """Print how many edits were applied, and how much of the run is reviewed now."""
    review = store.summary(run_id).review
    total = review.accepted + review.unreviewed
    print_line(
        f"{count} {'edit' if count == 1 else 'edits'} applied; "
        f"{review.accepted} of {total} objects reviewed, {review.rejected} rejected"
    )


def print_objects(store: LabelStore, item_id: str, run_id: int | None) -> None:
    """Print the objects of an image or frame, rejected ones last."""
    objects = store.objects(item_id, run_id=run_id, include_rejected=True)
    if not objects:
        print_line(f"{item_id}: no objects")
        return
    table = Table("uid", "class", "review", "confidence", "box (x1 y1 x2 y2)")
    for column in (table.columns[0], *table.columns[2:]):
        column.no_wrap = True
    for label in objects:
        table.add_row(
            label.uid,
            _cell(label.class_name),
            label.review,
            "–" if label.confidence is None else f"{label.confidence:.2f}",
            " ".join(f"{edge:.0f}" for edge in label.box_xyxy),
        )
    Console().print(table)


def print_history(store: LabelStore, item_id: str, run_id: int | None) -> None:
    """Print all edits of an image, frame or video, the oldest first."""
    edits = store.history(item_id, run_id=run_id)
    if not edits:
        print_line(f"{item_id}: no edits")
        return
    table = Table("edit", "time (UTC)", "actor", "action", "objects", "")
    table.columns[1].no_wrap = True
    table.columns[4].overflow = "fold"  # a uid is of use as a whole
    for edit in edits:
        table.add_row(
            str(edit.id),
            edit.at.removesuffix("+00:00").replace("T", " "),
            _cell(edit.actor),
            _cell(_action(edit)),
            _cell(" ".join(edit.uids) or edit.item_id or ""),
            "undone" if edit.is_undone else "",
        )
    Console().print(table)


def _cell(text: str) -> Text:
    """A text as it is: neither markup nor the names of emoji in it mean anything."""
    return Text(terminal_text(text))


def _action(edit: Edit) -> str:
    detail = edit.params.get("class_name") or edit.params.get("note")
    if edit.undoes is not None:
        detail = f"edit {edit.undoes}"
    elif edit.action in ("add", "relabel") and edit.after:
        detail = edit.after[0].class_name
    return edit.action.replace("_", " ") + ("" if detail is None else f": {detail}")
