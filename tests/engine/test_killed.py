"""Killed runs: the same command continues them, at whatever moment they were killed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from contextlib import closing
from typing import Any, TypeAlias

import numpy as np
import pytest

pytestmark = pytest.mark.slow

if os.name != "posix":
    pytest.skip("kills processes by signals", allow_module_level=True)

Intervals: TypeAlias = list[tuple[int, int]]


@pytest.fixture(scope="module")
def calls(workspace: Any) -> Intervals:
    """Intervals of a complete run to kill it in, counted in function calls."""
    report = workspace.root / "calls.json"
    assert workspace.run("counted", calls=str(report)).code == 0
    return intervals(*json.loads(report.read_text()))


@pytest.fixture(scope="module")
def steps(workspace: Any) -> Intervals:
    """Intervals of a complete run to kill it in, counted in file operations."""
    trace = workspace.root / "steps"
    assert workspace.run("traced", trace=str(trace)).code == 0
    before, _, later = trace.read_text().partition("i")
    labeling, _, after = later.rpartition("i")
    first, last = before.count("f"), (before + labeling).count("f")
    return intervals(first, last, last + after.count("f"))


def intervals(first: int, last: int, end: int) -> Intervals:
    """Five intervals: before the first image, twice labeling, until the end, and exporting."""
    return [(1, first), (first, last), (first, last), (first, end), (last, end)]


def stage_of(workspace: Any, out: str) -> str:
    """The stage that a killed run had reached, read from a copy of its store."""
    if not (workspace.root / out / "labels.db").exists():
        return "no store"
    path = workspace.copy_of_store(out, "examined")
    with closing(sqlite3.connect(path)) as store:
        assert store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if not store.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return "no tables"
        statuses = [status for (status,) in store.execute("SELECT status FROM items")]
    if "pending" in statuses:
        return "labeling" if len({*statuses}) > 1 else "nothing labeled"
    return "exporting" if statuses else "nothing labeled"


def test_killed_while_the_store_is_created(workspace: Any, complete: Any) -> None:
    """At every SQL statement of the setup, and at some of those that register the images."""
    stages: list[str] = []
    number = 1
    while "labeling" not in stages and workspace.run("begun", die_at_sql=number).code:
        stages.append(stage_of(workspace, "begun"))
        number += 1 + number // 16 * 5
    assert {"no tables", "nothing labeled", "labeling"} <= {*stages}
    workspace.finish("begun")
    assert workspace.result("begun") == complete


def test_killed_at_a_function_call(workspace: Any, complete: Any, calls: Intervals) -> None:
    """The process kills itself at a randomly drawn function call."""
    stages: list[str] = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        out = f"killed {seed}"
        for interval in calls:
            process = workspace.run(out, die=int(rng.integers(*interval)))
            assert process.code in (-signal.SIGKILL, 0), process.text
            if process.code:
                stages.append(stage_of(workspace, out))
        workspace.finish(out)
        assert workspace.result(out) == complete, f"seed {seed}"
    assert len(stages) >= 6
    assert "exporting" in stages


def test_killed_from_outside(workspace: Any, complete: Any, steps: Intervals) -> None:
    """The process is killed from outside at or soon after a randomly drawn file operation, such as
    while SQLite writes."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        out = f"killed from outside {seed}"
        for interval in steps:
            process = workspace.start(out, gate=("file", int(rng.integers(*interval))))
            process.open_gate()
            for _ in range(rng.integers(0, 20_000)):
                pass
            process.send(signal.SIGKILL)
            assert process.wait() in (-signal.SIGKILL, 0), process.text
        workspace.finish(out)
        assert workspace.result(out) == complete, f"seed {seed}"
