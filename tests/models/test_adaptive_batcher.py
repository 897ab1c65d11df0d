"""Batches that do not fit into memory are halved; rows keep their order; the size is kept."""

from __future__ import annotations

import pytest
import torch

from grounded_sam2.errors import OutOfMemoryError
from grounded_sam2.models.adaptive_batcher import AdaptiveBatcher
from grounded_sam2.models.devices import batch_size_for, memory_errors


class Device:
    """A device with memory for a number of rows."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.batch_sizes: list[int] = []

    def process(self, batch: slice) -> list[int]:
        rows = list(range(batch.start, batch.stop))
        self.batch_sizes.append(len(rows))
        if len(rows) > self.capacity:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return rows


@pytest.mark.parametrize(
    ("rows", "batch_size", "capacity", "batch_sizes"),
    [
        (0, 4, 9, []),
        (3, 4, 9, [3]),
        (10, 4, 9, [4, 4, 2]),
        (10, 8, 3, [8, 4, 2, 2, 2, 2, 2]),
        (3, 64, 1, [3, 1, 1, 1]),
    ],
)
def test_all_rows_are_processed_in_order(rows, batch_size, capacity, batch_sizes):
    device = Device(capacity)
    results = AdaptiveBatcher(batch_size).map(rows, device.process)
    assert [row for batch in results for row in batch] == list(range(rows))
    assert device.batch_sizes == batch_sizes


def test_a_reduced_batch_size_is_kept():
    batcher, device = AdaptiveBatcher(8), Device(capacity=4)
    batcher.map(8, device.process)
    device.batch_sizes.clear()
    batcher.map(8, device.process)
    assert device.batch_sizes == [4, 4]


def test_one_row_that_does_not_fit_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        AdaptiveBatcher(8).map(2, Device(capacity=0).process)


def test_out_of_memory_errors_name_the_settings_to_lower():
    message = r"detector: not enough GPU.*runtime\.batch_size"
    with pytest.raises(OutOfMemoryError, match=message), memory_errors("detector"):
        raise torch.OutOfMemoryError("CUDA out of memory")
    message = "segmenter: not enough memory"
    with pytest.raises(OutOfMemoryError, match=message), memory_errors("segmenter"):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")
    with pytest.raises(RuntimeError, match="shapes"), memory_errors("detector"):
        raise RuntimeError("shapes do not match")


def test_the_batch_size_of_a_cpu_is_eight():
    assert batch_size_for(torch.device("cpu")) == 8


@pytest.mark.parametrize(
    ("free_gib", "images"), [(1, 4), (6, 4), (8, 8), (23, 16), (79, 64), (140, 64)]
)
def test_the_batch_size_of_a_gpu_is_one_image_per_free_gib(monkeypatch, free_gib, images):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free_gib << 30, 0))
    assert batch_size_for(torch.device("cuda")) == images
