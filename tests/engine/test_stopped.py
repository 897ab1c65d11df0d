"""Ctrl-C and the signals of shutdowns: what is half done is finished or undone, never kept."""

from __future__ import annotations

import os
import re
import signal
from typing import Any

import pytest

pytestmark = pytest.mark.slow

if os.name != "posix":
    pytest.skip("stops processes by signals", allow_module_level=True)


def test_ctrl_c_finishes_the_batch_and_says_how_to_continue(place: Any, whole: Any) -> None:
    process = place.run("stopped", signal=(20, [signal.SIGINT]))
    assert process.code == 130
    (said,) = process.text.splitlines()
    counts = re.search(r"stopped after (\d+) of (\d+) images; run the same command again", said)
    assert counts, said
    settled, images = int(counts[1]), int(counts[2])
    assert 20 <= settled < images == place.image_count
    assert settled % place.batch == 0
    assert place.settled("stopped") == settled
    place.finish("stopped")
    assert place.result("stopped") == whole


def test_a_second_ctrl_c_waits_for_nothing(place: Any, whole: Any) -> None:
    """Neither for the batch, nor at the end of the process."""
    process = place.run("stopped twice", impatient=20)
    assert process.code == 130
    (said,) = process.text.splitlines()
    assert "run the same command again" in said
    assert 0 < place.settled("stopped twice") < 20
    place.finish("stopped twice")
    assert place.result("stopped twice") == whole


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_shutdown_loses_nothing(place: Any, whole: Any, number: int) -> None:
    process = place.run(f"shut down {number}", signal=(20, [number]))
    assert process.code in (-number, 128 + number, 130)
    place.finish(f"shut down {number}")
    assert place.result(f"shut down {number}") == whole


@pytest.fixture(scope="module")
def while_exporting(place: Any, whole: Any) -> Any:
    """A run that was stopped when it copied an image into the second dataset."""
    process = place.run("exporting", on_open=("*/coco/*/noise.png", 1, "kill -INT $PPID"))
    assert process.code == 130, process.text
    return process


def test_ctrl_c_while_a_dataset_is_written(place: Any, whole: Any, while_exporting: Any) -> None:
    assert place.settled("exporting") == place.image_count
    folder = place.root / "exporting"
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {name for name in whole.files if name.startswith("yolo/")} < there
    assert not [name for name in there if name.startswith("coco/")]
    place.finish("exporting")
    assert place.result("exporting") == whole


def test_ctrl_c_while_a_dataset_is_written_says_how_to_continue(while_exporting: Any) -> None:
    assert "run the same command again" in while_exporting.text
