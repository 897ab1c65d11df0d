"""Frozen values of edits: what a person decided about the objects of an item.

An edit holds the objects it is about as they were before and after, so that it means the same in
every later run, whatever the models then propose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from grounded_sam2.results import Label, Labels

__all__ = ["EDIT_ACTIONS", "Edit", "EditAction", "EditedLabels", "effective_ids", "undo_stacks"]

EditAction: TypeAlias = Literal[
    "accept",
    "reject",
    "relabel",
    "reshape",
    "add",
    "delete",
    "split",
    "merge",
    "confirm",
    "flag",
    "anchor",
    "end_track",
    "merge_tracks",
    "undo",
    "redo",
]

EDIT_ACTIONS: tuple[EditAction, ...] = get_args(EditAction)


@dataclass(frozen=True, slots=True)
class Edit:
    """One decision of a person. Appended to the store, and never changed."""

    id: int
    """Rises with every edit of a store."""
    action: EditAction
    item_id: str | None
    """The image or frame; ``None`` for an edit of tracks, which concerns all frames of a video."""
    video: str | None
    """The video, for an edit of a frame or of tracks; ``None`` for an image."""
    uids: tuple[str, ...]
    """The objects, or tracks, it is about; empty for an edit of the item as a whole."""
    actor: str
    at: str
    """ISO 8601, UTC. For people only: no export reads it."""
    before: tuple[Label, ...] = ()
    """The objects in this item as they were; empty for one that was added."""
    after: tuple[Label, ...] = ()
    """The objects that came of them; empty for a rejected or deleted one."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """JSON values of the action: ``note``, ``class_name``, ``classes``, ``last_frame`` …"""
    prompts: Any = None
    """JSON: the points, boxes and texts that a mask was made from, where there were any."""
    model: str | None = None
    """The model that made a mask from `prompts`."""
    seen: frozenset[str] = frozenset()
    """Uids of the proposals that stood beside these objects, so that the person saw them."""
    undoes: int | None = None
    """Of an undo, the edit that it inverts; of a redo, the undo."""
    is_undone: bool = False


@dataclass(frozen=True, slots=True)
class EditedLabels:
    """Objects of an item after all edits."""

    labels: Labels
    """Those that stand, in the order of the proposals, then those that people added."""
    rejected: tuple[Label, ...] = ()
    is_reviewed: bool = False
    is_confirmed: bool = False
    flag: str | None = None


def effective_ids(edits: Sequence[tuple[int, int | None]]) -> set[int]:
    """Ids of the edits that are not undone.

    Args:
        edits: id of each edit and the id that it undoes, by rising id.
    """
    undone: set[int] = set()
    effective: set[int] = set()
    for edit_id, undoes in reversed(edits):
        if edit_id in undone:
            continue
        effective.add(edit_id)
        if undoes is not None:
            undone.add(undoes)
    return effective


def undo_stacks(
    edits: Sequence[tuple[int, EditAction, int | None]],
) -> tuple[list[int], list[int]]:
    """Edits that can be undone, and undos that can be redone; the next one is the last.

    Args:
        edits: id, action, and the id that it undoes, of all edits of one item, or of the store, by
            rising id.
    """
    to_undo: list[int] = []
    to_redo: list[int] = []
    undone_by: dict[int, int] = {}
    for edit_id, action, undoes in edits:
        if action == "undo" and undoes is not None:
            to_undo.remove(undoes)
            to_redo.append(edit_id)
            undone_by[edit_id] = undoes
        elif action == "redo" and undoes is not None:
            if undoes in to_redo:  # an edit of another item may have come between
                to_redo.remove(undoes)
            to_undo.append(undone_by[undoes])
        else:
            to_undo.append(edit_id)
            to_redo.clear()
    return to_undo, to_redo
