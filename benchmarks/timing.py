"""Interleaved timing, operation counts, and the printed table of the benchmarks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["Timed", "count_flops", "interleave", "print_rows"]


@dataclass(frozen=True, slots=True)
class Timed:
    """Times of one implementation, in seconds."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half of the interquartile range, as a share of the median."""
        if len(self.seconds) < 4:
            return (max(self.seconds) - min(self.seconds)) / 2 / self.median
        low, _, high = statistics.quantiles(self.seconds, n=4)
        return (high - low) / 2 / self.median


def interleave(
    implementations: Mapping[str, Callable[[], object]], repeats: int, warm_up: int = 1
) -> dict[str, Timed]:
    """Run implementations in turns; the GPU is synchronized before each reading of the clock."""
    times: dict[str, list[float]] = {name: [] for name in implementations}
    for turn in range(warm_up + repeats):
        for name, run in implementations.items():
            _synchronize()
            start = time.perf_counter()
            run()
            _synchronize()
            if turn >= warm_up:
                times[name].append(time.perf_counter() - start)
    return {name: Timed(tuple(seconds)) for name, seconds in times.items()}


def count_flops(run: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products and convolutions in one call."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def print_rows(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a small table."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
