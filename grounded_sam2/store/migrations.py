"""The tables of the label store, version by version."""

from __future__ import annotations

import json
import sqlite3
from hashlib import sha256

__all__ = ["STEPS", "define_functions"]

STEPS = (
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
        position     INTEGER NOT NULL,      -- order within the image
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
    # What the models said, apart from what is made of it.
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
)
"""What each version of the schema added. A step that was published is never changed."""


def define_functions(connection: sqlite3.Connection) -> None:
    """Make the functions that `STEPS` call known to SQLite."""
    connection.create_function("recipe_ontology", 1, _ontology)
    connection.create_function("recipe_without_ontology", 1, _without_ontology)
    connection.create_function("recipe_key", 1, lambda text: sha256(text.encode()).hexdigest())


def _ontology(recipe: str) -> str | None:
    ontology = json.loads(recipe)["ontology"]
    return None if ontology is None else json.dumps(ontology)


def _without_ontology(recipe: str) -> str:
    """A recipe of the first schema in the form of the second: thresholds and clean-up apart."""
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
