"""Two processes on one output folder: one writes, any number read."""

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
def test_the_second_stops_and_the_first_goes_on(
    place: Any, whole: Any, step: tuple[str, int]
) -> None:
    """Whether the first has just begun, looks at images or writes datasets."""
    out = f"two at {step}"
    first = place.start(out, gate=step)
    gate = first.wait_for_gate()
    second = place.run(out)
    assert second.code == 1
    assert second.text.count("\n") == 1
    assert "is being labeled by another process; wait until it ends" in second.text
    assert str(place.root / out) in second.text
    os.close(gate)
    assert first.wait() == 0, first.text
    assert place.result(out) == whole


def test_readers_see_one_state_while_images_are_labeled(place: Any, whole: Any) -> None:
    with LabelStore.open(place.root / "whole") as store:
        everything = dict(store.labels())
    writer = place.start("read")
    counts = []
    while writer.running():
        try:
            reader = LabelStore.open(place.root / "read")
        except StoreError:
            assert not counts  # no store, or no tables yet
            continue
        with reader as store, store.snapshot():
            if not store.runs():
                continue
            found, summary = dict(store.labels()), store.summary()
        assert found.items() <= everything.items()
        assert len(found) == summary.images
        assert sum(len(labels) for labels in found.values()) == summary.objects
        counts.append(summary.images + summary.failed)
    assert writer.code == 0, writer.text
    assert counts == sorted(counts)
    assert place.result("read") == whole


def test_commands_that_read_work_while_images_are_labeled(place: Any, whole: Any) -> None:
    writer = place.start("being labeled", gate=("image", 20))
    gate = writer.wait_for_gate()
    info = place.driver.start("info", place.root / "being labeled")
    assert info.wait() == 0, info.text
    assert "images to come" in info.text
    command = ("export", place.root / "being labeled", "--out", place.root / "early")
    export = place.driver.start(*command, "--format", "jsonl", "--split", "0.7/0.3/0")
    assert export.wait() == 0, export.text
    os.close(gate)
    assert writer.wait() == 0, writer.text
    assert place.result("being labeled") == whole
    early, late = (
        (place.root / folder / "jsonl" / "labels.jsonl").read_text().splitlines()
        for folder in ("early", "whole")
    )
    assert 0 < len(early) < len(late)
    assert {*early} < {*late}


@pytest.mark.parametrize("step", [60, 120, 180, 240])
def test_of_two_exports_one_stays(place: Any, whole: Any, step: int) -> None:
    """Which overtakes the other while it collects images or puts them in place."""
    out = f"exported twice, {step}"
    place.finish(out)
    command = ("export", place.root / out, "--format", "masks", "--split", "0.7/0.3/0")
    first = place.driver.start(*command, gate=("file", step))
    gate = first.wait_for_gate()
    second = place.driver.start(*command)
    second.wait()
    os.close(gate)
    assert sorted([first.wait(), second.wait()]) in ([0, 0], [0, 1])
    for process in (first, second):
        assert process.text.startswith("grounded-sam2: " if process.code else "masks: ")
    place.finish(out)
    assert place.result(out) == whole
