"""Existing labels read into a label store, one file of this folder per format.

    summary = import_labels("coco/", "labeled")

An import is a run of its own beside those of models, so that labels of people and of models can be
exported, compared and merged. It needs no model, and holds the labels of a few images in memory.
"""

from __future__ import annotations

from grounded_sam2.importers.label_import import IMPORTERS, Importer, check_format, import_labels
from grounded_sam2.importers.summary import ImportSummary, ProblemSummary

__all__ = [
    "IMPORTERS",
    "ImportSummary",
    "Importer",
    "ProblemSummary",
    "check_format",
    "import_labels",
]
