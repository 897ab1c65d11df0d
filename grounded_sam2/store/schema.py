"""The file that holds the tables of the label store, and the connection to it.

One file may hold several runs: an item belongs to a run, an object to an item, so that labels of
another model, threshold or ontology stand beside the earlier ones instead of replacing them.
``PRAGMA user_version`` counts the `STEPS` that a file has been through; a change of the tables is
one more step at the end, and files written before it are brought up, in one transaction, when they
are next opened for writing.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grounded_sam2.errors import StoreError
from grounded_sam2.store.migrations import STEPS, define_functions

__all__ = ["SCHEMA_VERSION", "connect", "hold_writer_lock", "store_errors"]

_APPLICATION_ID = 0x4753414D  # "GSAM": tells our files from other SQLite files

SCHEMA_VERSION = len(STEPS)


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """Open the store file in autocommit mode, its tables in the present form.

    Raises:
        StoreError: it is not a label store, is damaged, or is of a later version.
    """
    mode = "mode=rwc" if write else "mode=ro"
    if not write and os.access(path.parent, os.W_OK):
        # The last to close a WAL file puts away what lies beside it, if it may write.
        mode = "mode=rw"
    elif not write and not _log_of(path).exists():
        # Even readers of a WAL file write beside it, unless told that nobody changes it.
        mode = "immutable=1"
    with store_errors(path):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None
        )
        try:
            if write:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")  # safe in WAL, one sync less
                connection.execute("PRAGMA foreign_keys = ON")
            else:
                connection.execute("PRAGMA query_only = ON")
            _prepare(connection, path, write=write)
        except BaseException:
            connection.close()
            raise
    return connection


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _prepare(connection: sqlite3.Connection, path: Path, *, write: bool) -> None:
    version = _pragma(connection, "user_version")
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and _pragma(connection, "application_id") != _APPLICATION_ID:
        raise StoreError(f"'{path}' is an SQLite file but no label store; choose another folder")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"label store '{path}' has schema {version}, this version of grounded-sam2 reads up to "
            f"{SCHEMA_VERSION}; upgrade grounded-sam2"
        )
    if version == SCHEMA_VERSION:
        return
    if not write:
        raise StoreError(
            f"label store '{path}' has schema {version}, this version of grounded-sam2 reads "
            f"{SCHEMA_VERSION}; run the labeling command once more to bring it up"
        )
    define_functions(connection)
    steps = "".join(STEPS[version:])
    connection.executescript(
        f"BEGIN IMMEDIATE; {steps} PRAGMA application_id = {_APPLICATION_ID}; "
        f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    )


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def hold_writer_lock(path: Path) -> sqlite3.Connection:
    """Take the right to write, and hold it until the returned connection is closed.

    The lock is SQLite's own, an exclusive transaction on an empty side file: it works the same on
    every system, and the operating system drops it with the process, however that ends. The file
    itself stays, since deleting it could let two writers in.

    Raises:
        StoreError: another process, or another store object of this one, is writing.
    """
    with store_errors(path):
        connection = sqlite3.connect(path, isolation_level=None, timeout=0)
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except BaseException as error:
            connection.close()
            if not (isinstance(error, sqlite3.OperationalError) and "locked" in str(error)):
                raise
            raise StoreError(
                f"'{path.parent}' is being labeled by another process; wait until it ends, or "
                "label into another folder"
            ) from error
    return connection


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into a `StoreError` that names the file and the repair."""
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
        if type(error) is not sqlite3.DatabaseError:  # a mistake of the caller, not of the file
            raise
        raise StoreError(
            f"label store '{path}' cannot be read ({error}); restore it from a copy, or delete it "
            "and label again"
        ) from error
