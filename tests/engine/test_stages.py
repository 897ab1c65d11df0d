"""StagePipeline: in order, at the same time, bounded, and honest about who was at work."""

from __future__ import annotations

import threading

import pytest

from grounded_sam2.engine.stages import StagePipeline, StageTime, StageTimer


def test_results_come_in_the_order_of_the_items():
    with StagePipeline({"double": lambda x: 2 * x, "name": str}, in_flight=4) as stages:
        assert list(stages.run(range(20))) == [str(2 * x) for x in range(20)]


def test_no_items_give_no_results():
    with StagePipeline({"only": str}, in_flight=4) as stages:
        assert list(stages.run([])) == []


def test_stages_work_at_the_same_time():
    second_has_begun = threading.Event()

    def first(x):
        if x == 1:  # ends only if the second stage is at work on the item before
            assert second_has_begun.wait(30)
        return x

    def second(x):
        second_has_begun.set()
        return x

    with StagePipeline({"first": first, "second": second}, in_flight=4) as stages:
        assert list(stages.run(range(3))) == [0, 1, 2]


@pytest.mark.parametrize("in_flight", [1, 2, 5])
def test_only_so_many_items_are_on_their_way(in_flight):
    taken, done, most = 0, 0, 0

    def source():
        nonlocal taken, most
        for each in range(30):
            taken += 1
            most = max(most, taken - done)
            yield each

    with StagePipeline({"one": lambda x: x, "two": lambda x: x}, in_flight=in_flight) as stages:
        for _ in stages.run(source()):
            done += 1
    assert done == 30
    assert most == in_flight


def test_an_error_is_raised_in_the_place_of_its_result():
    def fail_at_three(x):
        if x == 3:
            raise ValueError("three")
        return x

    with StagePipeline({"a": fail_at_three}, in_flight=4) as stages:
        results = stages.run(range(6))
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match="three"):
            next(results)


def test_after_stop_what_was_begun_ends_and_nothing_else_begins():
    begun = []
    stages = StagePipeline({"a": begun.append, "b": lambda x: x}, in_flight=3)
    with stages:
        results = stages.run(range(100))
        next(results)
        stages.stop()
        rest = list(results)
    assert len(begun) == 1 + len(rest)
    assert len(begun) <= 4


def test_the_time_at_work_is_added_up_stage_by_stage():
    occupancy = StageTimer({"a": 2, "b": 1})
    with occupancy.measure("a"), occupancy.measure("b"):
        pass
    with pytest.raises(ValueError), occupancy.measure("b"):  # noqa: PT011  (any will do)
        raise ValueError
    first, second = occupancy.times()
    assert (first.name, first.threads, second.name) == ("a", 2, "b")
    assert first.seconds > 0
    assert second.seconds > 0


def test_the_share_counts_all_threads():
    assert StageTime("decode", seconds=4.0, threads=2).share(wall_seconds=4.0) == 0.5
    assert StageTime("decode", seconds=0.0).share(wall_seconds=0.0) == 0.0
