"""Import of labeled datasets into a label store: `formats` holds one file per format.

    summary = import_labels("coco/", "labeled")

Each import is a run of its own, next to the runs of models, so that labels made by people and by
models can be exported, compared and merged. No model is needed, and only the labels of a few images
are in memory at a time.
"""

from __future__ import annotations

from grounded_sam2.importers.label_import import (
    IMPORTERS,
    Importer,
    ImportSummary,
    ProblemSummary,
    check_format,
    import_labels,
)

__all__ = [
    "IMPORTERS",
    "ImportSummary",
    "Importer",
    "ProblemSummary",
    "check_format",
    "import_labels",
]
