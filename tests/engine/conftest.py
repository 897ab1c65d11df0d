"""Processes that label one folder of small images, and the result of a complete run."""

from __future__ import annotations

import hashlib
import json
import os
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from grounded_sam2.store import LabelStore
from grounded_sam2.testing import COLORS

DRIVER = Path(__file__).with_name("driver.py")
FORMATS = ("yolo", "coco", "masks", "hf", "jsonl")
CLOCKS = {"created_at", "last_begun"}
DEADLINE_S = 60
"""Every process here takes less than a second; one that takes this long is deadlocked."""


@dataclass
class Process:
    """A command of the package that runs in its own process."""

    driver: Driver
    pid: int
    log: Path
    gate: Path | None
    code: int | None = None

    def running(self) -> bool:
        """Whether the process has not ended yet."""
        if self.code is None:
            self.code = self.driver.request(poll=self.pid)
        return self.code is None

    def wait_for_gate(self) -> int:
        """Wait until the process reaches its gate; closing the returned descriptor opens it."""
        assert self.gate is not None
        return os.open(self.gate, os.O_WRONLY)

    def open_gate(self) -> None:
        """Wait until the process reaches its gate, and let it continue."""
        os.close(self.wait_for_gate())

    def send(self, number: int) -> None:
        """Send a signal, unless the process is known to have ended."""
        if self.code is None:
            os.kill(self.pid, number)

    def wait(self) -> int:
        """Wait for its end and return its exit code; negative if a signal ended it."""
        if self.code is None:
            self.code = self.driver.request(wait=self.pid)
        return self.code

    @property
    def text(self) -> str:
        """Its output so far."""
        return self.log.read_text(encoding="utf-8", errors="surrogateescape")


