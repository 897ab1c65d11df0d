"""The label store itself: opening it, and writing to it.

    with LabelStore.create("labeled") as store:
        run = store.begin_run(recipe)
        store.register_items(run.id, [("a.jpg", Path("images/a.jpg"))])
        store.write_batch(run.id, results)

    with LabelStore.open("labeled") as store:
        for item, labels in store.labels():
            ...

A batch is one transaction, so that an item is there whole or not at all, however the process ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from grounded_sam2.errors import StoreError
from grounded_sam2.store.records import (
    Item,
    ItemOutcome,
    OntologyPairs,
    Registration,
    Run,
    RunConfig,
)
from grounded_sam2.store.rows import (
    CANDIDATE_COLUMNS,
    ITEM_COLUMNS,
    candidate_to_row,
    path_to_row,
    utf8_safe,
)
from grounded_sam2.store.schema import connect, hold_writer_lock
from grounded_sam2.store.video_writer import VideoWriter
from grounded_sam2.store.writer import check_masks

__all__ = ["LabelStore"]


class LabelStore(VideoWriter):
    """The labels of one output folder. Opened with `create` or `open`; a context manager."""

    FILE_NAME = "labels.db"

    @classmethod
    def create(cls, folder: str | Path) -> LabelStore:
        """Open the store of a folder for writing; make folder and store where there are none.

        Raises:
            StoreError: another process is writing; the file is no label store, is damaged, or was
                written by a later version.
        """
        path = Path(folder) / cls.FILE_NAME
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"output folder '{folder}' cannot be made ({error}); choose another"
            ) from error
        lock = hold_writer_lock(path.with_suffix(".lock"))
        try:
            return cls(path, connect(path, write=True), lock)
        except BaseException:
            lock.close()
            raise

    @classmethod
    def open(cls, folder: str | Path) -> LabelStore:
        """Open the store of a folder for reading, also while another process labels.

        Raises:
            StoreError: there is none; the file is no label store, is damaged, or was written by
                another version.
        """
        path = Path(folder) / cls.FILE_NAME
        if not path.is_file():
            raise StoreError(
                f"'{folder}' holds no labels ('{cls.FILE_NAME}' is missing); "
                "give the output folder of a labeling run"
            )
        return cls(path, connect(path, write=False), None)

    def close(self) -> None:
        """Release the file, and the right to write it. Twice is once."""
        self._connection.close()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> LabelStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def begin_run(
        self,
        run_config: RunConfig,
        *,
        ontology: OntologyPairs | None = None,
        settings: Mapping[str, Any] | None = None,
        versions: Mapping[str, str] | None = None,
        new_run: bool = False,
    ) -> Run:
        """Continue the run of a recipe, or begin it; either way it becomes the current run.

        If its ontology has changed, all its finished items become pending: what the models said
        of them stays, and they are finished again by deciding anew. With videos that cannot be: a
        run of videos has its ontology in the recipe's ``config`` as well. A new run takes over
        what the models said from an earlier one, if they would say the same
        (`RunConfig.same_inference`).

        Args:
            recipe: what determines the labels.
            ontology: captions and classes; ``None`` for a task without captions.
            settings: the whole configuration, kept for the record.
            versions: package versions, kept for the record.
            new_run: begin another run beside those of other recipes. Without it, a recipe that
                the store does not know is an error: an option changed by mistake should not start
                hours of work again.

        Raises:
            StoreError: the store holds runs of models in the same roles, all of other recipes, and
                `new_run` is false. Names each difference to the last one. Runs that ended before
                anything was written do not count, and are forgotten. Or it has videos, and its
                ontology has changed.
        """
        runs = self.runs()
        known = self.run_of(run_config)
        # Imports and merged runs are no earlier labeling that this one might be meant to continue.
        same_roles = [run for run in runs if run.config.models.keys() == run_config.models.keys()]
        alike = [run for run in same_roles if self._has_results(run)]
        if alike and known is None and not new_run:
            changes = "; ".join(alike[-1].config.differences(run_config))
            raise StoreError(
                f"label store '{self.path}' was made with other settings ({changes}); label into "
                "another folder, or begin a new run in this one (new_run=True, --new-run), which "
                "keeps the earlier labels"
            )
        with self._transaction():
            if known is None:
                for run in same_roles:
                    # It ended before its first batch: a checkpoint that is not there, say.
                    if not new_run and run not in alike:
                        self._connection.execute("DELETE FROM runs WHERE id = ?", (run.id,))
                ((run_id,),) = self._connection.execute(
                    "INSERT INTO runs (key, recipe, ontology, settings, versions, created_at, "
                    "last_begun) VALUES (?, ?, ?, ?, ?, ?, 0) RETURNING id",
                    (
                        run_config.key,
                        run_config.to_json(),
                        _json_or_null(ontology),
                        json.dumps(dict(settings or {})),
                        json.dumps(dict(versions or {})),
                        datetime.now(timezone.utc).isoformat(timespec="seconds"),
                    ),
                ).fetchall()
                for run in reversed(runs):
                    if run.config.same_inference(run_config):
                        self._take_over(run.id, run_id)
                        break
            else:
                run_id = known.id
                if known.ontology != ontology:
                    if self.videos(run_id):
                        raise StoreError(
                            f"label store '{self.path}': the ontology has changed, and tracks "
                            "cannot be decided anew; label into another folder"
                        )
                    self._connection.execute(
                        "UPDATE runs SET ontology = ? WHERE id = ?",
                        (_json_or_null(ontology), run_id),
                    )
                    self._connection.execute(
                        "UPDATE items SET status = 'pending' WHERE run_id = ? AND status = 'done'",
                        (run_id,),
                    )
            self._connection.execute(
                "UPDATE runs SET last_begun = (SELECT max(last_begun) FROM runs) + 1 WHERE id = ?",
                (run_id,),
            )
        return self.run()

    def _has_results(self, run: Run) -> bool:
        ((there,),) = self._rows(
            "SELECT EXISTS (SELECT 1 FROM items WHERE run_id = ? "
            "AND (status != 'pending' OR asked IS NOT NULL))",
            run.id,
        )
        return bool(there)

    def _take_over(self, from_run: int, to_run: int) -> None:
        """Copy what the models said, and what failed."""
        columns = ", ".join((*ITEM_COLUMNS, "asked", "error"))
        self._connection.execute(
            f"INSERT INTO items (run_id, status, {columns}) "
            f"SELECT ?, CASE status WHEN 'done' THEN 'pending' ELSE status END, {columns} "
            "FROM items WHERE run_id = ? AND (asked IS NOT NULL OR status = 'failed')",
            (to_run, from_run),
        )
        columns = ", ".join(("position", "verdict", *CANDIDATE_COLUMNS))
        self._connection.execute(
            f"INSERT INTO candidates (item_key, {columns}) SELECT new.key, {columns} "
            "FROM candidates c JOIN items old ON old.key = c.item_key "
            "JOIN items new ON new.run_id = ? AND new.item_id = old.item_id WHERE old.run_id = ?",
            (to_run, from_run),
        )

    def register_items(
        self, run_id: int, items: Iterable[tuple[str, Path | None]], *, prune: bool = False
    ) -> Registration:
        """Note what a run is going to label, so that an interrupted one knows what it lacks.

        Args:
            run_id: the run.
            items: item id and file of every image of the source, in the source's order. Items
                that the run has stay as they are.
            prune: drop items that the source no longer holds, with their labels. Without it, only
                those are forgotten that have none: what failed, and what was not come to.
        """
        with self._transaction():
            run = self._connection.execute
            run("CREATE TEMP TABLE present (item_id TEXT PRIMARY KEY, path)")
            self._connection.executemany(
                "INSERT OR IGNORE INTO present VALUES (?, ?)",
                ((utf8_safe(item_id), path_to_row(path, self._root)) for item_id, path in items),
            )
            absent = "run_id = ? AND item_id NOT IN (SELECT item_id FROM present)"
            run(
                f"DELETE FROM items WHERE {absent} "
                "AND (status = 'failed' OR (status = 'pending' AND asked IS NULL))",
                (run_id,),
            )
            ((removed,),) = run(f"SELECT count(*) FROM items WHERE {absent}", (run_id,))
            examples = run(
                f"SELECT item_id FROM items WHERE {absent} ORDER BY item_id LIMIT 20", (run_id,)
            ).fetchall()
            if prune:
                run(f"DELETE FROM items WHERE {absent}", (run_id,))
            run(
                "INSERT OR IGNORE INTO items (run_id, item_id, path, status) "
                "SELECT ?, item_id, path, 'pending' FROM present ORDER BY rowid",
                (run_id,),
            )
            ((total,),) = run("SELECT count(*) FROM present")
            run("DROP TABLE present")
        return Registration(total, removed, tuple(item_id for (item_id,) in examples))

    def write_batch(self, run_id: int, results: Sequence[ItemOutcome]) -> None:
        """Write what became of a batch of items, all or nothing. Earlier results are replaced.

        Boxes are rounded to hundredths of a pixel, confidence and mask quality to four decimals.

        Raises:
            StoreError: a mask has another size than its image.
        """
        with self._transaction():
            for result in results:
                self._write(run_id, result)

    def update_file_stamps(self, run_id: int, items: Sequence[Item]) -> None:
        """Note new file stamps of items whose images are the same."""
        with self._transaction():
            self._connection.executemany(
                "UPDATE items SET file_stamp = ? WHERE run_id = ? AND item_id = ?",
                [(item.file_stamp, run_id, utf8_safe(item.item_id)) for item in items],
            )

    def _write(self, run_id: int, result: ItemOutcome) -> None:
        item, labels = result.item, result.labels
        height, width = labels.size_hw if labels is not None else item.size_hw or (None, None)
        row = {
            "path": path_to_row(item.path, self._root),
            "content_hash": item.content_hash,
            "file_stamp": item.file_stamp,
            "height": height,
            "width": width,
            "exif_orientation": item.exif_orientation,
            "group_id": item.group,
            "asked": None
            if result.predictions is None
            else self._caption_set(result.predictions.captions),
            "status": "failed" if labels is None else "done",
            "error": None if result.error is None else utf8_safe(result.error),
        }
        ((key,),) = self._connection.execute(
            f"INSERT INTO items (run_id, item_id, {', '.join(row)}) "
            f"VALUES (?, ?{', ?' * len(row)}) ON CONFLICT (run_id, item_id) DO UPDATE SET "
            f"{', '.join(f'{name} = excluded.{name}' for name in row)} RETURNING key",
            (run_id, utf8_safe(item.item_id), *row.values()),
        ).fetchall()
        self._connection.execute("DELETE FROM candidates WHERE item_key = ?", (key,))
        self._write_objects(key, item.item_id, labels)
        if labels is None:
            return
        candidates = () if result.predictions is None else result.predictions.candidates
        check_masks(item.item_id, labels.size_hw, [found.mask for found in candidates])
        self._connection.executemany(
            f"INSERT INTO candidates (item_key, position, verdict, {', '.join(CANDIDATE_COLUMNS)}) "
            f"VALUES (?, ?, ?{', ?' * len(CANDIDATE_COLUMNS)})",
            [
                (key, position, status, *candidate_to_row(candidate))
                for position, (candidate, status) in enumerate(
                    zip(candidates, result.statuses, strict=True)
                )
            ],
        )

    def _caption_set(self, captions: frozenset[str]) -> int:
        text = json.dumps(sorted(captions))
        self._connection.execute(
            "INSERT OR IGNORE INTO caption_sets (captions) VALUES (?)", (text,)
        )
        ((set_id,),) = self._connection.execute(
            "SELECT id FROM caption_sets WHERE captions = ?", (text,)
        )
        return int(set_id)


def _json_or_null(ontology: OntologyPairs | None) -> str | None:
    return None if ontology is None else json.dumps(ontology)
