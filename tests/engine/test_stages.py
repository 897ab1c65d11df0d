"""Stage pipeline: ordered results, concurrent stages, bounded items in flight, working times."""

from __future__ import annotations

import threading

import pytest

from grounded_sam2.engine.stages import StagePipeline, StageTime, StageTimer


def test_results_are_in_the_order_of_the_items():
    with StagePipeline({"double": lambda x: 2 * x, "name": str}, in_flight=4) as stages:
        assert list(stages.run(range(20))) == [str(2 * x) for x in range(20)]


def test_no_items_give_no_results():
    with StagePipeline({"only": str}, in_flight=4) as stages:
        assert list(stages.run([])) == []


def test_stages_run_concurrently():
    second_started = threading.Event()

    def first(x):
        if x == 1:  # ends only while the second stage processes the item before
            assert second_started.wait(30)
        return x

    def second(x):
        second_started.set()
        return x

    with StagePipeline({"first": first, "second": second}, in_flight=4) as stages:
        assert list(stages.run(range(3))) == [0, 1, 2]


@pytest.mark.parametrize("in_flight", [1, 2, 5])
def test_the_number_of_items_in_flight_is_bounded(in_flight):
    started, finished, peak = 0, 0, 0

    def source():
        nonlocal started, peak
        for each in range(30):
            started += 1
            peak = max(peak, started - finished)
            yield each

    with StagePipeline({"one": lambda x: x, "two": lambda x: x}, in_flight=in_flight) as stages:
        for _ in stages.run(source()):
            finished += 1
    assert finished == 30
    assert peak == in_flight


def test_an_error_is_raised_in_the_order_of_the_results():
    def fail_at_three(x):
        if x == 3:
            raise ValueError("three")
        return x

    with StagePipeline({"a": fail_at_three}, in_flight=4) as stages:
        results = stages.run(range(6))
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match="three"):
            next(results)


def test_after_stop_started_items_complete_and_no_item_starts():
    started_items = []
    stages = StagePipeline({"a": started_items.append, "b": lambda x: x}, in_flight=3)
    with stages:
        results = stages.run(range(100))
        next(results)
        stages.stop()
        rest = list(results)
    assert len(started_items) == 1 + len(rest)
    assert len(started_items) <= 4


def test_working_time_is_summed_per_stage():
    timer = StageTimer({"a": 2, "b": 1})
    with timer.measure("a"), timer.measure("b"):
        pass
    with pytest.raises(ValueError), timer.measure("b"):  # noqa: PT011  (any error)
        raise ValueError
    first, second = timer.times()
    assert (first.name, first.threads, second.name) == ("a", 2, "b")
    assert first.seconds > 0
    assert second.seconds > 0


def test_the_share_is_relative_to_all_threads():
    assert StageTime("decode", seconds=4.0, threads=2).share(wall_seconds=4.0) == 0.5
    assert StageTime("decode", seconds=0.0).share(wall_seconds=0.0) == 0.0
