"""Labeled objects of the items of a label store: written item by item, read by item or by track.

Table ``objects`` holds the labels after people's edits, rejected objects included. For an item with
edits, ``proposals`` holds the labels before them, so that an edit, an undo and a repeated run
compute the same objects again. Reading streams: the objects of one item, or one label, are in
memory at a time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import groupby

from grounded_sam2.errors import StoreError
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.results import Candidate, Label, Labels, ReviewState
from grounded_sam2.store.apply_edits import apply_edits
from grounded_sam2.store.connection import StoreConnection
from grounded_sam2.store.edit_log import EditLog, EditScope
from grounded_sam2.store.edit_records import EditedLabels
from grounded_sam2.store.records import Item, RunConfig, StoredTrack
from grounded_sam2.store.rows import (
    ITEM_COLUMNS,
    LABEL_COLUMNS,
    item_from_row,
    label_from_row,
    label_to_row,
    utf8_safe,
)
from grounded_sam2.store.uids import with_uids

__all__ = ["Objects", "check_masks"]

_ITEM = ", ".join(f"i.{name}" for name in ITEM_COLUMNS)
_LABEL = ", ".join(f"o.{name}" for name in LABEL_COLUMNS)
_OBJECTS_OF_VIDEO = (
    "FROM items i JOIN objects o ON o.item_key = i.key AND o.review != 'rejected' "
    "WHERE i.video_key = ?"
)


class Objects:
    """Tables ``objects`` and ``proposals``.

    Args:
        connection: the store's file.
        log: people's edits, which are applied to whatever is written.
    """

    def __init__(self, connection: StoreConnection, log: EditLog) -> None:
        self._connection = connection
        self._log = log
        self._keys: dict[int, tuple[str, str | None]] = {}  # a run's configuration never changes

    # Writing

    def replace(
        self,
        sql: sqlite3.Connection,
        run_id: int,
        item_key: int,
        item: Item,
        labels: Labels | None,
        candidates: Sequence[Candidate] = (),
    ) -> None:
        """Replace the labels of an item before edits, within a transaction; ``None`` removes them.

        Args:
            sql: the connection.
            run_id: run of the item.
            item_key: key of the item.
            item: the item; of a frame, with the content hash of its video.
            labels: the labels; those without a uid get one.
            candidates: with uids: those that the labels were made from.

        Raises:
            StoreError: a mask has another size than its image.
        """
        if labels is None:
            labels = Labels((0, 0))
            self._write(sql, item_key, labels, EditedLabels(labels))
            return
        check_masks(item.item_id, labels.size_hw, [label.mask for label in labels.objects])
        proposals = with_uids(
            self._run_keys(run_id)[0],
            item.item_id,
            labels,
            candidates,
            video=None if item.frame_index is None else item.group,
        )
        self._write(sql, item_key, proposals, self.with_edits(run_id, item, proposals))

    def apply_edits(self, sql: sqlite3.Connection, run_id: int, item_key: int, item: Item) -> None:
        """Compute the objects of a labeled item anew after an edit, within a transaction."""
        assert item.size_hw is not None, "a labeled item has a size"
        was_edited = self._is_edited(sql, item_key)
        table = "proposals" if was_edited else "objects"
        rows = sql.execute(
            f"SELECT {_LABEL} FROM {table} o WHERE o.item_key = ? ORDER BY o.position", (item_key,)
        )
        proposals = Labels(item.size_hw, tuple(label_from_row(row, item.size_hw) for row in rows))
        edited = self.with_edits(run_id, item, proposals)
        self._write(sql, item_key, proposals, edited, has_proposals=was_edited)

    def _is_edited(self, sql: sqlite3.Connection, item_key: int) -> bool:
        """Whether ``objects`` of an item holds other labels than the run proposed."""
        ((edited,),) = sql.execute(
            "SELECT is_edited FROM items WHERE key = ?", (item_key,)
        ).fetchall()
        return bool(edited)

    def _write(
        self,
        sql: sqlite3.Connection,
        item_key: int,
        proposals: Labels,
        edited: EditedLabels,
        *,
        has_proposals: bool = False,
    ) -> None:
        """Write objects, and proposals unless the table has these (`has_proposals`)."""
        is_edited = edited.labels is not proposals
        sql.execute("DELETE FROM objects WHERE item_key = ?", (item_key,))
        _insert(sql, "objects", item_key, (*edited.labels.objects, *edited.rejected))
        if not (is_edited and has_proposals):
            sql.execute("DELETE FROM proposals WHERE item_key = ?", (item_key,))
        if is_edited and not has_proposals:
            _insert(sql, "proposals", item_key, proposals.objects)
        sql.execute(
            "UPDATE items SET is_edited = ?, is_reviewed = ?, is_confirmed = ?, flag = ? "
            "WHERE key = ?",
            (is_edited, edited.is_reviewed, edited.is_confirmed, edited.flag, item_key),
        )

    # Edits

    def with_edits(self, run_id: int, item: Item, proposals: Labels) -> EditedLabels:
        """Labels of an item with people's edits applied; `proposals` themselves without any.

        Args:
            run_id: run of the item.
            item: the item; of a frame, with the content hash of its video.
            proposals: its labels before edits, with uids.
        """
        edits = self._log.of_item(self.scope(run_id, item), item.item_id, item.frame_index)
        return apply_edits(edits, proposals, self._classes(run_id) if edits else {})

    def scope(self, run_id: int, item: Item) -> EditScope:
        """What the edits of an item, or of the video of a frame, are looked up by."""
        name = item.item_id if item.frame_index is None else str(item.group)
        inference_key, run_key = self._run_keys(run_id)
        return EditScope(
            name=name,
            is_video=item.frame_index is not None,
            content=item.content_hash or f"item {name}",
            run_key=run_key,
            inference_key=inference_key,
        )

    def _run_keys(self, run_id: int) -> tuple[str, str | None]:
        """`RunConfig.inference_key` of a run, and the key of one that models did not make."""
        if run_id not in self._keys:
            ((recipe,),) = self._connection.rows("SELECT recipe FROM runs WHERE id = ?", run_id)
            config = RunConfig.from_json(recipe)
            self._keys[run_id] = config.inference_key, None if config.has_models else config.key
        return self._keys[run_id]

    def _classes(self, run_id: int) -> dict[str, str]:
        """Class of each caption of a run's ontology, which may change within the run."""
        ((ontology,),) = self._connection.rows("SELECT ontology FROM runs WHERE id = ?", run_id)
        return {} if ontology is None else dict(json.loads(ontology))

    # Reading

    def of_images(self, run_id: int) -> Iterator[tuple[Item, Labels]]:
        """Labeled images of a run and their objects, by item id."""
        return self._read("i.run_id = ? AND i.video_key IS NULL", "i.item_id, o.position", run_id)

    def of_frames(self, video_key: int) -> Iterator[tuple[Item, Labels]]:
        """Labeled frames of a video and their objects, by frame index."""
        return self._read("i.video_key = ?", "i.frame_index, o.position", video_key)

    def of_item(self, run_id: int, item_id: str) -> Labels | None:
        """Objects of one item; ``None`` if it is not labeled."""
        found = self._read(
            "i.run_id = ? AND i.item_id = ?", "o.position", run_id, utf8_safe(item_id)
        )
        return next((labels for _, labels in found), None)

    def all_of_item(self, run_id: int, item_id: str) -> Iterator[Label]:
        """Objects of one labeled item in order, with the rejected ones after the others."""
        rows = self._connection.rows(
            f"SELECT i.height, i.width, {_LABEL} FROM items i JOIN objects o ON o.item_key = i.key "
            "WHERE i.run_id = ? AND i.item_id = ? AND i.status = 'done' ORDER BY o.position",
            run_id,
            utf8_safe(item_id),
        )
        for height, width, *row in rows:
            yield label_from_row(row, (height, width))

    def _read(self, condition: str, order: str, *values: object) -> Iterator[tuple[Item, Labels]]:
        rows = self._connection.rows(
            f"SELECT {_ITEM}, {_LABEL} FROM items i LEFT JOIN objects o ON o.item_key = i.key "
            f"AND o.review != 'rejected' WHERE {condition} AND i.status = 'done' ORDER BY {order}",
            *values,
        )
        width = len(ITEM_COLUMNS)
        for columns, rows_of_item in groupby(rows, key=lambda row: row[:width]):
            item = item_from_row(columns, self._connection.root)
            assert item.size_hw is not None, "a labeled item has a size"
            objects = tuple(
                label_from_row(row[width:], item.size_hw)
                for row in rows_of_item
                if row[width] is not None  # the empty right side of an item without objects
            )
            yield item, Labels(size_hw=item.size_hw, objects=objects)

    def tracks(self, video_key: int) -> list[StoredTrack]:
        """Tracks of a video, by track id."""
        rows = self._connection.rows(
            "SELECT o.track_id, o.class_name, count(*), min(i.frame_index), max(i.frame_index) "
            f"{_OBJECTS_OF_VIDEO} AND o.track_id IS NOT NULL "
            "GROUP BY o.track_id, o.class_name ORDER BY o.track_id, count(*) DESC, o.class_name",
            video_key,
        )
        tracks = []
        for track_id, classes in groupby(rows, key=lambda row: row[0]):
            _, names, counts, firsts, lasts = zip(*classes, strict=True)
            tracks.append(StoredTrack(track_id, names[0], sum(counts), min(firsts), max(lasts)))
        return tracks

    def by_track(self, video_key: int, size_hw: tuple[int, int]) -> Iterator[tuple[int, Label]]:
        """Frame index and label of every tracked object of a video, by track id and frame."""
        # The sort holds keys alone: SQLite spills it to a temporary file where it is large.
        positions = self._connection.rows(
            f"SELECT i.frame_index, o.key {_OBJECTS_OF_VIDEO} AND o.track_id IS NOT NULL "
            "ORDER BY o.track_id, i.frame_index, o.position",
            video_key,
        )
        for frame_index, object_key in positions:
            (row,) = self._connection.rows(
                f"SELECT {_LABEL} FROM objects o WHERE o.key = ?", object_key
            )
            yield frame_index, label_from_row(row, size_hw)

    def count_by_class(self, run_id: int) -> dict[str, int]:
        """Number of objects of each class that has any, in the labeled items of a run, by name."""
        return dict(
            self._connection.rows(
                "SELECT o.class_name, count(*) FROM objects o JOIN items i ON i.key = o.item_key "
                "WHERE i.run_id = ? AND i.status = 'done' AND o.review != 'rejected' "
                "GROUP BY 1 ORDER BY 1",
                run_id,
            )
        )

    def count_by_review(self, run_id: int) -> dict[ReviewState, int]:
        """Number of objects in each review state that occurs, in the labeled items of a run."""
        return dict(
            self._connection.rows(
                "SELECT o.review, count(*) FROM objects o JOIN items i ON i.key = o.item_key "
                "WHERE i.run_id = ? AND i.status = 'done' GROUP BY 1",
                run_id,
            )
        )


def _insert(sql: sqlite3.Connection, table: str, item_key: int, labels: Sequence[Label]) -> None:
    sql.executemany(
        f"INSERT INTO {table} (item_key, position, {', '.join(LABEL_COLUMNS)}) "
        f"VALUES (?, ?{', ?' * len(LABEL_COLUMNS)})",
        [(item_key, position, *label_to_row(label)) for position, label in enumerate(labels)],
    )


def check_masks(item_id: str, size_hw: tuple[int, int], masks: Sequence[Rle | None]) -> None:
    """Raise `StoreError` unless all masks have the size of their image."""
    for mask in masks:
        if mask is not None and mask.size_hw != size_hw:
            raise StoreError(
                f"item '{item_id}': a mask has size {mask.size_hw}, its image {size_hw}; masks "
                "must have the size of the upright image"
            )
