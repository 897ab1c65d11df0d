"""Labeled objects of the items of a label store: written item by item, read by item or by track.

Reading streams: the objects of one item, or one label, are in memory at a time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import groupby

from grounded_sam2.errors import StoreError
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.results import Label, Labels
from grounded_sam2.store.connection import StoreConnection
from grounded_sam2.store.records import Item, StoredTrack
from grounded_sam2.store.rows import (
    ITEM_COLUMNS,
    LABEL_COLUMNS,
    item_from_row,
    label_from_row,
    label_to_row,
    utf8_safe,
)

__all__ = ["Objects", "check_masks"]

_ITEM = ", ".join(f"i.{name}" for name in ITEM_COLUMNS)
_LABEL = ", ".join(f"o.{name}" for name in LABEL_COLUMNS)
_OBJECTS_OF_VIDEO = "FROM items i JOIN objects o ON o.item_key = i.key WHERE i.video_key = ?"


class Objects:
    """Table ``objects``."""

    def __init__(self, connection: StoreConnection) -> None:
        self._connection = connection

    def replace(
        self, sql: sqlite3.Connection, item_key: int, item_id: str, labels: Labels | None
    ) -> None:
        """Replace the objects of an item, within a transaction; ``None`` removes them.

        Raises:
            StoreError: a mask has another size than its image.
        """
        sql.execute("DELETE FROM objects WHERE item_key = ?", (item_key,))
        if labels is None:
            return
        check_masks(item_id, labels.size_hw, [label.mask for label in labels.objects])
        sql.executemany(
            f"INSERT INTO objects (item_key, position, {', '.join(LABEL_COLUMNS)}) "
            f"VALUES (?, ?{', ?' * len(LABEL_COLUMNS)})",
            [
                (item_key, position, *label_to_row(label))
                for position, label in enumerate(labels.objects)
            ],
        )

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

    def _read(self, condition: str, order: str, *values: object) -> Iterator[tuple[Item, Labels]]:
        rows = self._connection.rows(
            f"SELECT {_ITEM}, {_LABEL} FROM items i LEFT JOIN objects o ON o.item_key = i.key "
            f"WHERE {condition} AND i.status = 'done' ORDER BY {order}",
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
                "WHERE i.run_id = ? AND i.status = 'done' GROUP BY 1 ORDER BY 1",
                run_id,
            )
        )


def check_masks(item_id: str, size_hw: tuple[int, int], masks: Sequence[Rle | None]) -> None:
    """Raise `StoreError` unless all masks have the size of their image."""
    for mask in masks:
        if mask is not None and mask.size_hw != size_hw:
            raise StoreError(
                f"item '{item_id}': a mask has size {mask.size_hw}, its image {size_hw}; masks "
                "must have the size of the upright image"
            )
