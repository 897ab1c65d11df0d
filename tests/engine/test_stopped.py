"""Ctrl-C and shutdown signals: batches are completed or rolled back, and the run continues."""

from __future__ import annotations

import os
import re
import signal
from typing import Any

import pytest

pytestmark = pytest.mark.slow

if os.name != "posix":
    pytest.skip("stops processes by signals", allow_module_level=True)


def test_ctrl_c_completes_the_batch_and_states_how_to_continue(
    workspace: Any, complete: Any
) -> None:
    process = workspace.run("stopped", signal=(20, [signal.SIGINT]))
    assert process.code == 130
    (message,) = process.text.splitlines()
    counts = re.search(r"stopped after (\d+) of (\d+) images; run the same command again", message)
    assert counts, message
    stored, images = int(counts[1]), int(counts[2])
    assert 20 <= stored < images == workspace.image_count
    assert stored % workspace.batch == 0
    assert workspace.processed_count("stopped") == stored
    workspace.finish("stopped")
    assert workspace.result("stopped") == complete


def test_a_second_ctrl_c_stops_at_once(workspace: Any, complete: Any) -> None:
    """It waits neither for the batch nor for threads at the end of the process."""
    process = workspace.run("stopped twice", impatient=20)
    assert process.code == 130
    (message,) = process.text.splitlines()
    assert "run the same command again" in message
    assert 0 < workspace.processed_count("stopped twice") < 20
    workspace.finish("stopped twice")
    assert workspace.result("stopped twice") == complete


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_continues_after_a_shutdown_signal(
    workspace: Any, complete: Any, number: int
) -> None:
    process = workspace.run(f"shut down {number}", signal=(20, [number]))
    assert process.code in (-number, 128 + number, 130)
    workspace.finish(f"shut down {number}")
    assert workspace.result(f"shut down {number}") == complete


@pytest.fixture(scope="module")
def interrupted_export(workspace: Any, complete: Any) -> Any:
    """A run that was interrupted while it copied an image into the second dataset."""
    process = workspace.run("exporting", on_open=("*/coco/*/noise.png", 1, "kill -INT $PPID"))
    assert process.code == 130, process.text
    return process


def test_ctrl_c_during_an_export_leaves_no_partial_dataset(
    workspace: Any, complete: Any, interrupted_export: Any
) -> None:
    assert workspace.processed_count("exporting") == workspace.image_count
    folder = workspace.root / "exporting"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {name for name in complete.files if name.startswith("yolo/")} < files
    assert not [name for name in files if name.startswith("coco/")]
    workspace.finish("exporting")
    assert workspace.result("exporting") == complete


def test_ctrl_c_during_an_export_states_how_to_continue(interrupted_export: Any) -> None:
    assert "run the same command again" in interrupted_export.text
