"""Several processes write what one writes."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters import ExportOptions, export, shapes, workers
from grounded_sam2.exporters.shapes import measures
from grounded_sam2.exporters.workers import each_in_order, workers_that_pay
from grounded_sam2.geometry.rle import Rle, encode


def groups(number: int) -> list[list[Rle]]:
    """Groups of masks, each mask of another area."""
    areas = iter(range(1, 3 * number + 1))
    return [
        [encode(np.arange(100).reshape(10, 10) < next(areas))[0] for _ in range(3)]
        for _ in range(number)
    ]


def die(masks):
    os._exit(1)


@pytest.fixture
def at_once(monkeypatch):
    """Start the processes with the first mask."""
    monkeypatch.setattr(workers, "_FIRST_MASKS", 0)


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

    monkeypatch.setattr(shapes, "each_in_order", in_this_process)
    options = ExportOptions(segmentation=segmentation, workers=3)
    export(format_name, rich.store, rich.folder / format_name, options)
    assert sent == [1 if (format_name, segmentation) == ("coco", "rle") else 3]


def test_groups_come_in_order_and_few_are_taken_ahead(at_once):
    taken = 0

    def counted():
        nonlocal taken
        for group in groups(12):
            taken += 1
            yield group

    found = each_in_order(counted(), measures, 2)
    assert [measure.area for measure in next(found)] == [1, 2, 3]
    assert taken <= 6
    rest = [[measure.area for measure in group] for group in found]
    assert rest == [[n, n + 1, n + 2] for n in range(4, 36, 3)]


def test_small_exports_start_no_process(monkeypatch):
    monkeypatch.setattr(workers, "ProcessPoolExecutor", None)
    assert len(list(each_in_order(iter(groups(4)), measures, 8))) == 4


def test_a_process_that_was_ended_is_an_error(at_once):
    with pytest.raises(ExportError, match="export with fewer workers"):
        list(each_in_order(iter(groups(2)), die, 2))


def test_the_number_of_workers_is_checked():
    assert workers_that_pay() >= 1
    with pytest.raises(ExportError, match="workers 0: must be 1 or more"):
        ExportOptions(workers=0)
