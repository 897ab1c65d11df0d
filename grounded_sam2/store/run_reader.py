"""The file of a label store as one that reads it holds it, and the runs in it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from grounded_sam2.errors import StoreError
from grounded_sam2.store.records import Run, RunConfig
from grounded_sam2.store.rows import relative_path, utf8_safe
from grounded_sam2.store.schema import store_errors

__all__ = ["RunReader"]


class RunReader:
    """What all reading of a store is built on.

    Where ``run_id`` is ``None``, the current run is meant: the one that was begun last. All
    methods raise `StoreError` for a run that does not exist and for a damaged file.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._root = path.parent.resolve()

    @property
    def folder(self) -> Path:
        """The output folder. Paths in the store are relative to it."""
        return self.path.parent

    def relative_path(self, place: Path | str) -> str:
        """A path as text that means the same after images and labels were moved together.

        An address (text) is what it is.
        """
        return utf8_safe(place if isinstance(place, str) else relative_path(place, self._root))

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

    def run_of(self, run_config: RunConfig) -> Run | None:
        """The run of a recipe, if there is one."""
        return next((run for run in self.runs() if run.config.key == run_config.key), None)

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
    run_id, run_config, ontology, settings, versions, created_at = row
    return Run(
        id=run_id,
        config=RunConfig.from_json(run_config),
        ontology=None if ontology is None else tuple((c, n) for c, n in json.loads(ontology)),
        settings=json.loads(settings),
        versions=json.loads(versions),
        created_at=created_at,
    )
