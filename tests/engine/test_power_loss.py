"""What is on the disk when the power fails, as SQLite with a write-ahead log leaves it.

Of the label store and its log, the disk has what the system was told to write, but for the end of
the log, which may be cut short or torn at any byte: it is not waited for, as the store gives up the
last images for speed. While the log is being put into the store, any of its pages may be there.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grounded_sam2.store import LabelStore

pytestmark = pytest.mark.slow

Disk = Callable[[Path, np.random.Generator], None]

LOG_HEADER = 32
"""Bytes that begin a log, and are waited for."""


def as_it_was(folder: Path, rng: np.random.Generator) -> None:
    """All that was written is there."""


def cut_log(folder: Path, rng: np.random.Generator) -> None:
    """The end of the log is missing."""
    log = folder / "labels.db-wal"
    with log.open("rb+") as file:
        file.truncate(rng.integers(LOG_HEADER, log.stat().st_size + 1))


def torn_log(folder: Path, rng: np.random.Generator) -> None:
    """From some byte on, the log holds zeros and what was on the disk before."""
    log = folder / "labels.db-wal"
    data = bytearray(log.read_bytes())
    start = int(rng.integers(LOG_HEADER, len(data)))
    for place in range(start, len(data), 512):
        data[place : place + 512] = (bytes(512), rng.bytes(512), data[place : place + 512])[
            rng.integers(3)
        ][: len(data) - place]
    log.write_bytes(data)


def half_checkpoint(folder: Path, rng: np.random.Generator) -> None:
    """Some pages of the log are in the store, and the log is whole."""
    store, log = folder / "labels.db", folder / "labels.db-wal"
    written = log.read_bytes()
    before = store.read_bytes()
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA wal_checkpoint(FULL)")
    after = store.read_bytes()
    size = int.from_bytes(before[16:18], "big")
    pages = [
        (after if rng.random() < 0.5 else before)[page : page + size]
        for page in range(0, len(before), size)
    ]
    store.write_bytes(b"".join(pages))
    log.write_bytes(written)


@pytest.fixture(scope="module")
def copies(place: Any, whole: Any) -> list[Path]:
    """The store at many moments of one run, from when the first images were stored."""
    folder = place.root / "copies"
    assert place.run("copied", copies=(20, str(folder))).code == 0
    logs = [path for path in sorted(folder.glob("*/*-wal")) if path.stat().st_size > LOG_HEADER]
    return [log.parent for log in logs]


@pytest.fixture
def failed(place: Any) -> Iterator[Path]:
    """A folder to put copies into, which sees the images where the run saw them."""
    folder = place.root / "power failed"
    yield folder
    shutil.rmtree(folder)


def put(copy: Path, folder: Path) -> None:
    """Make a folder a copy of another, whatever it was."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(copy, folder)


def labels(folder: Path) -> dict[Any, Any] | None:
    """What is labeled, by image; ``None`` where no run has begun."""
    with closing(sqlite3.connect(folder / "labels.db")) as store:
        assert store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert store.execute("PRAGMA foreign_key_check").fetchall() == []
        if not store.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchall():
            return None
    with LabelStore.open(folder) as opened:
        return dict(opened.labels()) if opened.runs() else None


@pytest.mark.parametrize("disk", [as_it_was, cut_log, torn_log, half_checkpoint])
def test_every_image_is_there_whole_or_not_at_all(
    place: Any, copies: list[Path], failed: Path, disk: Disk
) -> None:
    rng = np.random.default_rng(1)
    everything = labels(place.root / "whole")
    assert everything is not None
    counts = []
    for copy in copies:
        put(copy, failed)
        disk(failed, rng)
        found = labels(failed) or {}
        assert found.items() <= everything.items(), copy
        counts.append(len(found))
    assert len({*counts}) > 3


@pytest.mark.parametrize("disk", [as_it_was, cut_log, torn_log, half_checkpoint])
def test_the_run_goes_on_to_the_same_end(
    place: Any, whole: Any, copies: list[Path], disk: Disk
) -> None:
    rng = np.random.default_rng(2)
    for number in rng.choice(len(copies), 2, replace=False):
        out = f"{disk.__name__} {number}"
        shutil.copytree(copies[number], place.root / out)
        disk(place.root / out, rng)
        place.finish(out)
        assert place.result(out) == whole, copies[number]


def test_while_the_log_is_put_into_the_store_again_and_again(
    place: Any, whole: Any, failed: Path
) -> None:
    pragmas = ["PRAGMA wal_autocheckpoint = 5"]
    copies = place.root / "often copied"
    assert place.run("often", pragmas=pragmas, copies=(50, str(copies))).code == 0
    assert place.result("often") == whole
    everything = labels(place.root / "whole")
    assert everything is not None
    for copy in copies.iterdir():
        put(copy, failed)
        found = labels(failed) or {}
        assert found.items() <= everything.items(), copy
