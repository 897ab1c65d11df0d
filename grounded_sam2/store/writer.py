"""What all writing to a store is built on: the right to write, transactions, objects of an item."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from grounded_sam2.errors import StoreError
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.results import Labels
from grounded_sam2.store.reader import StoreReader
from grounded_sam2.store.rows import LABEL_COLUMNS, label_to_row
from grounded_sam2.store.schema import store_errors

__all__ = ["StoreWriter", "check_masks"]


class StoreWriter(StoreReader):
    """A store that may be open for writing: then it holds the lock."""

    def __init__(
        self, path: Path, connection: sqlite3.Connection, lock: sqlite3.Connection | None
    ) -> None:
        super().__init__(path, connection)
        self._lock = lock

    def _write_objects(self, key: int, item_id: str, labels: Labels | None) -> None:
        """Replace the objects of the item of this key."""
        self._connection.execute("DELETE FROM objects WHERE item_key = ?", (key,))
        if labels is None:
            return
        check_masks(item_id, labels.size_hw, [label.mask for label in labels.objects])
        self._connection.executemany(
            f"INSERT INTO objects (item_key, position, {', '.join(LABEL_COLUMNS)}) "
            f"VALUES (?, ?{', ?' * len(LABEL_COLUMNS)})",
            [
                (key, position, *label_to_row(label))
                for position, label in enumerate(labels.objects)
            ],
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if self._lock is None:
            raise StoreError(
                f"label store '{self.path}' is open for reading; use LabelStore.create to write"
            )
        with store_errors(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.rollback()
                raise


def check_masks(item_id: str, size_hw: tuple[int, int], masks: Sequence[Rle | None]) -> None:
    """Raise `StoreError` unless all masks have the size of their image."""
    for mask in masks:
        if mask is not None and mask.size_hw != size_hw:
            raise StoreError(
                f"item '{item_id}': a mask has size {mask.size_hw}, its image {size_hw}; masks "
                "must have the size of the upright image"
            )
