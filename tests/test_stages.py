"""Stages: in order, at the same time, bounded, and honest about who was at work."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from grounded_sam2.stages import Occupancy, Stages, StageTime


def items(values):
    return [partial(lambda value: value, value) for value in values]


def staged(functions, *, in_flight=4):
    occupancy = Occupancy(dict.fromkeys(functions, 1))
    return Stages(functions, in_flight=in_flight, occupancy=occupancy)


def test_results_come_in_the_order_of_the_items():
    with staged({"double": lambda x: 2 * x, "name": str}) as stages:
        assert list(stages.run(items(range(20)))) == [str(2 * x) for x in range(20)]


def test_no_items_give_no_results():
    with staged({"only": str}) as stages:
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

    with staged({"first": first, "second": second}) as stages:
        assert list(stages.run(items(range(3)))) == [0, 1, 2]


@pytest.mark.parametrize("in_flight", [1, 2, 5])
def test_only_so_many_items_are_on_their_way(in_flight):
    taken, done, most = 0, 0, 0

    def source():
        nonlocal taken, most
        for each in items(range(30)):
            taken += 1
            most = max(most, taken - done)
            yield each

    with staged({"one": lambda x: x, "two": lambda x: x}, in_flight=in_flight) as stages:
        for _ in stages.run(source()):
            done += 1
    assert done == 30
    assert most == in_flight


def test_an_error_is_raised_in_the_place_of_its_result():
    def fail_at_three(x):
        if x == 3:
            raise ValueError("three")
        return x

    with staged({"a": fail_at_three}) as stages:
        results = stages.run(items(range(6)))
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match="three"):
            next(results)


def test_after_stop_what_was_begun_ends_and_nothing_else_begins():
    begun = []
    stages = staged({"a": begun.append, "b": lambda x: x}, in_flight=3)
    with stages:
        results = stages.run(items(range(100)))
        next(results)
        stages.stop()
        rest = list(results)
    assert len(begun) == 1 + len(rest)
    assert len(begun) <= 4


def test_waiting_is_no_work():
    occupancy = Occupancy({"a": 1})
    ready = threading.Event()
    entered = threading.Event()

    def item():
        entered.set()
        assert ready.wait(30)
        return 1

    with Stages({"a": lambda x: x}, in_flight=1, occupancy=occupancy) as stages:
        runner = threading.Thread(target=lambda: list(stages.run([item])))
        runner.start()
        assert entered.wait(30)
        assert occupancy.times() == (StageTime("a", 0.0),)
        ready.set()
        runner.join()
    [time] = occupancy.times()
    assert time.seconds > 0


def test_the_share_counts_all_threads():
    assert StageTime("decode", seconds=4.0, threads=2).share(wall_seconds=4.0) == 0.5
    assert StageTime("decode", seconds=0.0).share(wall_seconds=0.0) == 0.0
