"""What an edit is about: objects, candidates and items of a run, found by uid or item id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from grounded_sam2.errors import StoreError
from grounded_sam2.results import Label
from grounded_sam2.store.connection import StoreConnection
from grounded_sam2.store.edit_log import EditScope
from grounded_sam2.store.items import Items
from grounded_sam2.store.objects import Objects
from grounded_sam2.store.records import Item, Run
from grounded_sam2.store.rows import (
    CANDIDATE_COLUMNS,
    LABEL_COLUMNS,
    candidate_from_row,
    label_from_row,
    utf8_safe,
)
from grounded_sam2.store.uids import new_uid

__all__ = ["EditTargets", "StoredObject", "version_of"]

_LABEL = ", ".join(f"o.{name}" for name in LABEL_COLUMNS)
_CANDIDATE = ", ".join(f"c.{name}" for name in CANDIDATE_COLUMNS)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object, and the item that it is in."""

    item: Item
    label: Label


def version_of(labels: Sequence[Label], *others: object) -> str:
    """Version of an object, of a track's objects, or of an item with further values."""
    if len(labels) == 1 and not others:
        return labels[0].version
    return new_uid("version", *(label.version for label in labels), *others)[:12]


class EditTargets:
    """Finds objects by uid and items by id, in the labeled items of a run.

    Args:
        connection: the store's file.
        items: the items.
        objects: the objects.
    """

    def __init__(self, connection: StoreConnection, items: Items, objects: Objects) -> None:
        self._connection = connection
        self._items = items
        self._objects = objects

    def item(self, run: Run, item_id: str) -> Item:
        """A labeled image or frame.

        Raises:
            StoreError: the run has no labels of it.
        """
        found = self._items.find(run.id, item_id)
        if found is not None:
            return found[1]
        if self._items.find(run.id, item_id, status="pending") is not None:
            raise StoreError(
                f"'{item_id}' is to be labeled anew in run {run.id} of label store "
                f"'{self._connection.path}'; run the labeling command to its end first"
            )
        raise StoreError(
            f"run {run.id} of label store '{self._connection.path}' has no labeled image or frame "
            f"'{item_id}'; give its id as `LabelStore.labels` and the exports name it"
        )

    def is_item(self, run: Run, name: str) -> bool:
        """Whether a run has labels of an image or frame of this id."""
        return self._items.find(run.id, name) is not None

    def scope(self, runs: Sequence[Run], name: str) -> EditScope:
        """The scope of an image, a frame or a video, in the first of these runs that has it.

        Raises:
            StoreError: none of them has.
        """
        for run in runs:
            frames = self._connection.rows(
                "SELECT i.item_id FROM items i JOIN videos v ON v.key = i.video_key "
                "WHERE v.run_id = ? AND v.name = ? LIMIT 1",
                run.id,
                utf8_safe(name),
            )
            item_id = next((item_id for (item_id,) in frames), name)
            found = self._items.find(run.id, item_id, status=None)
            if found is not None:
                return self._objects.scope(run.id, found[1])
        raise StoreError(
            f"label store '{self._connection.path}' has no image, frame or video '{name}'"
        )

    def objects(self, run: Run, uid: str, item: Item | None = None) -> list[StoredObject]:
        """All places of an object, rejected ones included: one in images, a frame each in videos.

        Raises:
            StoreError: no object or candidate of the run has this uid, or none in this item.
        """
        uid = utf8_safe(uid)
        item_id = None if item is None else utf8_safe(item.item_id)
        places = list(self._places(run, uid, item_id)) or list(self._candidate(run, uid, item_id))
        found = [StoredObject(self.item(run, each), label) for each, label in places]
        if not found:
            where = "" if item is None else f" in '{item.item_id}'"
            raise StoreError(
                f"run {run.id} of label store '{self._connection.path}' has no object or candidate "
                f"'{uid}'{where}{self._elsewhere(uid, run)}; LabelStore.objects and `grounded-sam2 "
                "edit STORE --list ITEM` tell the uids"
            )
        return found

    def _places(self, run: Run, uid: str, item_id: str | None) -> Iterator[tuple[str, Label]]:
        rows = self._connection.rows(
            f"SELECT i.item_id, i.height, i.width, {_LABEL} FROM objects o "
            "JOIN items i ON i.key = o.item_key "
            "WHERE o.uid = ? AND i.run_id = ? AND i.item_id = coalesce(?, i.item_id) "
            "AND i.status = 'done' ORDER BY i.frame_index",
            uid,
            run.id,
            item_id,
        )
        for place, height, width, *row in rows:
            yield place, label_from_row(row, (height, width))

    def _candidate(self, run: Run, uid: str, item_id: str | None) -> Iterator[tuple[str, Label]]:
        """A candidate that is no label, as the label it would be."""
        rows = self._connection.rows(
            f"SELECT i.item_id, i.height, i.width, {_CANDIDATE} FROM candidates c "
            "JOIN items i ON i.key = c.item_key "
            "WHERE c.uid = ? AND i.run_id = ? AND i.item_id = coalesce(?, i.item_id) "
            "AND i.status = 'done'",
            uid,
            run.id,
            item_id,
        )
        for place, height, width, *row in rows:
            candidate = candidate_from_row(row, (height, width))
            yield (
                place,
                Label(
                    class_name=dict(run.ontology or ()).get(candidate.caption, candidate.caption),
                    caption=candidate.caption,
                    box_xyxy=candidate.box_xyxy,
                    mask=candidate.mask,
                    confidence=candidate.confidence,
                    mask_quality=candidate.mask_quality,
                    detected_box_xyxy=candidate.box_xyxy,
                    uid=uid,
                ),
            )

    def _elsewhere(self, uid: str, run: Run) -> str:
        rows = self._connection.rows(
            "SELECT DISTINCT i.run_id FROM objects o JOIN items i ON i.key = o.item_key "
            "WHERE o.uid = ? AND i.run_id != ? ORDER BY 1",
            uid,
            run.id,
        )
        runs = ", ".join(str(run_id) for (run_id,) in rows)
        return f" (run {runs} has)" if runs else ""

    def labels(self, run: Run, item: Item) -> list[Label]:
        """All objects of an item in order, rejected ones last."""
        return list(self._objects.all_of_item(run.id, item.item_id))

    def unreviewed(self, run: Run, item: Item, *, in_video: bool) -> frozenset[str]:
        """Uids of the objects that nobody decided about, in an item or in the video of a frame."""
        condition, value = "i.item_id = ?", item.item_id
        if in_video:
            condition = (
                "i.video_key = (SELECT key FROM videos WHERE run_id = i.run_id AND name = ?)"
            )
            value = str(item.group)
        rows = self._connection.rows(
            "SELECT DISTINCT o.uid FROM objects o JOIN items i ON i.key = o.item_key "
            f"WHERE i.run_id = ? AND {condition} AND o.review = 'unreviewed'",
            run.id,
            utf8_safe(value),
        )
        return frozenset(uid for (uid,) in rows)

    def frames_with(self, scope: EditScope, uids: Sequence[str]) -> Iterator[str]:
        """Ids of the frames of a video that have, or had before edits, objects with these uids."""
        values: tuple[Any, ...] = (utf8_safe(scope.name), *uids)
        uid_list = ", ".join("?" * len(uids))
        for table in ("objects", "proposals"):
            rows = self._connection.rows(
                f"SELECT DISTINCT i.item_id FROM items i JOIN videos v ON v.key = i.video_key "
                f"JOIN {table} o ON o.item_key = i.key WHERE v.name = ? AND o.uid IN ({uid_list})",
                *values,
            )
            yield from (item_id for (item_id,) in rows)

    def runs_with(
        self, runs: Sequence[Run], scope: EditScope, item_id: str
    ) -> Iterator[tuple[int, int, Item]]:
        """Run id, key and item of every run that a scope's edits of an item concern."""
        for run in runs:
            found = self._items.find(run.id, item_id)
            if found is not None:
                own = self._objects.scope(run.id, found[1])
                if replace(own, inference_key=scope.inference_key) == scope:
                    yield run.id, *found
