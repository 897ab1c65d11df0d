"""Everything that can be asked of a label store.

Reading goes item by item in the order of their ids (by code point), then video by video and frame
by frame, in memory that does not grow with their number, so that a store of any size can be
exported.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from grounded_sam2.results import Labels, RawPredictions
from grounded_sam2.store.records import Item, ItemState, StoreSummary
from grounded_sam2.store.rows import (
    CANDIDATE_COLUMNS,
    ITEM_COLUMNS,
    candidate_from_row,
    item_from_row,
    utf8_safe,
)
from grounded_sam2.store.video_reader import VideoReader

__all__ = ["StoreReader"]

_ITEM = ", ".join(f"i.{name}" for name in ITEM_COLUMNS)


class StoreReader(VideoReader):
    """The reading half of `LabelStore`.

    Where ``run_id`` is ``None``, the current run is meant: the one that was begun last. All
    methods raise `StoreError` for a run that does not exist and for a damaged file.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        super().__init__(path, connection)
        self._caption_sets: dict[int, frozenset[str]] = {}  # they never change, and are few

    def item_states(self, run_id: int, item_ids: Sequence[str]) -> dict[str, ItemState]:
        """What a run has of these items, by the ids given; those that it lacks are left out."""
        given = {utf8_safe(item_id): item_id for item_id in item_ids}
        rows = self._rows(
            "SELECT item_id, status, content_hash, file_stamp, asked FROM items "
            f"WHERE run_id = ? AND item_id IN ({', '.join('?' * len(given))})",
            run_id,
            *given,
        )
        return {
            given[item_id]: ItemState(status, content_hash, stamp, self._captions(asked))
            for item_id, status, content_hash, stamp, asked in rows
        }

    def predictions(self, run_id: int, item_id: str) -> tuple[Item, RawPredictions] | None:
        """What the models said of an item; ``None`` if they were not asked."""
        found = next(
            self._rows(
                f"SELECT i.key, i.asked, {_ITEM} FROM items i WHERE i.run_id = ? "
                "AND i.item_id = ? AND i.asked IS NOT NULL",
                run_id,
                utf8_safe(item_id),
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
        return item, RawPredictions(self._captions(asked) or frozenset(), candidates)

    def pending_postprocess(self, run_id: int) -> list[str]:
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
        """Labeled items, in the order of `labels`."""
        run_id = self.run(run_id).id
        for row in self._rows(
            f"SELECT {_ITEM} FROM items i WHERE i.run_id = ? AND i.video_key IS NULL "
            "AND i.status = 'done' ORDER BY i.item_id",
            run_id,
        ):
            yield item_from_row(row, self._root)
        for key, video in self._videos("TRUE", run_id):
            yield from self._frame_items(key, video)

    def failures(self, run_id: int | None = None) -> Iterator[tuple[Item, str]]:
        """Items that could not be labeled, and why."""
        for *row, error in self._rows(
            f"SELECT {_ITEM}, i.error FROM items i "
            "WHERE i.run_id = ? AND i.status = 'failed' ORDER BY i.item_id",
            self.run(run_id).id,
        ):
            yield item_from_row(row, self._root), error

    def labels(self, run_id: int | None = None) -> Iterator[tuple[Item, Labels]]:
        """Labeled items and their objects, one item in memory at a time; frames come last.

        Items without objects come with empty `Labels`; pending and failed ones do not come.
        """
        run_id = self.run(run_id).id
        yield from self._labels(
            "i.run_id = ? AND i.video_key IS NULL", "i.item_id, o.position", run_id
        )
        for key, video in self._videos("TRUE", run_id):
            yield from self._frames(key, video)

    def labels_of(self, run_id: int, item_id: str) -> Labels | None:
        """The objects of one item; ``None`` if it is not labeled."""
        found = self._labels(
            "i.run_id = ? AND i.item_id = ?", "o.position", run_id, utf8_safe(item_id)
        )
        return next((labels for _, labels in found), None)

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
            dropped_candidates = dict(
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
            dropped_candidates=dropped_candidates,
        )
