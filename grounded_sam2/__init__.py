"""Labeled segmentation datasets from images and words.

    from grounded_sam2 import CaptionOntology, GroundedSAM2

    model = GroundedSAM2(ontology=CaptionOntology({"red circle": "ball"}), config="demo")
    model.predict("scene.png")
    model.label("images/", output_folder="labeled")

Every public name is imported from here. Importing the package loads neither torch nor transformers:
each name is resolved when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grounded_sam2.config import (
        CaptionUse,
        Config,
        DetectorConfig,
        ModelFacts,
        ModelType,
        SegmenterConfig,
        load_config,
    )
    from grounded_sam2.engine.summaries import ImageRunSummary, RunInterrupted, VideoRunSummary
    from grounded_sam2.errors import (
        CheckpointError,
        ConfigError,
        DatasetError,
        ExportError,
        GeometryError,
        GroundedSAM2Error,
        ImageError,
        OntologyError,
        OutOfMemoryError,
        PromptError,
        SourceError,
        StaleEditError,
        StoreError,
        VideoError,
    )
    from grounded_sam2.evaluation import RunComparison, compare_runs, merge_runs
    from grounded_sam2.exporters import ExportOptions, ExportSummary, export
    from grounded_sam2.importers import ImportSummary, import_labels
    from grounded_sam2.models.protocols import (
        Detector,
        Grounder,
        Segmenter,
        Tracker,
        TrackPrompt,
    )
    from grounded_sam2.ontology import CaptionOntology
    from grounded_sam2.pipeline import GroundedSAM2, LabelResult, VideoDetections
    from grounded_sam2.report import ReportOptions, ReportSummary, write_report
    from grounded_sam2.results import (
        Candidate,
        DetectedBoxes,
        Label,
        Labels,
        RawPredictions,
        SegmentedMasks,
        TrackedFrame,
        to_supervision,
    )
    from grounded_sam2.store import Edit, LabelStore

    __version__: str

__all__ = [
    "Candidate",
    "CaptionOntology",
    "CaptionUse",
    "CheckpointError",
    "Config",
    "ConfigError",
    "DatasetError",
    "DetectedBoxes",
    "Detector",
    "DetectorConfig",
    "Edit",
    "ExportError",
    "ExportOptions",
    "ExportSummary",
    "GeometryError",
    "GroundedSAM2",
    "GroundedSAM2Error",
    "Grounder",
    "ImageError",
    "ImageRunSummary",
    "ImportSummary",
    "Label",
    "LabelResult",
    "LabelStore",
    "Labels",
    "ModelFacts",
    "ModelType",
    "OntologyError",
    "OutOfMemoryError",
    "PromptError",
    "RawPredictions",
    "ReportOptions",
    "ReportSummary",
    "RunComparison",
    "RunInterrupted",
    "SegmentedMasks",
    "Segmenter",
    "SegmenterConfig",
    "SourceError",
    "StaleEditError",
    "StoreError",
    "TrackPrompt",
    "TrackedFrame",
    "Tracker",
    "VideoDetections",
    "VideoError",
    "VideoRunSummary",
    "__version__",
    "compare_runs",
    "export",
    "import_labels",
    "load_config",
    "merge_runs",
    "to_supervision",
    "write_report",
]

_NAMES_OF_MODULES = {
    "pipeline": (
        "GroundedSAM2",
        "LabelResult",
        "VideoDetections",
    ),
    "ontology": ("CaptionOntology",),
    "config": (
        "CaptionUse",
        "Config",
        "DetectorConfig",
        "ModelFacts",
        "ModelType",
        "SegmenterConfig",
        "load_config",
    ),
    "results": (
        "Candidate",
        "DetectedBoxes",
        "Label",
        "Labels",
        "RawPredictions",
        "SegmentedMasks",
        "TrackedFrame",
        "to_supervision",
    ),
    "store": ("Edit", "LabelStore"),
    "exporters": (
        "ExportOptions",
        "ExportSummary",
        "export",
    ),
    "importers": (
        "ImportSummary",
        "import_labels",
    ),
    "report": (
        "ReportOptions",
        "ReportSummary",
        "write_report",
    ),
    "evaluation": (
        "RunComparison",
        "compare_runs",
        "merge_runs",
    ),
    "engine.summaries": (
        "ImageRunSummary",
        "RunInterrupted",
        "VideoRunSummary",
    ),
    "models.protocols": (
        "Detector",
        "Grounder",
        "Segmenter",
        "TrackPrompt",
        "Tracker",
    ),
    "errors": (
        "CheckpointError",
        "ConfigError",
        "DatasetError",
        "ExportError",
        "GeometryError",
        "GroundedSAM2Error",
        "ImageError",
        "OntologyError",
        "OutOfMemoryError",
        "PromptError",
        "SourceError",
        "StaleEditError",
        "StoreError",
        "VideoError",
    ),
}
_MODULE_OF = {name: module for module, names in _NAMES_OF_MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name in _MODULE_OF:
        return getattr(import_module(f"grounded_sam2.{_MODULE_OF[name]}"), name)
    if name == "__version__":
        return _version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # a fifth of what --help loads

    try:
        return version("grounded-sam2")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0.0.0"


def __dir__() -> list[str]:
    return sorted(__all__)
