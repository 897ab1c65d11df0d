"""Connection to the file of a label store: opening, writer lock, transactions, snapshots, errors.

The file is SQLite in WAL mode. The process that labels holds the writer lock; readers need none and
never wait. Every write is a short ``BEGIN IMMEDIATE`` transaction, so that people's edits, which
need no lock either, are written between two batches of the labeling process.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from grounded_sam2.errors import StoreError
from grounded_sam2.store.migrations import migrate

__all__ = ["StoreConnection"]


_WAIT_SECONDS = 30.0
"""Time to wait for the transaction of another process: a batch of large images takes a second."""


class StoreConnection:
    """Open file of one label store.

    Args:
        path: the file.
        sqlite: connection to it in autocommit mode, its tables in the current version.
        lock: writer lock, held until `close`; ``None`` for reading only.
    """

    def __init__(
        self, path: Path, sqlite: sqlite3.Connection, *, lock: sqlite3.Connection | None = None
    ) -> None:
        self.path = path
        self.root = path.parent.resolve()
        """Resolved folder of the file. Paths in the store are relative to it."""
        self.sqlite = sqlite
        self._lock = lock
        self._in_edit = False

    @classmethod
    def create(cls, path: Path) -> StoreConnection:
        """Open a file for labeling; make its folder and its tables where they are missing.

        Raises:
            StoreError: the folder cannot be made; another process holds the writer lock; the file
                is not a label store, is damaged, or was written by a later version.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"output folder '{path.parent}' cannot be made ({error}); choose another"
            ) from error
        lock = _acquire_writer_lock(path.with_suffix(".lock"))
        try:
            return cls(path, _connect(path, write=True), lock=lock)
        except BaseException:
            lock.close()
            raise

    @classmethod
    def open(cls, path: Path) -> StoreConnection:
        """Open a file for reading and for people's edits, also while another process writes it.

        A file of an earlier version is upgraded.

        Raises:
            StoreError: it does not exist, is not a label store, is damaged, was written by a later
                version, or by an earlier one and cannot be written.
        """
        if not path.is_file():
            raise StoreError(
                f"'{path.parent}' holds no labels ('{path.name}' is missing); "
                "give the output folder of a labeling run"
            )
        return cls(path, _connect(path, write=False))

    def close(self) -> None:
        """Close the file and release the writer lock. Calling it again has no effect."""
        self.sqlite.close()
        if self._lock is not None:
            self._lock.close()

    def rows(self, query: str, *values: object) -> Iterator[Any]:
        """Rows of a query, one at a time."""
        with _store_errors(self.path):
            yield from self.sqlite.execute(query, values)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write transaction: committed at the end of the block, rolled back on any exception.

        Yields:
            The SQLite connection. `rows` reads within the same transaction.

        Raises:
            StoreError: the file is open for reading only, or SQLite cannot write it.
        """
        if self._lock is None:
            raise StoreError(
                f"label store '{self.path}' is open for reading; use LabelStore.create to write"
            )
        with _store_errors(self.path):
            self.sqlite.execute("BEGIN IMMEDIATE")
            try:
                yield self.sqlite
                self.sqlite.execute("COMMIT")
            except BaseException:
                self.sqlite.rollback()
                raise

    @contextmanager
    def edit_transaction(self) -> Iterator[sqlite3.Connection]:
        """Write transaction for people's edits, also while another process labels.

        Nested, the outermost is committed or rolled back as a whole.

        Raises:
            StoreError: the file cannot be written, or the block is within a snapshot.
        """
        if self._in_edit:
            yield self.sqlite
            return
        if self.sqlite.in_transaction:
            raise StoreError(
                f"label store '{self.path}': an edit within a snapshot; make it after the snapshot"
            )
        with _store_errors(self.path):
            self.sqlite.execute("PRAGMA query_only = OFF")
            self.sqlite.execute("PRAGMA foreign_keys = ON")
            try:
                # Raises where the folder or the file is read-only.
                self.sqlite.execute("BEGIN IMMEDIATE")
                self._in_edit = True
                yield self.sqlite
                self.sqlite.execute("COMMIT")
            except BaseException:
                self.sqlite.rollback()
                raise
            finally:
                self._in_edit = False
                if self._lock is None:
                    self.sqlite.execute("PRAGMA query_only = ON")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read transaction: all reads in the block see one state of the file.

        Nested inside another snapshot or a transaction, the outer one applies.
        """
        if self.sqlite.in_transaction:
            yield
            return
        with _store_errors(self.path):
            self.sqlite.execute("BEGIN")
        try:
            yield
        finally:
            self.sqlite.rollback()


def _connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """Open the file in autocommit mode, its tables in the current version."""
    mode = "mode=rwc" if write else "mode=ro"
    if not write and os.access(path.parent, os.W_OK):
        # The last connection to close a WAL file removes the files beside it, if it may write.
        mode = "mode=rw"
    elif not write and not _wal_file(path).exists():
        # Even readers of a WAL file write beside it, unless it is opened as immutable.
        mode = "immutable=1"
    with _store_errors(path):
        sqlite = sqlite3.connect(
            f"{path.absolute().as_uri()}?{mode}",
            uri=True,
            isolation_level=None,
            timeout=_WAIT_SECONDS,
        )
        try:
            if write:
                sqlite.execute("PRAGMA journal_mode = WAL")
                sqlite.execute("PRAGMA synchronous = NORMAL")  # safe in WAL, one sync less
                sqlite.execute("PRAGMA foreign_keys = ON")
            migrate(sqlite, path, write=mode.startswith("mode=rw"), create=write)
            if not write:
                sqlite.execute("PRAGMA query_only = ON")
        except BaseException:
            sqlite.close()
            raise
    return sqlite


def _wal_file(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _acquire_writer_lock(path: Path) -> sqlite3.Connection:
    """Acquire the writer lock; closing the returned connection releases it.

    The lock is SQLite's own, an exclusive transaction on an empty side file: it works the same on
    every system, and the operating system releases it when the process ends, however it ends. The
    file itself stays, since deleting it could let two writers in.

    Raises:
        StoreError: another process, or another store object of this one, holds the lock.
    """
    with _store_errors(path):
        lock = sqlite3.connect(path, isolation_level=None, timeout=0)
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except BaseException as error:
            lock.close()
            if not (isinstance(error, sqlite3.OperationalError) and "locked" in str(error)):
                raise
            raise StoreError(
                f"'{path.parent}' is being labeled by another process; wait until it ends, or "
                "label into another folder"
            ) from error
    return lock


@contextmanager
def _store_errors(path: Path) -> Iterator[None]:
    """Translate SQLite's exceptions into a `StoreError` that names the file and the repair."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StoreError(
            f"label store '{path}': {error}; check that its folder exists, can be written and has "
            "space left"
        ) from error
    except sqlite3.DataError as error:
        raise StoreError(
            f"label store '{path}': {error}; a value is larger than SQLite can hold: 1 GB"
        ) from error
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:  # a bug of the caller, not of the file
            raise
        raise StoreError(
            f"label store '{path}' cannot be read ({error}); restore it from a copy, or delete it "
            "and label again"
        ) from error
