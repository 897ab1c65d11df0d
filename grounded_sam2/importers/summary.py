"""What an import tells of itself: how much came in, and all that could not be read as it should."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from grounded_sam2.importers.records import Trouble
from grounded_sam2.store import StoreSummary

__all__ = ["ImportSummary", "Problem", "Problems"]

_NAMED = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """Annotations, rows or files with the same thing wrong."""

    reason: str
    """What is wrong, and what was done about it."""
    count: int
    examples: tuple[str, ...]
    """The first 20, each by name and with what is special about it."""


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What one call of `grounded_sam2.importers.import_labels` did."""

    format: str
    counts: StoreSummary
    """Of the run that the import is."""
    problems: tuple[Problem, ...]
    """The most frequent first. Images that failed are not among them: the store has each with
    its reason (`grounded_sam2.store.LabelStore.failures`)."""

    @property
    def run_id(self) -> int:
        """The run that the import is."""
        return self.counts.run_id


class Problems:
    """Counts troubles while an import goes, in memory that does not grow with their number."""

    def __init__(self) -> None:
        self._by_reason: dict[str, Problem] = {}

    def add(self, troubles: Iterable[Trouble], *, of: str = "") -> None:
        """Note troubles, if any.

        Args:
            troubles: what is wrong.
            of: the image that they belong to.
        """
        for trouble in troubles:
            known = self._by_reason.get(trouble.reason, Problem(trouble.reason, 0, ()))
            examples = known.examples
            if len(examples) < _NAMED:
                where = f"{trouble.where} of {of}" if of else trouble.where
                examples += (f"{where}: {trouble.detail}" if trouble.detail else where,)
            self._by_reason[trouble.reason] = replace(
                known, count=known.count + 1, examples=examples
            )

    def sorted(self) -> tuple[Problem, ...]:
        """The most frequent first."""
        return tuple(sorted(self._by_reason.values(), key=lambda problem: -problem.count))
