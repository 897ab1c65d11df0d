"""Power loss: every state that SQLite with a write-ahead log can leave on the disk is recovered.

The disk holds what was written to the label store and its log, except that the end of the log may
be missing or torn at any byte: the store does not wait for it to be flushed, and gives up the last
images for speed. During a checkpoint, any subset of the pages of the log may be in the store.
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
"""Size of the header of a log, which is flushed before the frames."""


def as_it_was(folder: Path, rng: np.random.Generator) -> None:
    """Everything that was written is on the disk."""


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
    for sector in range(start, len(data), 512):
        data[sector : sector + 512] = (bytes(512), rng.bytes(512), data[sector : sector + 512])[
            rng.integers(3)
        ][: len(data) - sector]
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
def copies(workspace: Any, complete: Any) -> list[Path]:
    """Copies of the store at many moments of one run, from the first stored images on."""
    folder = workspace.root / "copies"
    assert workspace.run("copied", copies=(20, str(folder))).code == 0
    logs = [path for path in sorted(folder.glob("*/*-wal")) if path.stat().st_size > LOG_HEADER]
    return [log.parent for log in logs]


@pytest.fixture
def failed(workspace: Any) -> Iterator[Path]:
    """A folder for copies, at the depth of the output folder: relative paths stay valid."""
    folder = workspace.root / "power failed"
    yield folder
    shutil.rmtree(folder)


def restore(copy: Path, folder: Path) -> None:
    """Replace a folder by a copy of another one."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(copy, folder)


def labels(folder: Path) -> dict[Any, Any] | None:
    """Stored labels by image; ``None`` if no run has begun. Asserts that the database is intact."""
    with closing(sqlite3.connect(folder / "labels.db")) as store:
        assert store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert store.execute("PRAGMA foreign_key_check").fetchall() == []
        if not store.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchall():
            return None
    with LabelStore.open(folder) as opened:
        return dict(opened.labels()) if opened.runs() else None


@pytest.mark.parametrize("disk", [as_it_was, cut_log, torn_log, half_checkpoint])
def test_every_image_is_stored_completely_or_not_at_all(
    workspace: Any, copies: list[Path], failed: Path, disk: Disk
) -> None:
    rng = np.random.default_rng(1)
    all_labels = labels(workspace.root / "complete")
    assert all_labels is not None
    counts = []
    for copy in copies:
        restore(copy, failed)
        disk(failed, rng)
        found = labels(failed) or {}
        assert found.items() <= all_labels.items(), copy
        counts.append(len(found))
    assert len({*counts}) > 3


@pytest.mark.parametrize("disk", [as_it_was, cut_log, torn_log, half_checkpoint])
def test_the_run_continues_to_the_result_of_a_complete_one(
    workspace: Any, complete: Any, copies: list[Path], disk: Disk
) -> None:
    rng = np.random.default_rng(2)
    for number in rng.choice(len(copies), 2, replace=False):
        out = f"{disk.__name__} {number}"
        shutil.copytree(copies[number], workspace.root / out)
        disk(workspace.root / out, rng)
        workspace.finish(out)
        assert workspace.result(out) == complete, copies[number]


def test_frequent_checkpoints_lose_no_labels(workspace: Any, complete: Any, failed: Path) -> None:
    pragmas = ["PRAGMA wal_autocheckpoint = 5"]
    copies = workspace.root / "often copied"
    assert workspace.run("often", pragmas=pragmas, copies=(50, str(copies))).code == 0
    assert workspace.result("often") == complete
    all_labels = labels(workspace.root / "complete")
    assert all_labels is not None
    for copy in copies.iterdir():
        restore(copy, failed)
        found = labels(failed) or {}
        assert found.items() <= all_labels.items(), copy
