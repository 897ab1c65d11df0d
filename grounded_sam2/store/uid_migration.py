"""Uids of the candidates and objects of a store that was written before there were any."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from grounded_sam2.results import Labels
from grounded_sam2.store.records import RunConfig
from grounded_sam2.store.rows import (
    CANDIDATE_COLUMNS,
    LABEL_COLUMNS,
    candidate_from_row,
    label_from_row,
)
from grounded_sam2.store.uids import candidates_with_uids, with_uids

__all__ = ["assign_uids"]


def assign_uids(sql: sqlite3.Connection) -> None:
    """Give every candidate and object its uid, within a transaction, item by item.

    The tables have been upgraded to the current version before.
    """
    keys = {
        run_id: RunConfig.from_json(recipe).inference_key
        for run_id, recipe in sql.execute("SELECT id, recipe FROM runs").fetchall()
    }
    items = sql.execute(
        "SELECT i.key, i.run_id, i.item_id, i.height, i.width, v.name FROM items i "
        "LEFT JOIN videos v ON v.key = i.video_key WHERE i.height IS NOT NULL"
    )
    for item_key, run_id, item_id, height, width, video in items:
        size_hw = (height, width)
        rows = _rows(sql, "candidates", CANDIDATE_COLUMNS, item_key)
        candidates = candidates_with_uids(
            keys[run_id], item_id, [candidate_from_row(row[1:], size_hw) for row in rows]
        )
        _update(sql, "candidates", rows, [each.uid for each in candidates])
        rows = _rows(sql, "objects", LABEL_COLUMNS, item_key)
        labels = Labels(size_hw, tuple(label_from_row(row[1:], size_hw) for row in rows))
        labels = with_uids(keys[run_id], item_id, labels, candidates, video=video)
        _update(sql, "objects", rows, [each.uid for each in labels.objects])


def _rows(
    sql: sqlite3.Connection, table: str, columns: Sequence[str], item_key: int
) -> list[tuple[Any, ...]]:
    return sql.execute(
        f"SELECT key, {', '.join(columns)} FROM {table} WHERE item_key = ? ORDER BY position",
        (item_key,),
    ).fetchall()


def _update(
    sql: sqlite3.Connection, table: str, rows: Sequence[tuple[Any, ...]], uids: Sequence[str]
) -> None:
    sql.executemany(
        f"UPDATE {table} SET uid = ? WHERE key = ?",
        [(uid, row[0]) for uid, row in zip(uids, rows, strict=True)],
    )
