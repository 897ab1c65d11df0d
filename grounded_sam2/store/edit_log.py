"""The log of people's edits: appended, never changed, and read item by item.

Edits belong to images and videos, not to runs: whatever run an item is labeled in, its edits are
applied. They concern one content: where another image has come under the name of an edited one,
they rest, and apply again when it comes back. Edits of an import or of a merge of runs concern that
run alone.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import groupby
from typing import Any

from grounded_sam2.results import Label
from grounded_sam2.store.connection import StoreConnection
from grounded_sam2.store.edit_records import Edit, EditAction, effective_ids
from grounded_sam2.store.rows import LABEL_COLUMNS, label_from_row, label_to_row, utf8_safe
from grounded_sam2.store.uids import track_number

__all__ = ["Change", "EditLog", "EditScope", "NewEdit", "OriginalEdit"]

_HEAD = (
    "id, item_id, is_of_video, inference_key, height, width, action, uids, params, seen, prompts, "
    "model, undoes, actor, at"
)
_GEOMETRY = slice(LABEL_COLUMNS.index("x_min"), LABEL_COLUMNS.index("rle_counts") + 1)


@dataclass(frozen=True, slots=True)
class EditScope:
    """What the edits of an item are looked up by, in one run."""

    name: str
    """Item id of an image, name of a video."""
    is_video: bool
    content: str
    """Identity of the content of the image or video."""
    run_key: str | None
    """Key of a run that models did not make."""
    inference_key: str


@dataclass(frozen=True, slots=True)
class Change:
    """Objects of one item before and after an edit."""

    item_id: str
    before: tuple[Label, ...]
    after: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class NewEdit:
    """An edit to be appended."""

    action: EditAction
    item_id: str | None
    uids: tuple[str, ...]
    actor: str
    changes: Sequence[Change] = ()
    params: Mapping[str, Any] | None = None
    prompts: Any = None
    model: str | None = None
    seen: frozenset[str] = frozenset()
    undoes: int | None = None


@dataclass(frozen=True, slots=True)
class OriginalEdit:
    """What an undo needs to know of the edit that it inverts."""

    id: int
    item_id: str | None
    uids: tuple[str, ...]
    size_hw: tuple[int, int]


class EditLog:
    """Tables ``edits`` and ``edited_objects``."""

    def __init__(self, connection: StoreConnection) -> None:
        self._connection = connection

    def append(
        self, sql: sqlite3.Connection, scope: EditScope, size_hw: tuple[int, int], edit: NewEdit
    ) -> int:
        """Append an edit within a transaction, and return its id."""
        item_id = None if edit.item_id is None else utf8_safe(edit.item_id)
        seen = json.dumps(sorted(edit.seen))
        condition, values = _condition(scope)
        last = sql.execute(
            f"SELECT seen FROM edits WHERE {condition} AND item_id IS ? AND seen IS NOT NULL "
            "ORDER BY id DESC LIMIT 1",
            (*values, item_id),
        ).fetchone()
        row = {
            "scope": utf8_safe(scope.name),
            "item_id": item_id,
            "is_of_video": scope.is_video,
            "content": scope.content,
            "run_key": scope.run_key,
            "inference_key": scope.inference_key,
            "height": size_hw[0],
            "width": size_hw[1],
            "action": edit.action,
            "uids": json.dumps(edit.uids),
            "params": json.dumps(dict(edit.params or {})),
            "seen": None if last == (seen,) else seen,
            "prompts": None if edit.prompts is None else json.dumps(edit.prompts),
            "model": None if edit.model is None else utf8_safe(edit.model),
            "undoes": edit.undoes,
            "actor": utf8_safe(edit.actor),
            "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        ((edit_id,),) = sql.execute(
            f"INSERT INTO edits ({', '.join(row)}) VALUES (?{', ?' * (len(row) - 1)}) RETURNING id",
            tuple(row.values()),
        ).fetchall()
        sql.executemany(
            f"INSERT INTO edited_objects (edit_id, item_id, side, position, "
            f"{', '.join(LABEL_COLUMNS)}) VALUES (?, ?, ?, ?{', ?' * len(LABEL_COLUMNS)})",
            (
                (edit_id, utf8_safe(change.item_id), *row)
                for change in edit.changes
                for row in _object_rows(change)
            ),
        )
        return int(edit_id)

    def of_item(self, scope: EditScope, item_id: str, frame_index: int | None) -> list[Edit]:
        """Edits that concern an item, without undone ones, in order; ``[]`` for most items.

        Args:
            scope: of the item.
            item_id: the image or frame.
            frame_index: of a frame; edits that end a track on an earlier one concern it.
        """
        item_id = utf8_safe(item_id)
        edits = [
            edit
            for edit in self._read(scope, item_id)
            if not edit.is_undone and edit.action not in ("undo", "redo")
        ]
        return [
            edit
            for edit in edits
            if edit.item_id == item_id or (edit.item_id is None and _reaches(edit, frame_index))
        ]

    def history(self, scope: EditScope, item_id: str) -> list[Edit]:
        """All edits of an item, undone ones and undos included, in order.

        Args:
            scope: of the item.
            item_id: the image, the frame, or the video: then the edits of all its frames, without
                their objects.
        """
        edits = self._read(scope, utf8_safe(item_id))
        if scope.is_video and item_id != scope.name:
            return [edit for edit in edits if edit.item_id in (None, utf8_safe(item_id))]
        return edits

    def heads(self, scope: EditScope | None = None) -> list[tuple[int, EditAction, int | None]]:
        """Id, action and undone id of all edits of a scope, or of the store, in order."""
        condition, values = ("TRUE", ()) if scope is None else _condition(scope)
        return list(
            self._connection.rows(
                f"SELECT id, action, undoes FROM edits WHERE {condition} ORDER BY id", *values
            )
        )

    def get(self, scope: EditScope, edit_id: int) -> Edit:
        """One edit, with its objects if it concerns a single item."""
        ((item_id,),) = self._connection.rows("SELECT item_id FROM edits WHERE id = ?", edit_id)
        edits = self._read(scope, scope.name if item_id is None else item_id)
        return next(edit for edit in edits if edit.id == edit_id)

    def original(self, edit_id: int) -> OriginalEdit:
        """The edit that an undo or redo is about in the end; any other edit itself."""
        while True:
            ((item_id, uids, height, width, action, undoes),) = self._connection.rows(
                "SELECT item_id, uids, height, width, action, undoes FROM edits WHERE id = ?",
                edit_id,
            )
            if action not in ("undo", "redo"):
                return OriginalEdit(edit_id, item_id, tuple(json.loads(uids)), (height, width))
            edit_id = undoes

    def scope_of(self, edit_id: int) -> EditScope:
        """The scope of an edit."""
        ((name, is_video, content, run_key, inference_key),) = self._connection.rows(
            "SELECT scope, is_of_video, content, run_key, inference_key FROM edits WHERE id = ?",
            edit_id,
        )
        return EditScope(name, bool(is_video), content, run_key, inference_key)

    def items_of(self, edit_id: int) -> list[str]:
        """Ids of the items whose objects an edit changed, or that it is about as a whole."""
        rows = self._connection.rows(
            "SELECT item_id FROM edited_objects WHERE edit_id = ? UNION "
            "SELECT item_id FROM edits WHERE id = ? AND item_id IS NOT NULL",
            edit_id,
            edit_id,
        )
        return [item_id for (item_id,) in rows]

    def count(self) -> int:
        """Number of edits, undos included."""
        ((count,),) = self._connection.rows("SELECT count(*) FROM edits")
        return int(count)

    def _read(self, scope: EditScope, item_id: str) -> list[Edit]:
        condition, values = _condition(scope)
        rows = list(
            self._connection.rows(
                f"SELECT {_HEAD} FROM edits WHERE {condition} ORDER BY id", *values
            )
        )
        if not rows:
            return []
        effective = effective_ids([(row[0], row[-3]) for row in rows])
        objects = self._objects(item_id)
        seen_of: dict[str | None, frozenset[str]] = {}
        return [_edit(row, scope, effective, objects.get(row[0], {}), seen_of) for row in rows]

    def _objects(self, item_id: str) -> dict[int, dict[str, list[tuple[Any, ...]]]]:
        """Rows of the objects of an item, by edit and side."""
        rows = self._connection.rows(
            f"SELECT edit_id, side, {', '.join(LABEL_COLUMNS)} FROM edited_objects "
            "WHERE item_id = ? ORDER BY edit_id, side, position",
            item_id,
        )
        objects: dict[int, dict[str, list[tuple[Any, ...]]]] = {}
        for (edit_id, side), group in groupby(rows, key=lambda row: row[:2]):
            objects.setdefault(edit_id, {})[side] = [row[2:] for row in group]
        return objects


def _condition(scope: EditScope) -> tuple[str, tuple[object, ...]]:
    return (
        "scope = ? AND is_of_video = ? AND content = ? AND run_key IS ?",
        (utf8_safe(scope.name), scope.is_video, scope.content, scope.run_key),
    )


def _reaches(edit: Edit, frame_index: int | None) -> bool:
    """Whether an edit of tracks concerns a frame."""
    if edit.action != "end_track":
        return True
    return frame_index is not None and frame_index > edit.params["last_frame"]


def _object_rows(change: Change) -> Iterator[tuple[Any, ...]]:
    """Side, position and columns; box and mask of an object that keeps them are left out."""
    earlier = {label.uid: label for label in change.before}
    for position, label in enumerate(change.before):
        yield ("before", position, *label_to_row(label))
    for position, label in enumerate(change.after):
        row = list(label_to_row(label))
        before = earlier.get(label.uid)
        if before is not None and list(label_to_row(before))[_GEOMETRY] == row[_GEOMETRY]:
            row[_GEOMETRY] = [None] * len(row[_GEOMETRY])
        yield ("after", position, *row)


def _edit(
    row: Sequence[Any],
    scope: EditScope,
    effective: set[int],
    objects: Mapping[str, list[tuple[Any, ...]]],
    seen_of: dict[str | None, frozenset[str]],
) -> Edit:
    edit_id, item_id, is_of_video, inference_key, height, width, action, *rest = row
    uids, params, seen, prompts, model, undoes, actor, at = rest
    if seen is not None:
        seen_of[item_id] = frozenset(json.loads(seen))
    size_hw = (height, width)
    before = [label_from_row(each, size_hw) for each in objects.get("before", ())]
    geometry = {each[-1]: each[_GEOMETRY] for each in objects.get("before", ())}
    after = []
    for each in objects.get("after", ()):
        columns = list(each)
        if columns[_GEOMETRY.start] is None:
            columns[_GEOMETRY] = geometry[each[-1]]
        after.append(label_from_row(columns, size_hw))
    is_foreign = bool(is_of_video) and inference_key != scope.inference_key
    return Edit(
        id=edit_id,
        action=action,
        item_id=item_id,
        video=scope.name if is_of_video else None,
        uids=tuple(json.loads(uids)),
        actor=actor,
        at=at,
        before=tuple(_renumbered(before) if is_foreign else before),
        after=tuple(_renumbered(after) if is_foreign else after),
        params=json.loads(params),
        prompts=None if prompts is None else json.loads(prompts),
        model=model,
        seen=seen_of.get(item_id, frozenset()),
        undoes=undoes,
        is_undone=edit_id not in effective,
    )


def _renumbered(labels: Iterable[Label]) -> Iterator[Label]:
    """Labels of another run's tracks, with numbers that no track of this run has."""
    for label in labels:
        if label.track_id is not None:
            label = replace(label, track_id=track_number(label.uid))
        yield label
