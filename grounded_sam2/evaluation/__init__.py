"""Comparison and merging of two runs of one label store.

A run may be that of a model, with other captions or weights, or an import of human labels.
"""

from __future__ import annotations

from grounded_sam2.evaluation.comparison import ClassComparison, RunComparison, compare_runs
from grounded_sam2.evaluation.merge import merge_runs

__all__ = ["ClassComparison", "RunComparison", "compare_runs", "merge_runs"]
