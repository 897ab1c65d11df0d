"""Several processes produce the output of one process."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import Executor, Future
from functools import partial
from importlib import import_module
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters import ExportOptions, default_workers, export, mask_conversion
from grounded_sam2.exporters.mask_conversion import mask_stats
from grounded_sam2.exporters.worker_pool import map_in_order, spawn_workers
from grounded_sam2.geometry.rle import Rle, encode


def groups(number: int) -> list[list[Rle]]:
    """Groups of three masks, with areas 1, 2, 3 …"""
    areas = iter(range(1, 3 * number + 1))
    return [
        [encode(np.arange(400).reshape(20, 20) < next(areas))[0] for _ in range(3)]
        for _ in range(number)
    ]


@pytest.fixture
def jobs(monkeypatch):
    """The module with jobs for worker processes, on their search path."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return import_module("worker_jobs")


def running_workers(number: int) -> Executor:
    """Worker processes that are already running."""
    executor = spawn_workers(number)
    executor.submit(os.getpid).result()
    submit = executor.submit

    def submit_and_wait_for_start(function, /, *arguments):
        future = submit(function, *arguments)
        if not arguments:  # the job by which the pool learns that a process has started
            future.result()
        return future

    executor.submit = submit_and_wait_for_start
    return executor


class NeverStarting(Executor):
    """An executor whose processes never start."""

    def submit(self, function, /, *arguments):
        assert not arguments, "no process is ready for work"
        return Future()


def no_workers(number: int) -> Executor:
    raise AssertionError(f"{number} processes were started")


parallel = partial(map_in_order, masks_before_start=0, make_executor=running_workers)


@pytest.mark.slow
def test_two_processes_write_the_files_of_one(rich, files, monkeypatch):
    monkeypatch.setattr(mask_conversion, "map_in_order", parallel)
    written = []
    for workers in (1, 2):
        folder = rich.folder / f"yolo-{workers}"
        export("yolo", rich.store, folder, ExportOptions(workers=workers))
        written.append(files(folder))
    assert written[0] == written[1]


@pytest.mark.parametrize("segmentation", ["rle", "polygons"])
@pytest.mark.parametrize("format_name", ["yolo", "coco", "cvat", "labelstudio"])
def test_the_mask_converters_of_formats_can_be_pickled(
    rich, monkeypatch, format_name, segmentation
):
    requested = []

    def in_this_process(groups, convert, workers):
        requested.append(workers)
        return (pickle.loads(pickle.dumps(convert))(group) for group in groups)

    monkeypatch.setattr(mask_conversion, "map_in_order", in_this_process)
    options = ExportOptions(segmentation=segmentation, workers=3)
    export(format_name, rich.store, rich.folder / format_name, options)
    assert requested == [1 if (format_name, segmentation) == ("coco", "rle") else 3]


@pytest.mark.slow
def test_results_of_both_processes_are_in_order_and_few_groups_are_read_ahead(jobs):
    read = 0

    def counted():
        nonlocal read
        for group in groups(60):
            read += 1
            yield group

    results = parallel(counted(), jobs.process_ids_and_areas, 2, groups_ahead=8)
    first = next(results)
    assert read <= 2 * 8 + 1
    everything = [each for group in [first, *results] for each in group]
    assert [area for _, area in everything] == list(range(1, 181))
    assert len({process for process, _ in everything} - {os.getpid()}) == 1


def test_this_process_converts_masks_until_others_have_started(jobs):
    results = map_in_order(
        iter(groups(5)),
        jobs.process_ids_and_areas,
        2,
        masks_before_start=0,
        make_executor=lambda _: NeverStarting(),
    )
    assert [process for group in results for process, _ in group] == [os.getpid()] * 15


def test_small_exports_start_no_process():
    results = map_in_order(iter(groups(4)), mask_stats, 8, make_executor=no_workers)
    assert len(list(results)) == 4


@pytest.mark.slow
def test_a_killed_process_is_an_error(jobs):
    with pytest.raises(ExportError, match="export with fewer workers"):
        list(parallel(cycle(groups(2)), jobs.exit_in_workers, 2))


def test_the_number_of_workers_is_at_least_one():
    assert default_workers() >= 1
    with pytest.raises(ExportError, match="workers 0: must be 1 or more"):
        ExportOptions(workers=0)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_worker_processes_exit_when_their_parent_is_killed():
    script = Path(__file__).with_name("worker_jobs.py")
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE) as parent:
        try:
            # Returns when the last process that holds the other end of the pipe has exited.
            output, _ = parent.communicate(timeout=120)
        finally:
            parent.kill()
    assert (output, parent.returncode) == (b"started\n", -signal.SIGKILL)
