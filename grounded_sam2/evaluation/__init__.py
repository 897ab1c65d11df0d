"""Two runs of one store, side by side: what they agree on, and both in one.

A run may be a model's, with other words or weights, or an import of labels that people have made.
"""

from __future__ import annotations

from grounded_sam2.evaluation.comparison import ClassComparison, RunComparison, compare_runs
from grounded_sam2.evaluation.merge import merge_runs

__all__ = ["ClassComparison", "RunComparison", "compare_runs", "merge_runs"]
