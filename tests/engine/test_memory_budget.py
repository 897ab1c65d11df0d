"""Memory budget: requests are granted in ticket order, within the limit, without deadlocks."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from grounded_sam2.engine.memory_budget import MemoryBudget, MemoryBudgetClosed


def test_a_blocked_request_is_granted_after_a_release():
    budget = MemoryBudget(100)
    budget.acquire(budget.ticket(), 60)
    budget.acquire(budget.ticket(), 40)
    blocked = threading.Thread(target=budget.acquire, args=(budget.ticket(), 50))
    blocked.start()
    budget.release(60)
    blocked.join(30)
    assert not blocked.is_alive()


def test_a_request_above_the_limit_is_granted_when_nothing_is_held():
    budget = MemoryBudget(100)
    budget.acquire(budget.ticket(), 1000)
    budget.release(1000)
    budget.acquire(budget.ticket(), 100)


def test_requests_are_granted_in_ticket_order():
    budget = MemoryBudget(10)
    order: list[int] = []

    def acquire_and_release(ticket: int) -> None:
        budget.acquire(ticket, 10)
        order.append(ticket)
        budget.release(10)

    tickets = [budget.ticket() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(acquire_and_release, reversed(tickets)))
    assert order == tickets


def test_a_skipped_ticket_blocks_no_later_one():
    budget = MemoryBudget(10)
    first, second, third = (budget.ticket() for _ in range(3))
    budget.skip(second)
    budget.acquire(first, 10)
    budget.release(10)
    budget.acquire(third, 10)


def test_closing_ends_blocked_and_later_requests():
    budget = MemoryBudget(10)
    budget.acquire(budget.ticket(), 10)
    with ThreadPoolExecutor(1) as pool:
        blocked = pool.submit(budget.acquire, budget.ticket(), 10)
        budget.close()
        with pytest.raises(MemoryBudgetClosed):
            blocked.result(30)
    with pytest.raises(MemoryBudgetClosed):
        budget.acquire(budget.ticket(), 0)
