"""AdaptiveBatcher: what does not fit into memory is halved, in order, and remembered."""

from __future__ import annotations

import pytest
import torch

from grounded_sam2.errors import OutOfMemoryError
from grounded_sam2.models.adaptive_batcher import AdaptiveBatcher
from grounded_sam2.models.devices import batch_size_for, memory_errors


class Device:
    """Has memory for so many rows."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.tried: list[int] = []

    def work(self, portion: slice) -> list[int]:
        rows = list(range(portion.start, portion.stop))
        self.tried.append(len(rows))
        if len(rows) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return rows


@pytest.mark.parametrize(
    ("rows", "most", "room", "tried"),
    [
        (0, 4, 9, []),
        (3, 4, 9, [3]),
        (10, 4, 9, [4, 4, 2]),
        (10, 8, 3, [8, 4, 2, 2, 2, 2, 2]),
        (3, 64, 1, [3, 1, 1, 1]),
    ],
)
def test_all_rows_are_done_in_order_whatever_fits(rows, most, room, tried):
    device = Device(room)
    done = AdaptiveBatcher(most).map(rows, device.work)
    assert [row for part in done for row in part] == list(range(rows))
    assert device.tried == tried


def test_what_was_enough_is_remembered():
    portions, device = AdaptiveBatcher(8), Device(room=4)
    portions.map(8, device.work)
    device.tried.clear()
    portions.map(8, device.work)
    assert device.tried == [4, 4]


def test_one_row_that_is_too_much_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        AdaptiveBatcher(8).map(2, Device(room=0).work)


def test_want_of_memory_is_told_with_what_to_lower():
    wanted = r"detector: not enough GPU.*runtime\.batch_size"
    with pytest.raises(OutOfMemoryError, match=wanted), memory_errors("detector"):
        raise torch.OutOfMemoryError("CUDA out of memory")
    wanted = "segmenter: not enough memory"
    with pytest.raises(OutOfMemoryError, match=wanted), memory_errors("segmenter"):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")
    with pytest.raises(RuntimeError, match="shapes"), memory_errors("detector"):
        raise RuntimeError("shapes do not match")


def test_a_cpu_takes_eight_images():
    assert batch_size_for(torch.device("cpu")) == 8


@pytest.mark.parametrize(
    ("free_gib", "images"), [(1, 4), (6, 4), (8, 8), (23, 16), (79, 64), (140, 64)]
)
def test_a_gpu_takes_an_image_for_each_free_gib(monkeypatch, free_gib, images):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free_gib << 30, 0))
    assert batch_size_for(torch.device("cuda")) == images
