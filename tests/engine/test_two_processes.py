"""Concurrent processes on one output folder: a single writer, any number of readers."""

from __future__ import annotations

import os
from typing import Any

import pytest

from grounded_sam2.errors import StoreError
from grounded_sam2.store import LabelStore

pytestmark = pytest.mark.slow

if os.name != "posix":
    pytest.skip("lets processes wait at named pipes", allow_module_level=True)


@pytest.mark.parametrize("step", [("file", 60), ("image", 1), ("image", 20), ("file", 800)])
def test_a_second_writer_fails_and_the_first_completes(
    workspace: Any, complete: Any, step: tuple[str, int]
) -> None:
    """The first process has just begun, runs inference, or exports datasets."""
    out = f"two at {step}"
    first = workspace.start(out, gate=step)
    gate = first.wait_for_gate()
    second = workspace.run(out)
    assert second.code == 1
    assert second.text.count("\n") == 1
    assert "is being labeled by another process; wait until it ends" in second.text
    assert str(workspace.root / out) in second.text
    os.close(gate)
    assert first.wait() == 0, first.text
    assert workspace.result(out) == complete


def test_a_snapshot_is_consistent_while_images_are_labeled(workspace: Any, complete: Any) -> None:
    with LabelStore.open(workspace.root / "complete") as store:
        all_labels = dict(store.labels())
    writer = workspace.start("read")
    counts = []
    while writer.running():
        try:
            reader = LabelStore.open(workspace.root / "read")
        except StoreError:
            assert not counts  # no store, or no tables yet
            continue
        with reader as store, store.snapshot():
            if not store.runs():
                continue
            found, summary = dict(store.labels()), store.summary()
        assert found.items() <= all_labels.items()
        assert len(found) == summary.images
        assert sum(len(labels) for labels in found.values()) == summary.objects
        counts.append(summary.images + summary.failed)
    assert writer.code == 0, writer.text
    assert counts == sorted(counts)
    assert workspace.result("read") == complete


def test_info_and_export_work_while_images_are_labeled(workspace: Any, complete: Any) -> None:
    writer = workspace.start("being labeled", gate=("image", 20))
    gate = writer.wait_for_gate()
    info = workspace.driver.start("info", workspace.root / "being labeled")
    assert info.wait() == 0, info.text
    assert "images to come" in info.text
    command = ("export", workspace.root / "being labeled", "--out", workspace.root / "early")
    export = workspace.driver.start(*command, "--format", "jsonl", "--split", "0.7/0.3/0")
    assert export.wait() == 0, export.text
    os.close(gate)
    assert writer.wait() == 0, writer.text
    assert workspace.result("being labeled") == complete
    early, late = (
        (workspace.root / folder / "jsonl" / "labels.jsonl").read_text().splitlines()
        for folder in ("early", "complete")
    )
    assert 0 < len(early) < len(late)
    assert {*early} < {*late}


@pytest.mark.parametrize("step", [60, 120, 180, 240])
def test_two_concurrent_exports_leave_one_complete_dataset(
    workspace: Any, complete: Any, step: int
) -> None:
    """The second export overtakes the first one while that stages images or replaces folders."""
    out = f"exported twice, {step}"
    workspace.finish(out)
    command = ("export", workspace.root / out, "--format", "masks", "--split", "0.7/0.3/0")
    first = workspace.driver.start(*command, gate=("file", step))
    gate = first.wait_for_gate()
    second = workspace.driver.start(*command)
    second.wait()
    os.close(gate)
    assert sorted([first.wait(), second.wait()]) in ([0, 0], [0, 1])
    for process in (first, second):
        assert process.text.startswith("grounded-sam2: " if process.code else "masks: ")
    workspace.finish(out)
    assert workspace.result(out) == complete
