"""Everything that can be asked of a label store.

Reading goes item by item in the order of their ids (by code point), in memory that does not grow
with their number, so that a store of any size can be exported.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from grounded_sam2.errors import StoreError
from grounded_sam2.results import Findings, Labels
from grounded_sam2.store.records import Item, KnownItem, Recipe, Run, StoreSummary
from grounded_sam2.store.rows import (
    CANDIDATE_COLUMNS,
    ITEM_COLUMNS,
    LABEL_COLUMNS,
    candidate_from_row,
    item_from_row,
    label_from_row,
    relative_path,
    storable,
)
from grounded_sam2.store.schema import store_errors

__all__ = ["StoreReader"]

_ITEM = ", ".join(f"i.{name}" for name in ITEM_COLUMNS)
_LABEL = ", ".join(f"o.{name}" for name in LABEL_COLUMNS)


class StoreReader:
    """The reading half of `LabelStore`.

    Where ``run_id`` is ``None``, the current run is meant: the one that was begun last. All
    methods raise `StoreError` for a run that does not exist and for a damaged file.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._root = path.parent.resolve()
        self._caption_sets: dict[int, frozenset[str]] = {}  # they never change, and are few

    @property
    def folder(self) -> Path:
        """The output folder. Paths in the store are relative to it."""
        return self.path.parent

    def relative(self, place: Path | str) -> str:
        """A path as text that means the same after pictures and labels were moved together.

        An address (text) is what it is.
        """
        return storable(place if isinstance(place, str) else relative_path(place, self._root))

    def runs(self) -> list[Run]:
        """All runs, the current one last; ``[]`` if nothing was ever labeled."""
        return [_run(row) for row in self._rows(f"{_SELECT_RUNS} ORDER BY last_begun")]

    def run(self, run_id: int | None = None) -> Run:
        """One run."""
        runs = self.runs()
        if not runs:
            raise StoreError(f"label store '{self.path}' holds no run yet; label a folder first")
        if run_id is None:
            return runs[-1]
        for run in runs:
            if run.id == run_id:
                return run
        ids = ", ".join(str(run.id) for run in runs)
        raise StoreError(f"label store '{self.path}' has no run {run_id}; it has {ids}")

    def run_of(self, recipe: Recipe) -> Run | None:
        """The run of a recipe, if there is one."""
        return next((run for run in self.runs() if run.recipe.key == recipe.key), None)

    def known(self, run_id: int, item_ids: Sequence[str]) -> dict[str, KnownItem]:
        """What a run has of these items, by the ids given; those that it lacks are left out."""
        given = {storable(item_id): item_id for item_id in item_ids}
        rows = self._rows(
            "SELECT item_id, status, content_hash, file_stamp, asked FROM items "
            f"WHERE run_id = ? AND item_id IN ({', '.join('?' * len(given))})",
            run_id,
            *given,
        )
        return {
            given[item_id]: KnownItem(status, content_hash, stamp, self._captions(asked))
            for item_id, status, content_hash, stamp, asked in rows
        }

    def findings(self, run_id: int, item_id: str) -> tuple[Item, Findings] | None:
        """What the models said of an item; ``None`` if they were not asked."""
        found = next(
            self._rows(
                f"SELECT i.key, i.asked, {_ITEM} FROM items i WHERE i.run_id = ? "
                "AND i.item_id = ? AND i.asked IS NOT NULL",
                run_id,
                storable(item_id),
            ),
            None,
        )
        if found is None:
            return None
        key, asked, *columns = found
        item = item_from_row(columns, self._root)
        assert item.size_hw is not None, "an item that models were asked about has a size"
        rows = self._rows(
            f"SELECT {', '.join(CANDIDATE_COLUMNS)} FROM candidates WHERE item_key = ? "
            "ORDER BY position",
            key,
        )
        candidates = tuple(candidate_from_row(row, item.size_hw) for row in rows)
        return item, Findings(self._captions(asked) or frozenset(), candidates)

    def undecided(self, run_id: int) -> list[str]:
        """Items that models were asked about and that have no labels, in order."""
        rows = self._rows(
            "SELECT item_id FROM items WHERE run_id = ? AND status = 'pending' "
            "AND asked IS NOT NULL ORDER BY item_id",
            run_id,
        )
        return [item_id for (item_id,) in rows]

    def _captions(self, asked: int | None) -> frozenset[str] | None:
        if asked is None:
            return None
        if asked not in self._caption_sets:
            ((captions,),) = self._rows("SELECT captions FROM caption_sets WHERE id = ?", asked)
            self._caption_sets[asked] = frozenset(json.loads(captions))
        return self._caption_sets[asked]

    def done_items(self, run_id: int | None = None) -> Iterator[Item]:
        """Labeled items."""
        for row in self._rows(
            f"SELECT {_ITEM} FROM items i "
            "WHERE i.run_id = ? AND i.status = 'done' ORDER BY i.item_id",
            self.run(run_id).id,
        ):
            yield item_from_row(row, self._root)

    def failures(self, run_id: int | None = None) -> Iterator[tuple[Item, str]]:
        """Items that could not be labeled, and why."""
        for *row, error in self._rows(
            f"SELECT {_ITEM}, i.error FROM items i "
            "WHERE i.run_id = ? AND i.status = 'failed' ORDER BY i.item_id",
            self.run(run_id).id,
        ):
            yield item_from_row(row, self._root), error

    def labels(self, run_id: int | None = None) -> Iterator[tuple[Item, Labels]]:
        """Labeled items and their objects, one item in memory at a time.

        Items without objects come with empty `Labels`; pending and failed ones do not come.
        """
        yield from self._labels("ORDER BY i.item_id, o.position", self.run(run_id).id)

    def labels_of(self, run_id: int, item_id: str) -> Labels | None:
        """The objects of one item; ``None`` if it is not labeled."""
        found = self._labels("AND i.item_id = ? ORDER BY o.position", run_id, storable(item_id))
        return next((labels for _, labels in found), None)

    def _labels(self, order: str, *values: object) -> Iterator[tuple[Item, Labels]]:
        rows = self._rows(
            f"SELECT {_ITEM}, {_LABEL} FROM items i LEFT JOIN objects o ON o.item_key = i.key "
            f"WHERE i.run_id = ? AND i.status = 'done' {order}",
            *values,
        )
        width = len(ITEM_COLUMNS)
        for columns, of_item in groupby(rows, key=lambda row: row[:width]):
            item = item_from_row(columns, self._root)
            assert item.size_hw is not None, "a labeled item has a size"
            objects = tuple(
                label_from_row(row[width:], item.size_hw)
                for row in of_item
                if row[width] is not None  # the empty right side of an item without objects
            )
            yield item, Labels(size_hw=item.size_hw, objects=objects)

    def classes(self, run_id: int | None = None) -> list[str]:
        """The classes in the ontology's order; then, sorted, those that only objects name."""
        run = self.run(run_id)
        ordered = dict.fromkeys(name for _, name in run.ontology or ())
        found = self._rows(
            "SELECT DISTINCT o.class_name FROM objects o JOIN items i ON i.key = o.item_key "
            "WHERE i.run_id = ? AND i.status = 'done' ORDER BY o.class_name",
            run.id,
        )
        return list(ordered | dict.fromkeys(name for (name,) in found))

    def summary(self, run_id: int | None = None) -> StoreSummary:
        """Counts of a run."""
        with self.snapshot():
            run_id = self.run(run_id).id
            status = dict(
                self._rows("SELECT status, count(*) FROM items WHERE run_id = ? GROUP BY 1", run_id)
            )
            ((background,),) = self._rows(
                "SELECT count(*) FROM items i WHERE i.run_id = ? AND i.status = 'done' "
                "AND NOT EXISTS (SELECT 1 FROM objects o WHERE o.item_key = i.key)",
                run_id,
            )
            objects = dict(
                self._rows(
                    "SELECT o.class_name, count(*) FROM objects o "
                    "JOIN items i ON i.key = o.item_key "
                    "WHERE i.run_id = ? AND i.status = 'done' GROUP BY 1",
                    run_id,
                )
            )
            set_aside = dict(
                self._rows(
                    "SELECT c.verdict, count(*) FROM candidates c "
                    "JOIN items i ON i.key = c.item_key "
                    "WHERE i.run_id = ? AND i.status = 'done' AND c.verdict != 'label' GROUP BY 1",
                    run_id,
                )
            )
            classes = self.classes(run_id)
        return StoreSummary(
            run_id=run_id,
            images=status.get("done", 0),
            background=background,
            failed=status.get("failed", 0),
            pending=status.get("pending", 0),
            objects_per_class={name: objects.get(name, 0) for name in classes},
            set_aside=set_aside,
        )

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Everything read inside shows one state of the store, also while another process writes.

        Nested, the outermost counts.
        """
        if self._connection.in_transaction:
            yield
            return
        with store_errors(self.path):
            self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.rollback()

    def _rows(self, query: str, *values: object) -> Iterator[Any]:
        with store_errors(self.path):
            yield from self._connection.execute(query, values)


_SELECT_RUNS = "SELECT id, recipe, ontology, settings, versions, created_at FROM runs"


def _run(row: Sequence[Any]) -> Run:
    run_id, recipe, ontology, settings, versions, created_at = row
    return Run(
        id=run_id,
        recipe=Recipe.from_json(recipe),
        ontology=None if ontology is None else tuple((c, n) for c, n in json.loads(ontology)),
        settings=json.loads(settings),
        versions=json.loads(versions),
        created_at=created_at,
    )
