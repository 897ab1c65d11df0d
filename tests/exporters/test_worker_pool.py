"""Several processes write what one writes."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from importlib import import_module
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters import ExportOptions, export, mask_conversion, worker_pool
from grounded_sam2.exporters.mask_conversion import mask_stats
from grounded_sam2.exporters.worker_pool import default_workers, map_in_order
from grounded_sam2.geometry.rle import Rle, encode


def groups(number: int) -> list[list[Rle]]:
    """Groups of masks, each mask of another area."""
    areas = iter(range(1, 3 * number + 1))
    return [
        [encode(np.arange(400).reshape(20, 20) < next(areas))[0] for _ in range(3)]
        for _ in range(number)
    ]


@pytest.fixture
def jobs(monkeypatch):
    """The module of what processes are asked to do, where they find it."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return import_module("worker_jobs")


@pytest.fixture
def at_once(monkeypatch):
    """Start the other processes with the first mask, and wait for them."""
    monkeypatch.setattr(worker_pool, "_FIRST_MASKS", 0)
    monkeypatch.setattr(
        worker_pool, "_started", lambda starting: [each.result() for each in starting] != []
    )


def test_what_is_written_is_the_same(rich, files, at_once):
    written = []
    for number in (1, 2):
        folder = rich.folder / f"yolo-{number}"
        export("yolo", rich.store, folder, ExportOptions(workers=number))
        written.append(files(folder))
    assert written[0] == written[1]


@pytest.mark.parametrize("segmentation", ["rle", "polygons"])
@pytest.mark.parametrize("format_name", ["yolo", "coco", "cvat", "labelstudio"])
def test_what_formats_ask_of_masks_can_be_sent_to_a_process(
    rich, monkeypatch, format_name, segmentation
):
    sent = []

    def in_this_process(groups, shapes_of, workers):
        sent.append(workers)
        return (pickle.loads(pickle.dumps(shapes_of))(group) for group in groups)

    monkeypatch.setattr(mask_conversion, "map_in_order", in_this_process)
    options = ExportOptions(segmentation=segmentation, workers=3)
    export(format_name, rich.store, rich.folder / format_name, options)
    assert sent == [1 if (format_name, segmentation) == ("coco", "rle") else 3]


def test_groups_come_in_order_whoever_looks_at_them_and_few_are_taken_ahead(at_once, jobs):
    taken = 0

    def counted():
        nonlocal taken
        for group in groups(60):
            taken += 1
            yield group

    found = map_in_order(counted(), jobs.processes_and_areas, 2)
    first = next(found)
    assert taken <= 2 * worker_pool._GROUPS_AHEAD + 1
    everything = [each for group in [first, *found] for each in group]
    assert [area for _, area in everything] == list(range(1, 181))
    assert len({process for process, _ in everything} - {os.getpid()}) == 1


def test_until_others_have_started_this_process_does_it(monkeypatch, jobs):
    monkeypatch.setattr(worker_pool, "_FIRST_MASKS", 0)
    monkeypatch.setattr(worker_pool, "_started", lambda starting: False)
    found = list(map_in_order(iter(groups(5)), jobs.processes_and_areas, 2))
    assert [process for group in found for process, _ in group] == [os.getpid()] * 15


def test_small_exports_start_no_process(monkeypatch):
    monkeypatch.setattr(worker_pool, "ProcessPoolExecutor", None)
    assert len(list(map_in_order(iter(groups(4)), mask_stats, 8))) == 4


def test_a_process_that_was_ended_is_an_error(at_once, jobs):
    with pytest.raises(ExportError, match="export with fewer workers"):
        list(map_in_order(cycle(groups(2)), jobs.die_elsewhere, 2))


def test_the_number_of_workers_is_checked():
    assert default_workers() >= 1
    with pytest.raises(ExportError, match="workers 0: must be 1 or more"):
        ExportOptions(workers=0)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no process can be killed so")
def test_processes_end_with_the_one_that_was_killed():
    script = Path(__file__).with_name("worker_jobs.py")
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE) as killed:
        try:
            # Ends when the last process that holds the other end of the pipe has ended.
            told, _ = killed.communicate(timeout=120)
        finally:
            killed.kill()
    assert (told, killed.returncode) == (b"started\n", -signal.SIGKILL)
