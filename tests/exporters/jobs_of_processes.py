"""What other processes are asked to do in tests; in a module that they can import."""

from __future__ import annotations

import os
from multiprocessing import parent_process

from grounded_sam2.exporters.shapes import measures


def processes_and_areas(masks):
    return [(os.getpid(), mask.area) for mask in masks]


def die_elsewhere(masks):
    if parent_process() is not None:
        os._exit(1)
    return measures(masks)
