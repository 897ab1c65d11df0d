"""The budget: in order, never more than the limit but for one, and nobody waits for ever."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from grounded_sam2.engine.memory_budget import MemoryBudget, MemoryBudgetClosed


def test_room_is_taken_and_given_back():
    budget = MemoryBudget(100)
    budget.acquire(budget.ticket(), 60)
    budget.acquire(budget.ticket(), 40)
    waiting = threading.Thread(target=budget.acquire, args=(budget.ticket(), 50))
    waiting.start()
    budget.release(60)
    waiting.join(30)
    assert not waiting.is_alive()


def test_something_larger_than_all_gets_room_when_there_is_nothing_else():
    budget = MemoryBudget(100)
    budget.acquire(budget.ticket(), 1000)
    budget.release(1000)
    budget.acquire(budget.ticket(), 100)


def test_the_order_of_the_tickets_is_kept_whoever_comes_first():
    budget = MemoryBudget(10)
    order: list[int] = []

    def take(ticket: int) -> None:
        budget.acquire(ticket, 10)
        order.append(ticket)
        budget.release(10)

    tickets = [budget.ticket() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(take, reversed(tickets)))
    assert order == tickets


def test_who_needs_nothing_holds_nobody_up():
    budget = MemoryBudget(10)
    first, second, third = (budget.ticket() for _ in range(3))
    budget.skip(second)
    budget.acquire(first, 10)
    budget.release(10)
    budget.acquire(third, 10)


def test_closing_sends_everybody_away():
    budget = MemoryBudget(10)
    budget.acquire(budget.ticket(), 10)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(budget.acquire, budget.ticket(), 10)
        budget.close()
        with pytest.raises(MemoryBudgetClosed):
            waiting.result(30)
    with pytest.raises(MemoryBudgetClosed):
        budget.acquire(budget.ticket(), 0)
