"""What other processes are asked to do in tests; in a module that they can import."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process

from grounded_sam2.exporters.mask_conversion import mask_stats
from grounded_sam2.exporters.worker_pool import exit_with_parent


def processes_and_areas(masks):
    return [(os.getpid(), mask.area) for mask in masks]


def die_elsewhere(masks):
    if parent_process() is not None:
        os._exit(1)
    return mask_stats(masks)


def be_killed_with_workers() -> None:
    """Start two processes that hold our standard output, and be killed."""
    executor = ProcessPoolExecutor(2, get_context("spawn"), initializer=exit_with_parent)
    executor.submit(os.getpid).result()
    print("started", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    be_killed_with_workers()
