"""Runs that are killed at any moment, and continued by the same command: nothing is lost."""

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

Spans: TypeAlias = list[tuple[int, int]]


@pytest.fixture(scope="module")
def calls(place: Any) -> Spans:
    """When an undisturbed run labels and exports, in calls of functions."""
    report = place.root / "calls.json"
    assert place.run("counted", calls=str(report)).code == 0
    return spans(*json.loads(report.read_text()))


@pytest.fixture(scope="module")
def steps(place: Any) -> Spans:
    """When an undisturbed run labels and exports, in things that are done to files."""
    trace = place.root / "steps"
    assert place.run("traced", trace=str(trace)).code == 0
    before, _, later = trace.read_text().partition("i")
    labeling, _, after = later.rpartition("i")
    first, last = before.count("f"), (before + labeling).count("f")
    return spans(first, last, last + after.count("f"))


def spans(first: int, last: int, end: int) -> Spans:
    """One kill before anything is labeled, two meanwhile, two at any time until all is exported."""
    return [(1, first), (first, last), (first, last), (first, end), (last, end)]


def stage_of(place: Any, out: str) -> str:
    """How far a killed run has come; looks at a copy, so that the next run finds what it left."""
    if not (place.root / out / "labels.db").exists():
        return "no store"
    path = place.copy_of_store(out, "looked at")
    with closing(sqlite3.connect(path)) as store:
        assert store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if not store.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return "no tables"
        statuses = [status for (status,) in store.execute("SELECT status FROM items")]
    if "pending" in statuses:
        return "labeling" if len({*statuses}) > 1 else "nothing labeled"
    return "exporting" if statuses else "nothing labeled"


def test_killed_while_the_store_is_made(place: Any, whole: Any) -> None:
    """At every single statement of the set-up, and at some of those that note the images."""
    stages: list[str] = []
    number = 1
    while "labeling" not in stages and place.run("begun", die_at_sql=number).code:
        stages.append(stage_of(place, "begun"))
        number += 1 + number // 16 * 5
    assert {"no tables", "nothing labeled", "labeling"} <= {*stages}
    place.finish("begun")
    assert place.result("begun") == whole


def test_killed_between_any_two_calls(place: Any, whole: Any, calls: Spans) -> None:
    """The process kills itself, at a call that was drawn."""
    stages: list[str] = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        out = f"killed {seed}"
        for span in calls:
            process = place.run(out, die=int(rng.integers(*span)))
            assert process.code in (-signal.SIGKILL, 0), process.text
            if process.code:
                stages.append(stage_of(place, out))
        place.finish(out)
        assert place.result(out) == whole, f"seed {seed}"
    assert len(stages) >= 6
    assert "exporting" in stages


def test_killed_within_a_call(place: Any, whole: Any, steps: Spans) -> None:
    """The process is killed from outside, such as while SQLite writes, at or soon after a step
    that was drawn."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        out = f"killed from outside {seed}"
        for span in steps:
            process = place.start(out, gate=("file", int(rng.integers(*span))))
            process.open_gate()
            for _ in range(rng.integers(0, 20_000)):
                pass
            process.send(signal.SIGKILL)
            assert process.wait() in (-signal.SIGKILL, 0), process.text
        place.finish(out)
        assert place.result(out) == whole, f"seed {seed}"
