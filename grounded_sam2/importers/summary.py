"""What an import tells of itself: how much came in, and all that could not be read as it should."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from grounded_sam2.importers.dataset import DatasetProblem
from grounded_sam2.store import StoreSummary

__all__ = ["ImportSummary", "ProblemCounter", "ProblemSummary"]

_NAMED = 20


@dataclass(frozen=True, slots=True)
class ProblemSummary:
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
    problems: tuple[ProblemSummary, ...]
    """The most frequent first. Images that failed are not among them: the store has each with
    its reason (`grounded_sam2.store.LabelStore.failures`)."""

    @property
    def run_id(self) -> int:
        """The run that the import is."""
        return self.counts.run_id


class ProblemCounter:
    """Counts problems while an import goes, in memory that does not grow with their number."""

    def __init__(self) -> None:
        self._by_reason: dict[str, ProblemSummary] = {}

    def add(self, problems: Iterable[DatasetProblem], *, of: str = "") -> None:
        """Note problems, if any.

        Args:
            problems: what is wrong.
            of: the image that they belong to.
        """
        for problem in problems:
            known = self._by_reason.get(problem.reason, ProblemSummary(problem.reason, 0, ()))
            examples = known.examples
            if len(examples) < _NAMED:
                where = f"{problem.where} of {of}" if of else problem.where
                examples += (f"{where}: {problem.detail}" if problem.detail else where,)
            self._by_reason[problem.reason] = replace(
                known, count=known.count + 1, examples=examples
            )

    def sorted(self) -> tuple[ProblemSummary, ...]:
        """The most frequent first."""
        return tuple(sorted(self._by_reason.values(), key=lambda problem: -problem.count))
