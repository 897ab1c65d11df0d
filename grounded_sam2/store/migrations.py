"""Tables of the label store, as migration steps, and the upgrade of files of earlier versions.

One file may hold several runs: an item belongs to a run, an object to an item, so that labels of
another model, threshold or ontology stand beside the earlier ones instead of replacing them.
``PRAGMA user_version`` counts the `MIGRATIONS` applied to a file. A change of the tables is one
more step at the end; files of earlier versions are upgraded, in one transaction, when they are next
opened.

Names in the tables and in the stored JSON are those of the first versions: a recipe is a
`RunConfig`, a verdict a `CandidateStatus`, ``asked`` the captions that the detector was run with.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from grounded_sam2.errors import StoreError
from grounded_sam2.store.uid_migration import assign_uids

__all__ = ["APPLICATION_ID", "MIGRATIONS", "SCHEMA_VERSION", "migrate"]

APPLICATION_ID = 0x4753414D
"""``PRAGMA application_id`` of a label store, "GSAM": tells it from other SQLite files."""

MIGRATIONS = (
    """
    CREATE TABLE runs (
        id          INTEGER PRIMARY KEY,
        key         TEXT NOT NULL UNIQUE,   -- SHA-256 of the recipe
        recipe      TEXT NOT NULL,          -- JSON: all that determines the labels
        settings    TEXT NOT NULL,          -- JSON: the whole configuration
        versions    TEXT NOT NULL,          -- JSON: package versions
        created_at  TEXT NOT NULL,          -- the only clock in the file
        last_begun  INTEGER NOT NULL        -- the run with the highest is the current one
    );
    CREATE TABLE items (
        key              INTEGER PRIMARY KEY,
        run_id           INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        item_id          TEXT NOT NULL,     -- POSIX path relative to the source
        path,                               -- TEXT relative to the store, BLOB if not UTF-8
        content_hash     TEXT,
        file_stamp       TEXT,              -- size and modification time; no export reads it
        height           INTEGER,
        width            INTEGER,
        exif_orientation INTEGER NOT NULL DEFAULT 1,
        group_id         TEXT,              -- what a split keeps together
        status           TEXT NOT NULL CHECK (status IN ('pending', 'done', 'failed')),
        error            TEXT,
        UNIQUE (run_id, item_id)
    );
    CREATE TABLE objects (
        key          INTEGER PRIMARY KEY,
        item_key     INTEGER NOT NULL REFERENCES items (key) ON DELETE CASCADE,
        position     INTEGER NOT NULL,      -- order within the picture
        class_name   TEXT NOT NULL,
        caption      TEXT,                  -- what the detector was asked
        x_min        REAL NOT NULL,
        y_min        REAL NOT NULL,
        x_max        REAL NOT NULL,
        y_max        REAL NOT NULL,
        rle_counts   BLOB,                  -- COCO-compressed; the size is the item's
        confidence   REAL,
        mask_quality REAL,
        track_id     INTEGER,
        origin       TEXT NOT NULL CHECK (origin IN ('model', 'human')),
        review       TEXT NOT NULL DEFAULT 'unreviewed'
                     CHECK (review IN ('unreviewed', 'accepted', 'rejected')),
        UNIQUE (item_key, position)
    );
    """,
    # Raw predictions, apart from the labels made of them.
    """
    CREATE TABLE caption_sets (
        id       INTEGER PRIMARY KEY,
        captions TEXT NOT NULL UNIQUE       -- JSON: sorted
    );
    CREATE TABLE candidates (
        key          INTEGER PRIMARY KEY,
        item_key     INTEGER NOT NULL REFERENCES items (key) ON DELETE CASCADE,
        position     INTEGER NOT NULL,      -- order in which the detector said so
        verdict      TEXT NOT NULL,         -- 'label', or why it is none
        caption      TEXT NOT NULL,
        x_min        REAL NOT NULL,
        y_min        REAL NOT NULL,
        x_max        REAL NOT NULL,
        y_max        REAL NOT NULL,
        rle_counts   BLOB,                  -- before clean-up
        confidence   REAL,
        mask_quality REAL,
        UNIQUE (item_key, position)
    );
    ALTER TABLE items ADD COLUMN asked INTEGER REFERENCES caption_sets (id);  -- NULL: nothing yet
    ALTER TABLE objects ADD COLUMN detected_x_min REAL;  -- the detector's box, before clean-up
    ALTER TABLE objects ADD COLUMN detected_y_min REAL;
    ALTER TABLE objects ADD COLUMN detected_x_max REAL;
    ALTER TABLE objects ADD COLUMN detected_y_max REAL;
    ALTER TABLE runs ADD COLUMN ontology TEXT;  -- JSON: pairs of caption and class, or NULL
    UPDATE runs SET ontology = recipe_ontology(recipe);
    UPDATE runs SET recipe = recipe_without_ontology(recipe);
    UPDATE OR IGNORE runs SET key = recipe_key(recipe);  -- of twins, one keeps its key
    """,
    # Videos, whose frames are items.
    """
    CREATE TABLE videos (
        key           INTEGER PRIMARY KEY,
        run_id        INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        name          TEXT NOT NULL,
        path,                               -- as of items: a file, or a folder of frames
        content_hash  TEXT,
        file_stamp    TEXT,
        height        INTEGER,
        width         INTEGER,
        fps           REAL,
        frame_count   INTEGER,              -- as its container says
        stride        INTEGER NOT NULL,
        broken_frames INTEGER NOT NULL DEFAULT 0,
        finished      INTEGER NOT NULL DEFAULT 0,
        error         TEXT,
        UNIQUE (run_id, name)
    );
    CREATE TABLE broken_frames (            -- the first of each video
        video_key   INTEGER NOT NULL REFERENCES videos (key) ON DELETE CASCADE,
        position    INTEGER NOT NULL,       -- order in which they were met
        frame_index INTEGER NOT NULL,
        frame_time  REAL NOT NULL,          -- seconds
        reason      TEXT NOT NULL,
        PRIMARY KEY (video_key, position)
    );
    CREATE TABLE tracker_states (           -- of unfinished videos
        video_key INTEGER NOT NULL REFERENCES videos (key) ON DELETE CASCADE,
        part      INTEGER NOT NULL,         -- SQLite holds no value of more than 1 GB
        state     BLOB NOT NULL,
        PRIMARY KEY (video_key, part)
    );
    ALTER TABLE items ADD COLUMN video_key INTEGER REFERENCES videos (key) ON DELETE CASCADE;
    ALTER TABLE items ADD COLUMN frame_index INTEGER;
    ALTER TABLE items ADD COLUMN frame_time REAL;  -- seconds
    CREATE UNIQUE INDEX frames_in_order ON items (video_key, frame_index)
        WHERE video_key IS NOT NULL;
    ALTER TABLE objects ADD COLUMN track_origin TEXT
        CHECK (track_origin IN ('detected', 'forwards', 'backwards'));
    """,
    # Identities of candidates and objects, and people's edits.
    """
    ALTER TABLE candidates ADD COLUMN uid TEXT NOT NULL DEFAULT '';
    ALTER TABLE objects ADD COLUMN uid TEXT NOT NULL DEFAULT '';
    ALTER TABLE items ADD COLUMN is_edited INTEGER NOT NULL DEFAULT 0;  -- proposals hold its labels
    ALTER TABLE items ADD COLUMN is_reviewed INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE items ADD COLUMN is_confirmed INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE items ADD COLUMN flag TEXT;
    CREATE INDEX candidates_by_uid ON candidates (uid);
    CREATE INDEX objects_by_uid ON objects (uid);
    CREATE TABLE proposals (                -- objects before edits, of items that have any
        item_key       INTEGER NOT NULL REFERENCES items (key) ON DELETE CASCADE,
        position       INTEGER NOT NULL,
        class_name     TEXT NOT NULL,
        caption        TEXT,
        x_min          REAL NOT NULL,
        y_min          REAL NOT NULL,
        x_max          REAL NOT NULL,
        y_max          REAL NOT NULL,
        rle_counts     BLOB,
        confidence     REAL,
        mask_quality   REAL,
        track_id       INTEGER,
        origin         TEXT NOT NULL,
        detected_x_min REAL,
        detected_y_min REAL,
        detected_x_max REAL,
        detected_y_max REAL,
        track_origin   TEXT,
        review         TEXT NOT NULL,
        uid            TEXT NOT NULL,
        PRIMARY KEY (item_key, position)
    );
    CREATE TABLE edits (                    -- outlives the items and runs that it was made on
        id            INTEGER PRIMARY KEY,
        scope         TEXT NOT NULL,        -- image or video: what an undo goes through
        item_id       TEXT,                 -- image or frame; NULL for an edit of tracks
        is_of_video   INTEGER NOT NULL,     -- whether the scope is a video
        content       TEXT NOT NULL,        -- identity of the content of image or video
        run_key       TEXT,                 -- of an import or a merge: its edits concern it alone
        inference_key TEXT NOT NULL,        -- of the run, which numbers the tracks
        height        INTEGER NOT NULL,
        width         INTEGER NOT NULL,
        action        TEXT NOT NULL,
        uids          TEXT NOT NULL,        -- JSON
        params        TEXT NOT NULL,        -- JSON
        seen          TEXT,                 -- JSON; NULL: as of the edit of this item before
        prompts       TEXT,                 -- JSON
        model         TEXT,
        undoes        INTEGER REFERENCES edits (id),
        actor         TEXT NOT NULL,
        at            TEXT NOT NULL
    );
    CREATE INDEX edits_of_scope ON edits (scope, id);
    CREATE TABLE edited_objects (           -- before and after an edit
        edit_id        INTEGER NOT NULL REFERENCES edits (id),
        item_id        TEXT NOT NULL,
        side           TEXT NOT NULL CHECK (side IN ('before', 'after')),
        position       INTEGER NOT NULL,
        class_name     TEXT NOT NULL,
        caption        TEXT,
        x_min          REAL,                -- box and mask are NULL where they are as before
        y_min          REAL,
        x_max          REAL,
        y_max          REAL,
        rle_counts     BLOB,
        confidence     REAL,
        mask_quality   REAL,
        track_id       INTEGER,
        origin         TEXT NOT NULL,
        detected_x_min REAL,
        detected_y_min REAL,
        detected_x_max REAL,
        detected_y_max REAL,
        track_origin   TEXT,
        review         TEXT NOT NULL,
        uid            TEXT NOT NULL,
        PRIMARY KEY (item_id, edit_id, side, position)
    );
    CREATE TRIGGER edits_stay BEFORE DELETE ON edits
        BEGIN SELECT RAISE(ABORT, 'edits are never deleted'); END;
    CREATE TRIGGER edits_do_not_change BEFORE UPDATE ON edits
        BEGIN SELECT RAISE(ABORT, 'edits are never changed'); END;
    CREATE TRIGGER edited_objects_stay BEFORE DELETE ON edited_objects
        BEGIN SELECT RAISE(ABORT, 'edits are never deleted'); END;
    CREATE TRIGGER edited_objects_do_not_change BEFORE UPDATE ON edited_objects
        BEGIN SELECT RAISE(ABORT, 'edits are never changed'); END;
    """,
)
"""SQL of each version of the schema. A published step is never changed, comments included: SQLite
keeps the text in the file."""

SCHEMA_VERSION = len(MIGRATIONS)

_FIRST_VERSION_WITH_UIDS = 4


def migrate(connection: sqlite3.Connection, path: Path, *, write: bool, create: bool) -> None:
    """Check that a file is a label store, and upgrade its tables to the current version.

    Args:
        connection: open connection in autocommit mode. An empty file counts as version 0.
        path: its file, for messages.
        write: whether the file may be upgraded.
        create: whether an empty file is to become a label store.

    Raises:
        StoreError: the file belongs to another program, is of a later version, or is of an earlier
            one and may not be written.
    """
    version = _pragma(connection, "user_version")
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and _pragma(connection, "application_id") != APPLICATION_ID:
        raise StoreError(f"'{path}' is an SQLite file but no label store; choose another folder")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"label store '{path}' has schema {version}, this version of grounded-sam2 reads up to "
            f"{SCHEMA_VERSION}; upgrade grounded-sam2"
        )
    if version == SCHEMA_VERSION:
        return
    if version == 0 and not create:
        raise StoreError(f"'{path}' is empty and no label store; label a folder into it first")
    if not write:
        raise StoreError(
            f"label store '{path}' has schema {version}, this version of grounded-sam2 reads "
            f"{SCHEMA_VERSION}; make its folder writable, so that it is upgraded, or copy it"
        )
    connection.create_function("recipe_ontology", 1, _ontology)
    connection.create_function("recipe_without_ontology", 1, _without_ontology)
    connection.create_function("recipe_key", 1, lambda text: sha256(text.encode()).hexdigest())
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _pragma(connection, "user_version")  # another process may have been faster
        for number in range(version, SCHEMA_VERSION):
            for statement in _statements(MIGRATIONS[number]):
                connection.execute(statement)
        if 0 < version < _FIRST_VERSION_WITH_UIDS:
            assign_uids(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _statements(step: str) -> Iterator[str]:
    """The statements of a step. `executescript` would commit before each step."""
    statement = ""
    for line in step.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _ontology(recipe: str) -> str | None:
    """Ontology of a recipe of the first schema, as JSON pairs of caption and class."""
    ontology = json.loads(recipe)["ontology"]
    return None if ontology is None else json.dumps(ontology)


def _without_ontology(recipe: str) -> str:
    """A recipe of the first schema in the form of the second: options of post-processing apart."""
    value = json.loads(recipe)
    del value["ontology"]
    config = value["config"]
    decisions = value["decisions"] = {}
    for section, key in (("detector", "min_confidence"), ("segmenter", "min_mask_quality")):
        if key in config.get(section, {}):
            decisions[section] = {key: config[section].pop(key)}
    if "cleanup" in config:
        decisions["cleanup"] = config.pop("cleanup")
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