class Driver:
    """Client of `driver.py`, which starts processes."""

    def __init__(self, logs: Path, *wrapper: str) -> None:
        self.logs = logs
        self.started = 0
        self.server = subprocess.Popen(
            [*wrapper, sys.executable, str(DRIVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert self.receive() == "ready"

    def start(
        self, *command: object, gate: tuple[str, int] | None = None, **faults: object
    ) -> Process:
        """Run the command line with these arguments; see `driver.py` for the faults."""
        self.started += 1
        log = self.logs / f"{self.started}.txt"
        pipe = None
        if gate is not None:
            pipe = log.with_suffix(".pipe")
            os.mkfifo(pipe)
            faults["gate"] = (*gate, str(pipe))
        pid = self.request(start=[str(word) for word in command], log=str(log), faults=faults)
        return Process(self, pid, log, pipe)

    def request(self, **message: object) -> Any:
        """Send a message as a line of JSON, and return the reply."""
        assert self.server.stdin is not None
        self.server.stdin.write(json.dumps(message) + "\n")
        self.server.stdin.flush()
        try:
            return self.receive()
        except TimeoutError as error:
            if "wait" in message:
                os.kill(message["wait"], signal.SIGKILL)
            raise AssertionError(f"no reply to {message} within {DEADLINE_S} s") from error

    def receive(self) -> Any:
        """Return the next reply."""
        assert self.server.stdout is not None
        if not select.select([self.server.stdout], [], [], DEADLINE_S)[0]:
            raise TimeoutError
        return json.loads(self.server.stdout.readline())

    def close(self) -> None:
        """End the driver; processes that it started continue."""
        self.server.communicate()


@dataclass(frozen=True)
class Result:
    """Result of a run: rows of its tables, and hashes of the files that it exported."""

    tables: dict[str, list[Any]]
    files: dict[str, str]

    @classmethod
    def of(cls, folder: Path) -> Result:
        """Read an output folder."""
        return cls(
            tables=read_tables(folder / "labels.db"),
            files={
                path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in sorted(folder.rglob("*"))
                if path.is_file() and not path.name.startswith("labels.")
            },
        )


class Workspace:
    """A folder of images, and output folders beside it: all have the same relative paths to it."""

    image_count = 40
    batch = 3
    """Images per transaction."""

    def __init__(self, root: Path, driver: Driver) -> None:
        self.root = root
        self.driver = driver
        self.images = root / "images"
        self.ontology = root / "ontology.yaml"
        make_images(self.images, self.image_count)
        self.ontology.write_text("warm: [red object, yellow object]\ncold: [blue object]\n")

    def label_command(
        self, out: str, *more: object, formats: tuple[str, ...] = FORMATS
    ) -> list[object]:
        """Command that labels all images into an output folder."""
        return [
            *("label", self.images, "--ontology", self.ontology, "--out", self.root / out),
            *("--split", "0.7/0.3/0", "--set", f"runtime.batch_size={self.batch}"),
            *(word for name in formats for word in ("--format", name)),
            *more,
        ]

    def start(self, out: str, **faults: Any) -> Process:
        """Start to label all images into an output folder."""
        return self.driver.start(*self.label_command(out), **faults)

    def run(self, out: str, **faults: Any) -> Process:
        """Label all images into an output folder, and wait for the end of the process."""
        process = self.start(out, **faults)
        process.wait()
        return process

    def finish(self, out: str) -> None:
        """Complete the labeling of an output folder, and assert success."""
        process = self.run(out)
        assert process.code == 0, process.text

    def result(self, out: str) -> Result:
        """Result in an output folder."""
        return Result.of(self.root / out)

    def processed_count(self, out: str) -> int:
        """Number of labeled and failed images in an output folder."""
        with LabelStore.open(self.root / out) as store:
            counts = store.summary()
        return counts.images + counts.failed

    def copy_of_store(self, out: str, to: str) -> Path:
        """Copy the store and its log, as they are on the disk, to another output folder."""
        folder = self.root / to
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for path in (self.root / out).glob("labels.db*"):
            shutil.copyfile(path, folder / path.name)
        return folder / "labels.db"


def make_images(folder: Path, count: int) -> None:
    """Write images of colored blocks, some with holes or overlaps, and rotated, empty, noisy and
    broken files."""
    (folder / "more").mkdir(parents=True)
    for number in range(count - 2):
        rng = np.random.default_rng(number)
        image = np.zeros((48, 64, 3), np.uint8)
        for color in ("red", "blue", "yellow")[: number % 4]:
            top, left = rng.integers(0, (36, 50))
            image[top : top + 12, left : left + 14] = COLORS[color]
            image[top + 3 : top + 9, left + 3 : left + 7] = 0
        exif = PIL.Image.Exif()
        exif[0x0112] = number % 8 + 1
        name = f"{'more/' * (number % 4 == 0)}{number // 2:02}{('.png', '.webp')[number % 2]}"
        PIL.Image.fromarray(image).save(folder / name, lossless=True, exif=exif)
    noise = np.random.default_rng(0).integers(0, 256, (100, 160, 3), np.uint8)
    PIL.Image.fromarray(noise).save(folder / "noise.png")
    (folder / "broken.png").write_bytes((folder / "01.png").read_bytes()[:100])


def read_tables(path: Path) -> dict[str, list[Any]]:
    """Rows of all tables of a store, comparable between runs: without times, and with each foreign
    key replaced by the row that it references."""
    rows: dict[str, dict[Any, Any]] = {}
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as store:
        store.row_factory = sqlite3.Row

        def read(table: str) -> dict[Any, Any]:
            if table not in rows:
                columns = store.execute(f"PRAGMA table_info({table})").fetchall()
                primary = [column for column in columns if column["pk"]]
                keys = [c["name"] for c in primary if c["type"] == "INTEGER" and len(primary) == 1]
                references = {
                    reference["from"]: read(reference["table"])
                    for reference in store.execute(f"PRAGMA foreign_key_list({table})")
                    if reference["table"] != table  # an edit that undoes another
                }
                rows[table] = {
                    row[keys[0]] if keys else number: tuple(
                        (name, references[name].get(row[name]) if name in references else row[name])
                        for name in row.keys()  # noqa: SIM118  (iterating gives the values)
                        if name not in CLOCKS and name not in keys
                    )
                    for number, row in enumerate(store.execute(f"SELECT * FROM {table}"))
                }
            return rows[table]

        names = store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {name: sorted(read(name).values(), key=repr) for (name,) in names}


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    driver = Driver(tmp_path_factory.mktemp("logs"))
    yield driver
    driver.close()


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory, driver: Driver) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("workspace"), driver)


@pytest.fixture(scope="session")
def complete(workspace: Workspace) -> Result:
    """Result of a run without interruptions."""
    workspace.finish("complete")
    result = workspace.result("complete")
    assert len(result.files) > 100
    return result
