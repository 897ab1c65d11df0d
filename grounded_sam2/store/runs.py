"""Runs of a label store: found by their configuration, begun and continued."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from grounded_sam2.config.renames import with_current_keys
from grounded_sam2.errors import StoreError
from grounded_sam2.store.connection import StoreConnection
from grounded_sam2.store.items import Items
from grounded_sam2.store.records import OntologyPairs, Run, RunConfig
from grounded_sam2.store.videos import Videos

__all__ = ["Runs"]


class Runs:
    """Table ``runs``.

    Args:
        connection: the store's file.
        items: items of the runs, which become pending when an ontology changes.
        videos: videos of the runs, which do not allow that.
    """

    def __init__(self, connection: StoreConnection, items: Items, videos: Videos) -> None:
        self._connection = connection
        self._items = items
        self._videos = videos

    def all(self) -> list[Run]:
        """All runs, the current one last."""
        return [
            _run_from_row(row)
            for row in self._connection.rows(
                "SELECT id, recipe, ontology, settings, versions, created_at FROM runs "
                "ORDER BY last_begun"
            )
        ]

    def get(self, run_id: int | None = None) -> Run:
        """One run; the current one if `run_id` is ``None``.

        Raises:
            StoreError: there is no such run.
        """
        path, runs = self._connection.path, self.all()
        if not runs:
            raise StoreError(f"label store '{path}' holds no run yet; label a folder first")
        if run_id is None:
            return runs[-1]
        for run in runs:
            if run.id == run_id:
                return run
        ids = ", ".join(str(run.id) for run in runs)
        raise StoreError(f"label store '{path}' has no run {run_id}; it has {ids}")

    def find(self, config: RunConfig) -> Run | None:
        """The run of a configuration, if there is one."""
        return next((run for run in self.all() if run.config.key == config.key), None)

    def begin(
        self,
        config: RunConfig,
        *,
        ontology: OntologyPairs | None,
        settings: Mapping[str, Any],
        versions: Mapping[str, str],
        new_run: bool,
    ) -> Run:
        """Continue the run of a configuration, or begin it; see `LabelStore.begin_run`."""
        runs = self.all()
        known = self.find(config)
        # Imports and merges are of other kinds, so none of them is reported as changed.
        same_kind = [run for run in runs if run.config.kind == config.kind]
        with_results = [run for run in same_kind if self._items.has_results(run.id)]
        if with_results and known is None and not new_run:
            changes = "; ".join(with_results[-1].config.differences(config))
            raise StoreError(
                f"label store '{self._connection.path}' was made with other settings ({changes}); "
                "label into another folder, or begin a new run in this one (new_run=True, "
                "--new-run), which keeps the earlier labels"
            )
        with self._connection.transaction() as sql:
            if known is not None:
                run_id = known.id
                if known.ontology != ontology:
                    self._change_ontology(sql, run_id, ontology)
            else:
                for run in same_kind:
                    # It ended before its first batch: a checkpoint that does not exist, say.
                    if not new_run and run not in with_results:
                        sql.execute("DELETE FROM runs WHERE id = ?", (run.id,))
                run_id = _insert(sql, config, ontology, settings, versions)
                for run in reversed(runs):
                    if run.config.same_inference(config):
                        self._items.copy_predictions(sql, run.id, run_id)
                        break
            sql.execute(
                "UPDATE runs SET last_begun = (SELECT max(last_begun) FROM runs) + 1 WHERE id = ?",
                (run_id,),
            )
        return self.get()

    def _change_ontology(
        self, sql: sqlite3.Connection, run_id: int, ontology: OntologyPairs | None
    ) -> None:
        if self._videos.exist(run_id):
            raise StoreError(
                f"label store '{self._connection.path}': the ontology has changed, and the labels "
                "of tracked videos cannot be recomputed; label into another folder"
            )
        sql.execute("UPDATE runs SET ontology = ? WHERE id = ?", (_ontology_json(ontology), run_id))
        self._items.mark_pending(sql, run_id)


def _insert(
    sql: sqlite3.Connection,
    config: RunConfig,
    ontology: OntologyPairs | None,
    settings: Mapping[str, Any],
    versions: Mapping[str, str],
) -> int:
    ((run_id,),) = sql.execute(
        "INSERT INTO runs (key, recipe, ontology, settings, versions, created_at, last_begun) "
        "VALUES (?, ?, ?, ?, ?, ?, 0) RETURNING id",
        (
            config.key,
            config.to_json(),
            _ontology_json(ontology),
            json.dumps(dict(settings)),
            json.dumps(dict(versions)),
            datetime.now(timezone.utc).isoformat(timespec="seconds"),
        ),
    ).fetchall()
    return int(run_id)


def _ontology_json(ontology: OntologyPairs | None) -> str | None:
    return None if ontology is None else json.dumps(ontology)


def _run_from_row(row: Sequence[Any]) -> Run:
    run_id, config, ontology, settings, versions, created_at = row
    return Run(
        id=run_id,
        config=RunConfig.from_json(config),
        ontology=None if ontology is None else tuple((c, n) for c, n in json.loads(ontology)),
        settings=with_current_keys(json.loads(settings)),
        versions=json.loads(versions),
        created_at=created_at,
    )
