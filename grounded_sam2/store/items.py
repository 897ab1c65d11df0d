"""Items of a label store: images and frames, their progress, and the raw predictions of images.

An item is written whole: its row, its candidates (raw predictions, with the status of each) and its
objects (`grounded_sam2.store.objects`) in one transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from grounded_sam2.results import Candidate, CandidateStatus, RawPredictions
from grounded_sam2.store.connection import StoreConnection
from grounded_sam2.store.objects import Objects, check_masks
from grounded_sam2.store.records import Item, ItemOutcome, ItemState, ItemStatus, Registration
from grounded_sam2.store.rows import (
    CANDIDATE_COLUMNS,
    FILE_COLUMNS,
    ITEM_COLUMNS,
    candidate_from_row,
    candidate_to_row,
    item_from_row,
    path_from_row,
    path_to_row,
    utf8_safe,
)
from grounded_sam2.store.uids import candidates_with_uids

__all__ = ["Items"]

_COLUMNS = ", ".join(ITEM_COLUMNS)
_ITEM = ", ".join(f"i.{name}" for name in ITEM_COLUMNS)


class Items:
    """Tables ``items``, ``candidates`` and ``caption_sets``.

    Args:
        connection: the store's file.
        objects: labels of the items.
    """

    def __init__(self, connection: StoreConnection, objects: Objects) -> None:
        self._connection = connection
        self._objects = objects
        self._caption_sets: dict[int, frozenset[str]] = {}  # rows never change, and are few

    def register(
        self, run_id: int, items: Iterable[tuple[str, Path | None]], *, prune: bool
    ) -> Registration:
        """Add the items of a source as pending; see `LabelStore.register_items`."""
        root = self._connection.root
        with self._connection.transaction() as sql:
            sql.execute("CREATE TEMP TABLE present (item_id TEXT PRIMARY KEY, path)")
            sql.executemany(
                "INSERT OR IGNORE INTO present VALUES (?, ?)",
                ((utf8_safe(item_id), path_to_row(path, root)) for item_id, path in items),
            )
            absent = "run_id = ? AND item_id NOT IN (SELECT item_id FROM present)"
            sql.execute(
                f"DELETE FROM items WHERE {absent} "
                "AND (status = 'failed' OR (status = 'pending' AND asked IS NULL))",
                (run_id,),
            )
            ((removed,),) = sql.execute(f"SELECT count(*) FROM items WHERE {absent}", (run_id,))
            examples = sql.execute(
                f"SELECT item_id FROM items WHERE {absent} ORDER BY item_id LIMIT 20", (run_id,)
            ).fetchall()
            if prune:
                sql.execute(f"DELETE FROM items WHERE {absent}", (run_id,))
            sql.execute(
                "INSERT OR IGNORE INTO items (run_id, item_id, path, status) "
                "SELECT ?, item_id, path, 'pending' FROM present ORDER BY rowid",
                (run_id,),
            )
            ((total,),) = sql.execute("SELECT count(*) FROM present")
            sql.execute("DROP TABLE present")
        return Registration(total, removed, tuple(item_id for (item_id,) in examples))

    def write_batch(self, run_id: int, outcomes: Sequence[ItemOutcome]) -> None:
        """Write the outcomes of a batch in one transaction; see `LabelStore.write_batch`."""
        with self._connection.transaction() as sql:
            for outcome in outcomes:
                self._write(sql, run_id, outcome)

    def _write(self, sql: sqlite3.Connection, run_id: int, outcome: ItemOutcome) -> None:
        item, labels, predictions = outcome.item, outcome.labels, outcome.predictions
        height, width = labels.size_hw if labels is not None else item.size_hw or (None, None)
        row = {
            "path": path_to_row(item.path, self._connection.root),
            "content_hash": item.content_hash,
            "file_stamp": item.file_stamp,
            "height": height,
            "width": width,
            "exif_orientation": item.exif_orientation,
            "group_id": item.group,
            "asked": None if predictions is None else _caption_set(sql, predictions.captions),
            "status": "failed" if labels is None else "done",
            "error": None if outcome.error is None else utf8_safe(outcome.error),
        }
        ((key,),) = sql.execute(
            f"INSERT INTO items (run_id, item_id, {', '.join(row)}) "
            f"VALUES (?, ?{', ?' * len(row)}) ON CONFLICT (run_id, item_id) DO UPDATE SET "
            f"{', '.join(f'{name} = excluded.{name}' for name in row)} RETURNING key",
            (run_id, utf8_safe(item.item_id), *row.values()),
        ).fetchall()
        sql.execute("DELETE FROM candidates WHERE item_key = ?", (key,))
        candidates: tuple[Candidate, ...] = ()
        if labels is not None and predictions is not None:
            inference_key = self._objects.scope(run_id, item).inference_key
            candidates = candidates_with_uids(
                inference_key, utf8_safe(item.item_id), predictions.candidates
            )
            check_masks(item.item_id, labels.size_hw, [each.mask for each in candidates])
        self._objects.replace(sql, run_id, key, item, labels, candidates)
        sql.executemany(
            f"INSERT INTO candidates (item_key, position, verdict, {', '.join(CANDIDATE_COLUMNS)}) "
            f"VALUES (?, ?, ?{', ?' * len(CANDIDATE_COLUMNS)})",
            [
                (key, position, status, *candidate_to_row(candidate))
                for position, (candidate, status) in enumerate(
                    zip(candidates, outcome.statuses, strict=True)
                )
            ],
        )

    def update_file_stamps(self, run_id: int, items: Sequence[Item]) -> None:
        """Replace the file stamps of items."""
        with self._connection.transaction() as sql:
            sql.executemany(
                "UPDATE items SET file_stamp = ? WHERE run_id = ? AND item_id = ?",
                [(item.file_stamp, run_id, utf8_safe(item.item_id)) for item in items],
            )

    def mark_pending(self, sql: sqlite3.Connection, run_id: int) -> None:
        """Make all labeled items of a run pending, within a transaction."""
        sql.execute(
            "UPDATE items SET status = 'pending' WHERE run_id = ? AND status = 'done'", (run_id,)
        )

    def copy_predictions(self, sql: sqlite3.Connection, from_run: int, to_run: int) -> None:
        """Copy raw predictions and failures into a run without items, within a transaction.

        Items with predictions become pending.
        """
        columns = ", ".join((*FILE_COLUMNS, "asked", "error"))
        sql.execute(
            f"INSERT INTO items (run_id, status, {columns}) "
            f"SELECT ?, CASE status WHEN 'done' THEN 'pending' ELSE status END, {columns} "
            "FROM items WHERE run_id = ? AND (asked IS NOT NULL OR status = 'failed')",
            (to_run, from_run),
        )
        columns = ", ".join(("position", "verdict", *CANDIDATE_COLUMNS))
        sql.execute(
            f"INSERT INTO candidates (item_key, {columns}) SELECT new.key, {columns} "
            "FROM candidates c JOIN items old ON old.key = c.item_key "
            "JOIN items new ON new.run_id = ? AND new.item_id = old.item_id WHERE old.run_id = ?",
            (to_run, from_run),
        )

    def has_results(self, run_id: int) -> bool:
        """Whether any item of a run is labeled, failed or has raw predictions."""
        ((found,),) = self._connection.rows(
            "SELECT EXISTS (SELECT 1 FROM items WHERE run_id = ? "
            "AND (status != 'pending' OR asked IS NOT NULL))",
            run_id,
        )
        return bool(found)

    def states(self, run_id: int, item_ids: Sequence[str]) -> dict[str, ItemState]:
        """States of those of the items that the run has, by the ids given."""
        given = {utf8_safe(item_id): item_id for item_id in item_ids}
        rows = self._connection.rows(
            "SELECT item_id, status, content_hash, file_stamp, asked FROM items "
            f"WHERE run_id = ? AND item_id IN ({', '.join('?' * len(given))})",
            run_id,
            *given,
        )
        return {
            given[item_id]: ItemState(status, content_hash, stamp, self._captions(caption_set))
            for item_id, status, content_hash, stamp, caption_set in rows
        }

    def predictions(self, run_id: int, item_id: str) -> tuple[Item, RawPredictions] | None:
        """An item and its raw predictions; ``None`` if the detector was not run on it."""
        found = self._connection.rows(
            f"SELECT key, asked, {_COLUMNS} FROM items WHERE run_id = ? AND item_id = ? "
            "AND asked IS NOT NULL",
            run_id,
            utf8_safe(item_id),
        )
        row = next(found, None)
        if row is None:
            return None
        key, caption_set, *columns = row
        item = item_from_row(columns, self._connection.root)
        size_hw = item.size_hw
        assert size_hw is not None, "an item with raw predictions has a size"
        rows = self._connection.rows(
            f"SELECT {', '.join(CANDIDATE_COLUMNS)} FROM candidates WHERE item_key = ? "
            "ORDER BY position",
            key,
        )
        candidates = tuple(candidate_from_row(row, size_hw) for row in rows)
        return item, RawPredictions(self._captions(caption_set) or frozenset(), candidates)

    def pending_postprocess(self, run_id: int) -> list[str]:
        """Ids of pending items that have raw predictions, in order."""
        rows = self._connection.rows(
            "SELECT item_id FROM items WHERE run_id = ? AND status = 'pending' "
            "AND asked IS NOT NULL ORDER BY item_id",
            run_id,
        )
        return [item_id for (item_id,) in rows]

    def done_images(self, run_id: int) -> Iterator[Item]:
        """Labeled images of a run, by item id; frames of videos are left out."""
        return self._read(
            "run_id = ? AND video_key IS NULL AND status = 'done' ORDER BY item_id", run_id
        )

    def done_frames(self, video_key: int) -> Iterator[Item]:
        """Labeled frames of a video, by frame index."""
        return self._read("video_key = ? AND status = 'done' ORDER BY frame_index", video_key)

    def _read(self, condition: str, *values: object) -> Iterator[Item]:
        for row in self._connection.rows(
            f"SELECT {_COLUMNS} FROM items WHERE {condition}", *values
        ):
            yield item_from_row(row, self._connection.root)

    def failures(self, run_id: int) -> Iterator[tuple[Item, str]]:
        """Failed items of a run and their errors, by item id."""
        for *row, error in self._connection.rows(
            f"SELECT {_COLUMNS}, error FROM items WHERE run_id = ? AND status = 'failed' "
            "ORDER BY item_id",
            run_id,
        ):
            yield item_from_row(row, self._connection.root), error

    def count_by_status(self, run_id: int) -> Mapping[ItemStatus, int]:
        """Number of items of a run in each status that occurs."""
        return dict(
            self._connection.rows(
                "SELECT status, count(*) FROM items WHERE run_id = ? GROUP BY 1", run_id
            )
        )

    def count_background(self, run_id: int) -> int:
        """Number of labeled items of a run without objects."""
        ((count,),) = self._connection.rows(
            "SELECT count(*) FROM items i WHERE i.run_id = ? AND i.status = 'done' "
            "AND NOT EXISTS (SELECT 1 FROM objects o WHERE o.item_key = i.key "
            "AND o.review != 'rejected')",
            run_id,
        )
        return int(count)

    def count_reviewed(self, run_id: int) -> tuple[int, int, int]:
        """Numbers of labeled items that are reviewed, confirmed, and flagged."""
        ((reviewed, confirmed, flagged),) = self._connection.rows(
            "SELECT count(*) FILTER (WHERE is_reviewed), count(*) FILTER (WHERE is_confirmed), "
            "count(flag) FROM items WHERE run_id = ? AND status = 'done'",
            run_id,
        )
        return reviewed, confirmed, flagged

    def find(
        self, run_id: int, item_id: str, *, status: ItemStatus | None = "done"
    ) -> tuple[int, Item] | None:
        """Key and item of an image or frame; ``None`` if the run has none of this id and status.

        A frame has the file and content hash of its video. Items whose image was never read are
        left out.
        """
        rows = self._connection.rows(
            f"SELECT i.key, v.path, v.content_hash, v.file_stamp, {_ITEM} FROM items i "
            "LEFT JOIN videos v ON v.key = i.video_key "
            "WHERE i.run_id = ? AND i.item_id = ? AND i.status = coalesce(?, i.status) "
            "AND i.height IS NOT NULL",
            run_id,
            utf8_safe(item_id),
            status,
        )
        for key, path, content_hash, stamp, *columns in rows:
            item = item_from_row(columns, self._connection.root)
            if item.frame_index is not None:
                item = replace(
                    item,
                    path=path_from_row(path, self._connection.root),
                    content_hash=content_hash,
                    file_stamp=stamp,
                )
            return key, item
        return None

    def count_dropped_candidates(self, run_id: int) -> Mapping[CandidateStatus, int]:
        """Number of candidates that did not become labels, by status, in labeled items."""
        return dict(
            self._connection.rows(
                "SELECT c.verdict, count(*) FROM candidates c JOIN items i ON i.key = c.item_key "
                "WHERE i.run_id = ? AND i.status = 'done' AND c.verdict != 'label' GROUP BY 1",
                run_id,
            )
        )

    def _captions(self, caption_set: int | None) -> frozenset[str] | None:
        if caption_set is None:
            return None
        if caption_set not in self._caption_sets:
            ((captions,),) = self._connection.rows(
                "SELECT captions FROM caption_sets WHERE id = ?", caption_set
            )
            self._caption_sets[caption_set] = frozenset(json.loads(captions))
        return self._caption_sets[caption_set]


def _caption_set(sql: sqlite3.Connection, captions: frozenset[str]) -> int:
    """Id of a set of captions, stored once."""
    text = json.dumps(sorted(captions))
    sql.execute("INSERT OR IGNORE INTO caption_sets (captions) VALUES (?)", (text,))
    ((set_id,),) = sql.execute("SELECT id FROM caption_sets WHERE captions = ?", (text,))
    return int(set_id)
