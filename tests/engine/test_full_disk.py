"""A disk that is full: what is there stays as it is, and the run goes on when there is space."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from grounded_sam2.exporters import EXPORTERS, VIDEO_FORMATS
from grounded_sam2.store import LabelStore

pytestmark = pytest.mark.slow

FORMATS = tuple(name for name in EXPORTERS if name not in VIDEO_FORMATS)

if os.name != "posix":
    pytest.skip("limits processes as POSIX does", allow_module_level=True)


def says_how_to_repair(process: Any, folder: Path) -> bool:
    """Whether a command has ended with one line that names the place and the repair."""
    return (
        process.code == 1
        and process.text.startswith("grounded-sam2: ")
        and process.text.count("\n") == 1
        and str(folder) in process.text
        and "space left" in process.text
        and process.text.endswith("run the same command again: nothing that was labeled is lost\n")
    )


def check_labels_are_there(place: Any, out: str) -> None:
    """All that was stored can be read, and is what it should be."""
    with LabelStore.open(place.root / "whole") as store:
        everything = dict(store.labels())
    with LabelStore.open(place.root / out) as store:
        assert dict(store.labels()).items() <= everything.items()


@pytest.fixture(scope="module")
def pages(place: Any, whole: Any) -> int:
    """Size of the whole store."""
    with closing(sqlite3.connect(place.root / "whole" / "labels.db")) as store:
        ((count,),) = store.execute("PRAGMA page_count").fetchall()
    return count


def test_no_space_for_the_tables(place: Any, whole: Any) -> None:
    process = place.run("no tables", pragmas=["PRAGMA max_page_count = 3"])
    assert says_how_to_repair(process, place.root / "no tables"), process.text
    place.finish("no tables")
    assert place.result("no tables") == whole


def test_no_space_for_more_labels(place: Any, whole: Any, pages: int) -> None:
    """SQLite itself says that it is full."""
    process = place.run("no labels", pragmas=[f"PRAGMA max_page_count = {pages - 1}"])
    assert says_how_to_repair(process, place.root / "no labels"), process.text
    assert place.settled("no labels") > 0
    check_labels_are_there(place, "no labels")
    place.finish("no labels")
    assert place.result("no labels") == whole


@pytest.mark.parametrize("size", [30_000, 100_000])
def test_the_system_lets_no_file_grow(place: Any, whole: Any, size: int) -> None:
    """The log of the store is the first."""
    out = f"{size} bytes"
    process = place.run(out, file_size=size)
    assert says_how_to_repair(process, place.root / out), process.text
    place.finish(out)
    assert place.result(out) == whole


@pytest.fixture(scope="module")
def exported(place: Any, whole: Any) -> Path:
    """An output folder with a dataset of every format."""
    command = place.label("exported", formats=FORMATS)
    process = place.driver.start(*command)
    assert process.wait() == 0, process.text
    return place.root / "exported"


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_that_does_not_fit_leaves_the_earlier_one(
    place: Any, whole: Any, exported: Path, name: str
) -> None:
    """The size allowed is enough for the index of an open store, and too little for one image."""
    before = type(whole).of(exported)
    command = ("export", exported, "--format", name, "--split", "0.3/0.3/0.4")
    process = place.driver.start(*command, file_size=40_000)
    process.wait()
    assert says_how_to_repair(process, exported / name), process.text
    assert type(whole).of(exported) == before
    process = place.driver.start(*command)
    assert process.wait() == 0, process.text
    assert type(whole).of(exported) != before


class SmallDisk:
    """An output folder on a disk of its own, which only the processes of its driver see."""

    SIZE = 4 * 2**20

    def __init__(self, place: Any, out: str) -> None:
        self.place, self.out = place, out
        self.where = place.root / out
        self.where.mkdir()
        mount = f'mount -t tmpfs -o size={self.SIZE} none "$0" && exec "$@"'
        self.driver = type(place.driver)(
            place.root, "unshare", "--mount", "sh", "-c", mount, str(self.where)
        )
        self.folder = Path(f"/proc/{self.driver.server.pid}/root{self.where}")
        self.other = self.folder / "labels.other"

    def fill_but(self, size: int) -> None:
        """Leave so many bytes of space."""
        free = shutil.disk_usage(self.folder).free
        assert size < free <= self.SIZE, "this is the small disk"
        self.other.write_bytes(bytes(free - size))

    def empty(self) -> None:
        """Remove all that is there."""
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def label(self) -> Any:
        process = self.driver.start(*self.place.label(self.out))
        process.wait()
        return process

    def copy(self, folder: Path) -> Path:
        """What is on the disk, where everybody sees it."""
        return shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("labels.other"))


@pytest.fixture(scope="module")
def small_disk(place: Any) -> Iterator[SmallDisk]:
    may_mount = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", str(place.root)]
    if not shutil.which("unshare") or subprocess.run(may_mount, check=False).returncode:
        pytest.skip("making a small disk is not permitted")
    disk = SmallDisk(place, "small disk")
    yield disk
    disk.driver.close()
    disk.where.rmdir()


@pytest.mark.parametrize("kilobytes", [0, 64, 200, 1000])
def test_a_small_disk(
    place: Any, whole: Any, small_disk: SmallDisk, tmp_path: Path, kilobytes: int
) -> None:
    """Too small for the lock, the tables, the labels, or a dataset."""
    small_disk.empty()
    small_disk.fill_but(1024 * kilobytes)
    process = small_disk.label()
    assert says_how_to_repair(process, small_disk.where), process.text
    small_disk.copy(place.root / f"{kilobytes} kB")
    if kilobytes > 100:
        check_labels_are_there(place, f"{kilobytes} kB")
    small_disk.other.unlink()
    process = small_disk.label()
    assert process.code == 0, process.text
    assert type(whole).of(small_disk.copy(tmp_path / "result")) == whole
