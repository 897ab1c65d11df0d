"""Full disk: stored labels and datasets stay intact, and the run continues once there is space."""

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


def states_the_repair(process: Any, folder: Path) -> bool:
    """Whether a command ended with a single line that names the folder and the repair."""
    return (
        process.code == 1
        and process.text.startswith("grounded-sam2: ")
        and process.text.count("\n") == 1
        and str(folder) in process.text
        and "space left" in process.text
        and process.text.endswith("run the same command again: nothing that was labeled is lost\n")
    )


def check_stored_labels(workspace: Any, out: str) -> None:
    """Assert that all stored labels can be read and equal those of the complete run."""
    with LabelStore.open(workspace.root / "complete") as store:
        all_labels = dict(store.labels())
    with LabelStore.open(workspace.root / out) as store:
        assert dict(store.labels()).items() <= all_labels.items()


@pytest.fixture(scope="module")
def pages(workspace: Any, complete: Any) -> int:
    """Number of pages of the complete store."""
    with closing(sqlite3.connect(workspace.root / "complete" / "labels.db")) as store:
        ((count,),) = store.execute("PRAGMA page_count").fetchall()
    return count


def test_no_space_for_the_tables(workspace: Any, complete: Any) -> None:
    process = workspace.run("no tables", pragmas=["PRAGMA max_page_count = 3"])
    assert states_the_repair(process, workspace.root / "no tables"), process.text
    workspace.finish("no tables")
    assert workspace.result("no tables") == complete


def test_no_space_for_more_labels(workspace: Any, complete: Any, pages: int) -> None:
    """SQLite reports that the database is full."""
    process = workspace.run("no labels", pragmas=[f"PRAGMA max_page_count = {pages - 1}"])
    assert states_the_repair(process, workspace.root / "no labels"), process.text
    assert workspace.processed_count("no labels") > 0
    check_stored_labels(workspace, "no labels")
    workspace.finish("no labels")
    assert workspace.result("no labels") == complete


@pytest.mark.parametrize("size", [30_000, 100_000])
def test_the_size_of_files_is_limited(workspace: Any, complete: Any, size: int) -> None:
    """The log of the store is the first file that reaches the limit."""
    out = f"{size} bytes"
    process = workspace.run(out, file_size=size)
    assert states_the_repair(process, workspace.root / out), process.text
    workspace.finish(out)
    assert workspace.result(out) == complete


@pytest.fixture(scope="module")
def exported(workspace: Any, complete: Any) -> Path:
    """An output folder with a dataset of every format."""
    command = workspace.label_command("exported", formats=FORMATS)
    process = workspace.driver.start(*command)
    assert process.wait() == 0, process.text
    return workspace.root / "exported"


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_without_space_keeps_the_earlier_dataset(
    workspace: Any, complete: Any, exported: Path, name: str
) -> None:
    """The limit allows the shared-memory index of an open store, but not one image."""
    before = type(complete).of(exported)
    command = ("export", exported, "--format", name, "--split", "0.3/0.3/0.4")
    process = workspace.driver.start(*command, file_size=40_000)
    process.wait()
    assert states_the_repair(process, exported / name), process.text
    assert type(complete).of(exported) == before
    process = workspace.driver.start(*command)
    assert process.wait() == 0, process.text
    assert type(complete).of(exported) != before


class SmallDisk:
    """An output folder on its own small disk, which only the processes of its driver see."""

    SIZE = 4 * 2**20

    def __init__(self, workspace: Any, out: str) -> None:
        self.workspace, self.out = workspace, out
        self.where = workspace.root / out
        self.where.mkdir()
        mount = f'mount -t tmpfs -o size={self.SIZE} none "$0" && exec "$@"'
        self.driver = type(workspace.driver)(
            workspace.root, "unshare", "--mount", "sh", "-c", mount, str(self.where)
        )
        self.folder = Path(f"/proc/{self.driver.server.pid}/root{self.where}")
        self.filler = self.folder / "labels.other"

    def fill_except(self, size: int) -> None:
        """Fill the disk except for this number of bytes."""
        free = shutil.disk_usage(self.folder).free
        assert size < free <= self.SIZE, "this is the small disk"
        self.filler.write_bytes(bytes(free - size))

    def empty(self) -> None:
        """Remove all files and folders."""
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def label(self) -> Any:
        process = self.driver.start(*self.workspace.label_command(self.out))
        process.wait()
        return process

    def copy(self, folder: Path) -> Path:
        """Copy the content of the disk to a folder that all processes see."""
        return shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("labels.other"))


@pytest.fixture(scope="module")
def small_disk(workspace: Any) -> Iterator[SmallDisk]:
    may_mount = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", str(workspace.root)]
    if not shutil.which("unshare") or subprocess.run(may_mount, check=False).returncode:
        pytest.skip("making a small disk is not permitted")
    disk = SmallDisk(workspace, "small disk")
    yield disk
    disk.driver.close()
    disk.where.rmdir()


@pytest.mark.parametrize("kilobytes", [0, 64, 200, 1000])
def test_the_disk_of_the_output_folder_is_almost_full(
    workspace: Any, complete: Any, small_disk: SmallDisk, tmp_path: Path, kilobytes: int
) -> None:
    """The free space is too small for the lock, the tables, the labels, or a dataset."""
    small_disk.empty()
    small_disk.fill_except(1024 * kilobytes)
    process = small_disk.label()
    assert states_the_repair(process, small_disk.where), process.text
    small_disk.copy(workspace.root / f"{kilobytes} kB")
    if kilobytes > 100:
        check_stored_labels(workspace, f"{kilobytes} kB")
    small_disk.filler.unlink()
    process = small_disk.label()
    assert process.code == 0, process.text
    assert type(complete).of(small_disk.copy(tmp_path / "result")) == complete
